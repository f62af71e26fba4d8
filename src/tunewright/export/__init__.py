"""Tuned models as files for other programs, each compared with the model it was made from."""
