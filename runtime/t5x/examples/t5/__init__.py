"""The T5 1.0 / 1.1 network."""
