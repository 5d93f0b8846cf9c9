"""Nested bootstrap over data seeds, training seeds and test examples, of one score or of a difference of two.

A resample draws data seeds, then training seeds within each, and one set of test examples (or of whole clusters of
them) that every model is scored on. Of n seeds n - 1 are drawn: drawing n would make the error of a mean over few seeds
too small, by n / (n - 1) in its square. A level with one value is not resampled, and the error says nothing about it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from distill_or_annotate.metrics import bootstrap

# Half-width of a 95% interval in standard errors.
_Z95 = 1.959964
_SEEDS_STREAM = 1


@dataclasses.dataclass(frozen=True)
class Models:
    """The models of one cell: one per pair of seeds, all scored on the same examples.

    Attributes:
      seeds: (data seed, training seed) of each model, none twice.
      counts: per-example counts of each model, [models, n, k].
    """

    seeds: tuple[tuple[int, int], ...]
    counts: np.ndarray

    def __post_init__(self):
        if len(self.seeds) < 1 or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: received {self.seeds}; at least one pair is needed, and none twice.")
        if self.counts.ndim != 3 or len(self.counts) != len(self.seeds) or not self.counts.shape[1]:
            raise ValueError(
                f"counts: received shape {self.counts.shape} for {len(self.seeds)} models; [models, examples, k] is "
                "needed, with at least one example."
            )

    @property
    def n_data_seeds(self) -> int:
        """Distinct data seeds."""
        return len({data_seed for data_seed, _ in self.seeds})


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A score with its error.

    Attributes:
      value: mean over the models, data seeds weighing the same, in the unit of the score.
      stderr: its standard error.
      low: lower end of the 95% interval.
      high: upper end of it.
      n_models: models behind it.
      n_data_seeds: data seeds among them.
      n_clusters: units that test examples were drawn in.
    """

    value: float
    stderr: float
    low: float
    high: float
    n_models: int
    n_data_seeds: int
    n_clusters: int


@dataclasses.dataclass(frozen=True)
class Difference(Estimate):
    """A difference of two scores on the same examples.

    Attributes:
      p_value: two-sided, that a difference as large comes about where there is none (normal approximation).
    """

    p_value: float


def estimate(
    models: Models,
    score: Callable[[np.ndarray], np.ndarray],
    clusters: Sequence[str] | None = None,
    seed: int = 0,
    n_resamples: int = bootstrap.N_RESAMPLES,
) -> Estimate:
    """Returns the mean score of a cell with its nested error.

    Args:
      models: the cell's models.
      score: summed counts [..., k] to scores [...].
      clusters: what each example belongs to (a claim, a protocol), [n]; None draws examples one by one.
      seed: seed of the draws.
      n_resamples: number of resamples, at least 2.

    Raises:
      ValueError: another number of clusters than of examples.
    """
    units = _clustered(models.counts, clusters)
    drawn = _scores(units, score, seed, n_resamples)
    weights = _weights(models.seeds, np.random.default_rng([seed, _SEEDS_STREAM]), n_resamples)
    value = _mean(models, score)
    return Estimate(**_interval(value, (drawn * weights).sum(1)), **_sizes(models.seeds, units))


def difference(
    first: Models,
    second: Models,
    score: Callable[[np.ndarray], np.ndarray],
    clusters: Sequence[str] | None = None,
    seed: int = 0,
    n_resamples: int = bootstrap.N_RESAMPLES,
) -> Difference:
    """Returns first minus second, resampled in pairs: the same examples, and the same data seeds where both have them.

    Args:
      first: models of one cell.
      second: models of the other, scored on the same examples.
      score: summed counts [..., k] to scores [...].
      clusters: what each example belongs to, [n]; None draws examples one by one.
      seed: seed of the draws.
      n_resamples: number of resamples, at least 2.

    Raises:
      ValueError: the two were scored on other examples, or another number of clusters than of examples.
    """
    if first.counts.shape[1:] != second.counts.shape[1:]:
        raise ValueError(
            f"counts: received {first.counts.shape[1:]} and {second.counts.shape[1:]} [examples, k]; a paired "
            "difference needs the same examples."
        )
    units = _clustered(np.concatenate([first.counts, second.counts]), clusters)
    drawn = _scores(units, score, seed, n_resamples)
    streams = [np.random.default_rng([seed, _SEEDS_STREAM]), np.random.default_rng([seed, _SEEDS_STREAM + 1])]
    data = [sorted({data_seed for data_seed, _ in models.seeds}) for models in (first, second)]
    shared = _draws(len(data[0]), streams[0], n_resamples) if data[0] == data[1] else None
    weights = [
        _weights(models.seeds, stream, n_resamples, shared)
        for models, stream in zip((first, second), streams, strict=True)
    ]
    n_first = len(first.seeds)
    apart = (drawn[:, :n_first] * weights[0]).sum(1) - (drawn[:, n_first:] * weights[1]).sum(1)
    value = _mean(first, score) - _mean(second, score)
    interval = _interval(value, apart)
    smaller = min((first, second), key=lambda models: (len(models.seeds), models.n_data_seeds))
    return Difference(
        **interval, **_sizes(smaller.seeds, units), p_value=_p_value(interval["value"], interval["stderr"])
    )


