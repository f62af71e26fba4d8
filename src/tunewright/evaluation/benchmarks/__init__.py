"""Public benchmarks of multiple choice, read from local folders in their published layouts."""
