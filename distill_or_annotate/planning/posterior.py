"""What a task's evidence says about its curves: importance-weighted draws.

Rates and onsets are drawn from the prior. Given them the other parameters are Gaussian, prior and posterior, in closed
form; a draw's weight is the evidence's likelihood with those integrated out, times the probability that the degenerate
models had not begun to learn and the others had (a censored observation says no more). Where that leaves few draws they
are taken again around the best ones (adaptive importance sampling, Cappe et al. 2004).
"""

import dataclasses

import numpy as np

from distill_or_annotate.planning import curves, noisy_labels
from distill_or_annotate.planning.curves import DRAWN, LINEAR, POSITIVE, Purchases
from distill_or_annotate.planning.outcomes import Evidence

# What a second run with another seed differs by: on the logit scale, and in points where a row gives no error.
RUN_NOISE_LOGIT = 0.09
RUN_NOISE_POINTS = 1.0
# Some models begin to learn much later than the prior's tasks let expect, or never: a tail on both onsets.
LATE_SHARE = 0.1
_LATE_SPREAD = 4.0
# Draws from the prior are enough where the evidence leaves this share of them; else two rounds are taken around those
# that explain it best, flattened to a share, spread wider, and mixed with some from the prior.
ENOUGH_SHARE = 0.1
_ROUNDS, _ROUGHLY_SHARE, _WIDER, _FROM_PRIOR = 2, 0.03, 1.5, 0.2
# Decimals of a draw on a page.
DIGITS = 5
# The probability that a flag is wrong either way.
_FLAG_ERROR = 1e-4


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A prior over all parameters, drawn (as logarithms) before linear.

    Attributes:
      mean: [15].
      covariance: [15, 15].
    """

    mean: np.ndarray
    covariance: np.ndarray


@dataclasses.dataclass(frozen=True)
class Draws:
    """Equally likely parameters of a task's curves.

    Attributes:
      drawn: [D, 5], logarithms.
      linear: [D, 10].
      dice: [D, 6]: luck of students and of teachers (0 to 1), then standard normal: a run's noise on the logit scale
        and in points, what a gold sample may err by about a language model, what a student adds to its labels.
      floor: score before learning, percent.
      effective: how many independent draws they are worth.
    """

    drawn: np.ndarray
    linear: np.ndarray
    dice: np.ndarray
    floor: float
    effective: float

    def first(self, count: int) -> "Draws":
        """Returns some of the draws, spread over all.

        Args:
          count: at most so many.
        """
        kept = slice(None, None, -(-len(self.drawn) // count))
        return dataclasses.replace(self, drawn=self.drawn[kept], linear=self.linear[kept], dice=self.dice[kept])

    def rounded(self) -> "Draws":
        """Returns them with the digits that a page holds, so that it computes what is computed here."""
        arrays = {name: np.round(getattr(self, name), DIGITS) for name in ("drawn", "linear", "dice")}
        return dataclasses.replace(self, **arrays)

    def parameters(self) -> np.ndarray:
        """Returns drawn and linear parameters side by side, [D, 15]."""
        return np.concatenate([self.drawn, self.linear], axis=1)

    def scores(self, purchases: Purchases, with_run_noise: bool = False) -> np.ndarray:
        """Returns what purchases score under each draw.

        One throw of the dice per draw: who has begun on 100 labels has begun on 1,000 too, and two purchases that are
        alike do not differ.

        Args:
          purchases: C of them.
          with_run_noise: whether each is one training run, not the mean over many.

        Returns:
          [D, C], percent.
        """
        worth = noisy_labels.worth(purchases, self.dice)
        log_odds = np.einsum("dcw,dw->dc", curves.features(purchases, self.drawn, worth), self.linear)
        log_odds = noisy_labels.capped(log_odds, purchases, self.dice)
        if with_run_noise:
            log_odds = log_odds + RUN_NOISE_LOGIT * self.dice[:, 2:3]
        found = curves.percent(log_odds)
        if with_run_noise:
            found = np.clip(found + RUN_NOISE_POINTS * self.dice[:, 3:4], 0, 100)
        luck = self.dice[:, (purchases.strategies != "annotate").astype(int)]
        begun = luck < curves.learns(purchases, self.drawn, worth)
        return np.where(begun, np.maximum(found, self.floor), self.floor)


def condition(evidence: Evidence, prior: Gaussian, n_draws: int = 4000, seed: int = 0) -> Draws:
    """Returns the posterior of a task.

    Where hardly any draw from the prior explains the evidence, draws are taken around those that do, and each weighs
    less the more often than from the prior it is taken.

    Args:
      evidence: what is known of it; without outcomes the prior comes back.
      prior: before it.
      n_draws: draws that are weighted, and returned.
      seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    cut = len(DRAWN)
    mean, covariance = prior.mean[:cut], prior.covariance[:cut, :cut]
    plain = rng.multivariate_normal(mean, covariance, size=n_draws)
    best = weighed = _weigh(evidence, prior, plain, np.zeros(n_draws), rng)
    for _ in range(_ROUNDS if weighed.effective < ENOUGH_SHARE * n_draws else 0):
        flat = _flattened(weighed.log_weight, _ROUGHLY_SHARE * n_draws)
        around = np.average(plain, axis=0, weights=flat)
        spread = _WIDER * np.cov(plain.T, aweights=flat) + 0.01 * covariance
        near = rng.random(n_draws) >= _FROM_PRIOR
        plain = np.where(
            near[:, None],
            rng.multivariate_normal(around, spread, size=n_draws),
            rng.multivariate_normal(mean, covariance, size=n_draws),
        )
        usual = _log_density(plain, mean, covariance)
        taken = np.logaddexp(np.log(_FROM_PRIOR) + usual, np.log(1 - _FROM_PRIOR) + _log_density(plain, around, spread))
        weighed = _weigh(evidence, prior, plain, usual - taken, rng)
        best = max(best, weighed, key=lambda each: each.effective)
    kept = _systematic(_weights(best.log_weight), n_draws, rng)
    dice = np.concatenate([rng.random((n_draws, 2)), rng.standard_normal((n_draws, 4))], axis=1)
    return Draws(best.drawn[kept], best.linear[kept], dice, evidence.floor, best.effective)


