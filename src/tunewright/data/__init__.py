"""Source files → Dataset: decode, map, check, split, report."""
