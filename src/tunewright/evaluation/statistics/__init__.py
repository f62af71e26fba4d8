"""Statistics of paired answers: intervals, exact tests, sample sizes and agreement."""
