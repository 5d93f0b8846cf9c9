"""Standard errors by resampling the evaluation examples, from per-example counts, with no loop over examples."""

from collections.abc import Callable

import numpy as np

N_RESAMPLES = 1000
# Bounds the weights to about 8 MB at a time, [resamples, examples] in float64.
_WEIGHTS_PER_CHUNK = 2**20


def resampled_scores(
    counts: np.ndarray, score: Callable[[np.ndarray], np.ndarray], seed: int = 0, n_resamples: int = N_RESAMPLES
) -> np.ndarray:
    """Scores resamples of the examples, drawn with replacement.

    Two systems scored with the same seed and number of examples see the same resamples, so differences are paired.
    Their counts may also stand side by side in one call.

    Args:
      counts: per-example counts, [n, k], n at least 1.
      score: summed counts [resamples, k] to scores [resamples, ...].
      seed: seed of the draws.
      n_resamples: number of resamples, at least 2.
    Returns:
      [n_resamples, ...] float64.
    Raises:
      ValueError: no examples, or fewer than 2 resamples.
    """
    n_examples = len(counts)
    if n_examples < 1 or n_resamples < 2:
        raise ValueError(f"received {n_examples} examples and {n_resamples} resamples; at least 1 and 2 are needed")
    generator = np.random.default_rng(seed)
    chunk = max(1, _WEIGHTS_PER_CHUNK // n_examples)
    scores = []
    for start in range(0, n_resamples, chunk):
        n_rows = min(chunk, n_resamples - start)
        draws = generator.integers(n_examples, size=(n_rows, n_examples))
        draws += n_examples * np.arange(n_rows)[:, None]
        weights = np.bincount(draws.ravel(), minlength=n_rows * n_examples).reshape(n_rows, n_examples)
        scores.append(score(weights @ counts))
    return np.concatenate(scores)


def standard_error(
    counts: np.ndarray, score: Callable[[np.ndarray], np.ndarray], seed: int = 0, n_resamples: int = N_RESAMPLES
) -> float:
    """Returns the bootstrap standard error of a score.

    Args:
      counts: per-example counts, [n, k].
      score: summed counts [resamples, k] to scores [resamples].
      seed: seed of the draws.
      n_resamples: number of resamples, at least 2.
    Returns:
      The standard deviation over resamples, in the unit of the score.
    """
    return float(np.std(resampled_scores(counts, score, seed, n_resamples), ddof=1))
