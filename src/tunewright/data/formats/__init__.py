"""Records → rows: how a file's format is recognised, and one function for each format."""

from tunewright.data.formats.base import Fields, Format, Parsed, Plan
from tunewright.data.formats.table import FORMATS, check_format, make_plan

__all__ = ["FORMATS", "Fields", "Format", "Parsed", "Plan", "check_format", "make_plan"]
