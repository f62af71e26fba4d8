"""Rows made with the help of a language model: questions, texts and paraphrases."""
