"""Is the tuned model better? Paired answers on locked questions, statistics, gates, a report."""
