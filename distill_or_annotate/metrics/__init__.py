"""Scores: pure functions of targets and predictions, in percent, higher being better. Needs numpy alone."""
