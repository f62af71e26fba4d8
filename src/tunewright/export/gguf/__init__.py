"""GGUF, the file format of llama.cpp and Ollama: one file with weights, vocabulary and template.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""
