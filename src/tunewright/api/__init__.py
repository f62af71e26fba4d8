"""The HTTP face: OpenAI's wire format over the same functions as the command line."""
