"""What is loaded into the pytest that runs OpenAI's own tests against a live server of ours."""
