"""Malformed data files, and what ``prepare`` makes of them."""
