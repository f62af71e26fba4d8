"""Vocabulary, records, events and the store that every other package stands on."""