@dataclasses.dataclass(frozen=True)
class _Weighed:
    """Draws [D, 5] and [D, 10] with the logarithms of their weights."""

    drawn: np.ndarray
    linear: np.ndarray
    log_weight: np.ndarray

    @property
    def effective(self) -> float:
        return _effective(self.log_weight)


def _weigh(evidence: Evidence, prior: Gaussian, plain: np.ndarray, log_weight: np.ndarray, rng) -> _Weighed:
    """Linear parameters for drawn ones, and how well both explain the evidence."""
    drawn, mean, covariance = _given(prior, plain, rng)
    outcomes = evidence.outcomes
    if outcomes:
        began = curves.learns(Purchases.of(outcomes), drawn)
        flags = np.array([each.degenerate for each in outcomes])[None]
        log_weight = log_weight + np.log(np.where(flags, 1 - began, began) + _FLAG_ERROR).sum(1)
    covariances = np.broadcast_to(covariance, (len(plain), *covariance.shape))
    seen = [each for each in outcomes if not each.degenerate]
    if seen:
        found = curves.features(Purchases.of(seen), drawn)
        scores = np.array([each.score for each in seen])
        noise = np.diag(_variance(scores, [each.stderr for each in seen]))
        gram = found @ covariance @ found.swapaxes(1, 2) + noise
        gram += 1e-9 * np.trace(gram, axis1=1, axis2=2)[:, None, None] * np.eye(len(seen))
        residual = curves.logit(scores)[None] - np.einsum("dcw,dw->dc", found, mean)
        root = np.linalg.cholesky(gram)
        whitened = np.linalg.solve(root, residual[..., None])[..., 0]
        log_weight = log_weight - 0.5 * (whitened**2).sum(1) - np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)
        gain = np.linalg.solve(gram, found @ covariance).swapaxes(1, 2)
        mean = mean + np.einsum("dwc,dc->dw", gain, residual)
        covariances = covariance[None] - gain @ found @ covariance
    linear = mean + _noise(covariances, rng)
    wrong = (linear[:, [LINEAR.index(name) for name in POSITIVE]] < 0).any(1)
    # Evidence in which more labels hurt throughout is believed, rather than thrown away with all draws.
    return _Weighed(drawn, linear, log_weight if wrong.all() else np.where(wrong, -np.inf, log_weight))


def _given(prior: Gaussian, plain: np.ndarray, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drawn parameters [D, 5], some late, and mean [D, 10] and covariance [10, 10] of the linear ones given them."""
    cut = len(DRAWN)
    among, across, within = prior.covariance[:cut, :cut], prior.covariance[cut:, :cut], prior.covariance[cut:, cut:]
    drawn = plain.copy()
    drawn[:, :3] = np.clip(drawn[:, :3], *np.log(curves.RATES))
    slope = across @ np.linalg.inv(among)
    mean = prior.mean[cut:] + (drawn - prior.mean[:cut]) @ slope.T
    late = rng.random((len(plain), 2)) < LATE_SHARE
    drawn[:, 3:] += late * np.abs(rng.normal(0, _LATE_SPREAD, (len(plain), 2)))
    covariance = within - slope @ across.T
    return drawn, mean, (covariance + covariance.T) / 2 + 1e-6 * np.eye(len(LINEAR))


def _log_density(plain: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    root = np.linalg.cholesky(covariance)
    whitened = np.linalg.solve(root, (plain - mean).T)
    return -0.5 * (whitened**2).sum(0) - np.log(np.diagonal(root)).sum()


def _flattened(log_weight: np.ndarray, least: float) -> np.ndarray:
    """Weights that sum to 1, flattened as little as leaves so many effective draws."""
    low, high = 0.0, 1.0
    finite = np.where(np.isfinite(log_weight), log_weight - log_weight.max(), -1e9)
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if _effective(middle * finite) >= least else (low, middle)
    return _weights(low * finite)


def _weights(log_weight: np.ndarray) -> np.ndarray:
    weight = np.exp(log_weight - log_weight.max())
    return weight / weight.sum()


def _effective(log_weight: np.ndarray) -> float:
    return float(1 / (_weights(log_weight) ** 2).sum())


def _variance(scores: np.ndarray, stderrs) -> np.ndarray:
    """Noise of scores on the logit scale: a run's, and that of its test set."""
    points = np.array([RUN_NOISE_POINTS if stderr is None else max(stderr, RUN_NOISE_POINTS) for stderr in stderrs])
    share = np.clip(scores / 100, 0.003, 0.997)
    return RUN_NOISE_LOGIT**2 + (points / 100 / (share * (1 - share))) ** 2


def _noise(covariances: np.ndarray, rng) -> np.ndarray:
    even = (covariances + covariances.swapaxes(1, 2)) / 2 + 1e-7 * np.eye(len(LINEAR))
    root = np.linalg.cholesky(even)
    return np.einsum("dij,dj->di", root, rng.standard_normal(even.shape[:2]))


def _systematic(weight: np.ndarray, count: int, rng) -> np.ndarray:
    """Positions of equally likely draws, each taken about as often as it weighs."""
    places = (rng.random() + np.arange(count)) / count
    return np.minimum(np.searchsorted(np.cumsum(weight), places), len(weight) - 1)
