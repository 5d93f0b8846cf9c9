"""Labels from language models under a cap, and labels from simulated annotators."""
