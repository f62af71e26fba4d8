"""Models elsewhere: OpenAI-compatible endpoints, asked patiently, in a form that they take."""
