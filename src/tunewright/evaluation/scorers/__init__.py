"""Scorers: what an answer is worth, by rules; each by its name in one table."""
