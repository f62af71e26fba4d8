"""The command line: thin commands over the stage functions; ``main`` is the entry point."""

from tunewright.cli.main import main

__all__ = ["main"]
