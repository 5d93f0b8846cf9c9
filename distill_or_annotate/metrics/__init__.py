"""Scores: pure functions of targets and predictions, in percent. Needs numpy alone, and sacrebleu for `chrf_ibleu`."""
