"""Builds `nano`, the bundled bilingual base model, from nothing but this folder."""
