"""Serving: one engine process per base model, and the gateway in front of them."""
