"""Models that judge: which of two answers is better, in both orders."""