def _clustered(counts: np.ndarray, clusters: Sequence[str] | None) -> np.ndarray:
    """Counts summed within clusters, [models, clusters, k]."""
    if clusters is None:
        return counts
    if len(clusters) != counts.shape[1]:
        raise ValueError(f"clusters: received {len(clusters)} for {counts.shape[1]} examples; numbers must be equal.")
    numbers: dict[str, int] = {}
    places = np.array([numbers.setdefault(cluster, len(numbers)) for cluster in clusters])
    summed = np.zeros((counts.shape[0], len(numbers), counts.shape[2]))
    np.add.at(summed, (slice(None), places), counts)
    return summed


def _scores(units: np.ndarray, score: Callable, seed: int, n_resamples: int) -> np.ndarray:
    """Scores of every model on every resample of the units, [resamples, models]."""
    n_models, _, k = units.shape
    side_by_side = np.concatenate(list(units), axis=1)
    return bootstrap.resampled_scores(
        side_by_side, lambda sums: score(sums.reshape(len(sums), n_models, k)), seed, n_resamples
    )


def _draws(n_values: int, generator: np.random.Generator, n_resamples: int) -> np.ndarray:
    """Weights of values drawn with replacement, [resamples, values], each row summing to 1."""
    if n_values == 1:
        return np.ones((n_resamples, 1))
    return generator.multinomial(n_values - 1, [1 / n_values] * n_values, size=n_resamples) / (n_values - 1)


def _weights(
    seeds: Sequence[tuple[int, int]],
    generator: np.random.Generator,
    n_resamples: int,
    data_weights: np.ndarray | None = None,
) -> np.ndarray:
    """Weights of the models, [resamples, models]: data seeds, and training seeds within each."""
    data_seeds = sorted({data_seed for data_seed, _ in seeds})
    if data_weights is None:
        data_weights = _draws(len(data_seeds), generator, n_resamples)
    weights = np.zeros((n_resamples, len(seeds)))
    for column, data_seed in enumerate(data_seeds):
        places = [place for place, pair in enumerate(seeds) if pair[0] == data_seed]
        weights[:, places] = data_weights[:, [column]] * _draws(len(places), generator, n_resamples)
    return weights


def _mean(models: Models, score: Callable) -> float:
    """Mean over data seeds of the mean over their training seeds."""
    scores = score(models.counts.sum(1))
    by_data: dict[int, list[float]] = {}
    for (data_seed, _), value in zip(models.seeds, scores, strict=True):
        by_data.setdefault(data_seed, []).append(float(value))
    return math.fsum(math.fsum(values) / len(values) for values in by_data.values()) / len(by_data)


def _interval(value: float, resampled: np.ndarray) -> dict[str, float]:
    stderr = float(np.std(resampled, ddof=1))
    return {"value": value, "stderr": stderr, "low": value - _Z95 * stderr, "high": value + _Z95 * stderr}


def _sizes(seeds: Sequence[tuple[int, int]], units: np.ndarray) -> dict[str, int]:
    n_data_seeds = len({data_seed for data_seed, _ in seeds})
    return {"n_models": len(seeds), "n_data_seeds": n_data_seeds, "n_clusters": units.shape[1]}


def _p_value(value: float, stderr: float) -> float:
    if stderr == 0:
        return 1.0 if value == 0 else 0.0
    return math.erfc(abs(value) / stderr / math.sqrt(2))
