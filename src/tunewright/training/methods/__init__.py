"""Training methods: how rows become examples, examples a batch, and a batch a loss."""

from tunewright.training.methods.base import Method, Outcome
from tunewright.training.methods.table import METHODS, method_of, require_rows_for

__all__ = ["METHODS", "Method", "Outcome", "method_of", "require_rows_for"]
