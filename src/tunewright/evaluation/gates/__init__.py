"""Gates: what a tuned model must show before anybody should rely on it; one file each."""
