"""Calls of functions as chat templates write them: how they look, and how they are read again."""
