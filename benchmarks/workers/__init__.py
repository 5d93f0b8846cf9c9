"""One process for each system that is timed; `benchmarks/step_time.py` talks to them over pipes."""
