"""What is trained: one file per tuner, one table, and the slots that adapters hang in."""
