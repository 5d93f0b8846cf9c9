"""What a purchase scores under one set of parameters: curves over labels and unlabeled examples, on the logit scale.

With h(x; rate) = x^-rate, N in thousands, U in ten thousands, and T and S the sizes of teacher and student in decades
of operations above those of the pair that the price book is for:

  annotate  logit s = annotate_ceiling - annotate_gap h(N; annotate_rate) + model_size S  from N = annotate_onset on
  teacher   logit s = teacher_ceiling - teacher_gap h(N; teacher_rate) + model_size T      from N = teacher_onset on
  distill   the teacher's at T = 0, less distill_gap + pool_gap h(U; pool_rate) - label_tilt log10 N,
            and taught_size T + student_size S

Below its onset a model has not begun to learn and scores the floor; the onset is smooth, a probability over log N. An
inverse power law with a ceiling is the usual form of learning curves (Hestness et al. 2017; Rosenfeld et al. 2020).
Rates and onsets are drawn; given them all else is linear, so that it can be solved for exactly (`posterior`).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from distill_or_annotate.planning.outcomes import Outcome

# Drawn, as logarithms; then linear.
DRAWN = ("annotate_rate", "teacher_rate", "pool_rate", "annotate_onset", "teacher_onset")
LINEAR = (
    "annotate_ceiling",
    "annotate_gap",
    "teacher_ceiling",
    "teacher_gap",
    "distill_gap",
    "pool_gap",
    "label_tilt",
    "model_size",
    "taught_size",
    "student_size",
)
# More labels, and a larger pool, never hurt on average. (Pools that do hurt exist; but a curve that may rise towards
# small pools promises wonders of pools smaller than any that was seen.)
POSITIVE = ("annotate_gap", "teacher_gap", "pool_gap")
# Rates beyond which curves are flat or steps.
RATES = (0.08, 2.0)
# Decades of operations between T5 v1.1 XXL and Small (costs/model_flops.json).
SPAN = 2.3
# How sharply learning sets in over log N.
SHARPNESS = 4.0
# The smallest pool that the curve is asked about.
LEAST_POOL_ASKED = 50


@dataclasses.dataclass(frozen=True)
class Purchases:
    """What is asked about, as arrays.

    Attributes:
      strategies: [C] of annotate | distill | teacher.
      n_labels: [C], of people; at least 1.
      n_unlabeled: [C]; 0 where nothing is distilled.
      teacher_decades: [C]; log10 of the teacher's operations over those of the priced one.
      student_decades: [C]; the student's, likewise.
      n_llm_labels: [C]; labels of a language model on top.
      llm_score: [C]; what those score against gold, percent.
      llm_stderr: [C]; its standard error on the logit scale.
      chance: [C]; the score of blind guessing, 0 to 1.
    """

    strategies: np.ndarray
    n_labels: np.ndarray
    n_unlabeled: np.ndarray
    teacher_decades: np.ndarray
    student_decades: np.ndarray
    n_llm_labels: np.ndarray
    llm_score: np.ndarray
    llm_stderr: np.ndarray
    chance: np.ndarray

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> "Purchases":
        """Returns the purchases behind some models.

        Args:
          outcomes: the models, all trained on labels of people.
        """
        names = ("n_labels", "n_unlabeled", "teacher_decades", "student_decades")
        columns = [np.array([getattr(each, name) for each in outcomes], dtype=float) for name in names]
        none = np.zeros(len(outcomes))
        return cls(np.array([each.strategy for each in outcomes], dtype=object), *columns, none, none + 50, none, none)

    def __len__(self) -> int:
        return len(self.n_labels)


def logit(percent: np.ndarray) -> np.ndarray:
    """Returns log odds.

    Args:
      percent: scores; what is nearer to 0 or 100 than 0.3 counts as that.
    """
    share = np.clip(np.asarray(percent, float) / 100, 0.003, 0.997)
    return np.log(share / (1 - share))


def percent(log_odds: np.ndarray) -> np.ndarray:
    """Returns scores in percent.

    Args:
      log_odds: what `logit` gives.
    """
    return 100 / (1 + np.exp(-np.clip(log_odds, -30, 30)))


def features(purchases: Purchases, drawn: np.ndarray, worth_labels: np.ndarray | None = None) -> np.ndarray:
    """Returns what the linear parameters are multiplied with.

    Args:
      purchases: C of them.
      drawn: [D, 5], logarithms of the drawn parameters.
      worth_labels: [D, C], what the labels of each are worth in labels of people; None where they are people's.

    Returns:
      [D, C, 10].
    """
    rates = np.exp(drawn[:, :3])[:, :, None]
    thousands = (purchases.n_labels[None] if worth_labels is None else worth_labels) / 1000
    pool = np.maximum(purchases.n_unlabeled, LEAST_POOL_ASKED)[None] / 10_000
    is_annotated = (purchases.strategies == "annotate").astype(float)
    is_distilled = (purchases.strategies == "distill").astype(float)
    is_taught = 1 - is_annotated
    found = np.zeros((len(drawn), len(purchases), len(LINEAR)))
    found[:, :, 0] = is_annotated
    found[:, :, 1] = -is_annotated * thousands ** -rates[:, 0]
    found[:, :, 2] = is_taught
    found[:, :, 3] = -is_taught * thousands ** -rates[:, 1]
    found[:, :, 4] = -is_distilled
    found[:, :, 5] = -is_distilled * pool ** -rates[:, 2]
    found[:, :, 6] = is_distilled * np.log10(thousands)
    found[:, :, 7] = np.where(is_annotated, purchases.student_decades, (1 - is_distilled) * purchases.teacher_decades)
    found[:, :, 8] = is_distilled * purchases.teacher_decades
    found[:, :, 9] = is_distilled * purchases.student_decades
    return found


def learns(purchases: Purchases, drawn: np.ndarray, worth_labels: np.ndarray | None = None) -> np.ndarray:
    """Returns the probability that a model has begun to learn.

    A teacher begins where the priced teacher does, a student where the priced student does, sizes between in between.

    Args:
      purchases: C of them.
      drawn: [D, 5], logarithms of the drawn parameters.
      worth_labels: as `features` takes them.

    Returns:
      [D, C].
    """
    is_annotated = purchases.strategies == "annotate"
    above = np.where(is_annotated, 1 - purchases.student_decades / SPAN, -purchases.teacher_decades / SPAN)
    onset = drawn[:, 4:5] + np.clip(above, 0, 1)[None] * (drawn[:, 3:4] - drawn[:, 4:5])
    labels = purchases.n_labels[None] if worth_labels is None else worth_labels
    return 1 / (1 + np.exp(-SHARPNESS * (np.log(labels) - onset)))
