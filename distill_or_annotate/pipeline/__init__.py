"""Above the three wings: walks a scenario's stages, each one command of T5X, and keeps their books."""
