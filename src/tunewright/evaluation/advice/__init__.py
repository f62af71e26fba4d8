"""Measured advice: what the base knows, what the data is, and so what to do."""
