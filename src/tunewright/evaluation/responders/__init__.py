"""Responders: whatever can be asked the questions, by what a reference names."""
