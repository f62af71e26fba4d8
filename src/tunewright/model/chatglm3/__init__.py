"""ChatGLM3 without its own code: its folders become ones that transformers' GLM classes read."""
