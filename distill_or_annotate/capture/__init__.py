"""The teacher's distributions on disk: one pass writes them, training reads them, and no teacher is in memory then."""
