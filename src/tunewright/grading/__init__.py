"""Graders: what an answer is worth, by rules, by another model, or by both."""
