"""Scores: pure functions of targets and predictions, in percent. sacrebleu and scikit-learn only where first used."""
