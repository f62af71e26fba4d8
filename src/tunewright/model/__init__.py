"""Base models: finding, trusting, rendering, loading, adapting and generating with them."""
