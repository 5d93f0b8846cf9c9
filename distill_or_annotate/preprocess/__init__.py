"""Text wing: files of rows in, checked rows out. Imports neither jax nor tasks."""
