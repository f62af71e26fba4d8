"""Blind comparison by people: a session of questions, their votes, and what these come to."""
