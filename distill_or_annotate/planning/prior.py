"""What tasks have in common: a prior over curves learnt from the paper's tasks, never from the one being planned.

Each of the other tasks is conditioned on all its cells under a broad prior; the pooled draws have the spread within and
between tasks, of which mean and covariance are kept and widened.
"""

import dataclasses
import functools

import numpy as np

from distill_or_annotate import paper
from distill_or_annotate.planning.curves import DRAWN, LINEAR
from distill_or_annotate.planning.outcomes import Evidence, of_paper, sizes_of_paper
from distill_or_annotate.planning.posterior import Gaussian, condition

# Before any task: (mean, standard deviation), rates and onsets as logarithms. A rate of about a half is usual for
# learning curves; a compact model begins to learn at some hundred labels, a large one at about a hundred.
_BROAD = {
    "annotate_rate": (np.log(0.45), 0.5),
    "teacher_rate": (np.log(0.5), 0.5),
    "pool_rate": (np.log(1.0), 0.4),
    "annotate_onset": (np.log(700), 1.0),
    "teacher_onset": (np.log(120), 1.0),
    "annotate_ceiling": (0.8, 1.2),
    "annotate_gap": (0.8, 0.8),
    "teacher_ceiling": (1.0, 1.2),
    "teacher_gap": (0.6, 0.6),
    "distill_gap": (0.1, 0.4),
    "pool_gap": (0.2, 0.2),
    "label_tilt": (0.0, 0.15),
    "model_size": (0.2, 0.2),
    "taught_size": (0.15, 0.2),
    "student_size": (0.05, 0.1),
}
# Five tasks say little about how much a sixth may differ.
_WIDENED = 1.3
_LEAST_SPREAD = 0.2


def broad() -> Gaussian:
    """Returns what is believed before any task: `--prior none`."""
    mean, spread = np.array([_BROAD[name] for name in (*DRAWN, *LINEAR)]).T
    return Gaussian(mean, np.diag(spread**2))


@functools.lru_cache(maxsize=16)
def learnt(without: str = "", n_draws: int = 4000) -> Gaussian:
    """Returns the prior that the paper's tasks give: `--prior paper`.

    Args:
      without: the task being planned; left out where it is one of them.
      n_draws: draws for each task.
    """
    start = broad()
    tasks = [task for task in paper.task_names() if task != without]
    pooled = np.concatenate([condition(_known(task), start, n_draws).parameters() for task in tasks])
    spread = np.sqrt(np.diag(start.covariance))
    return Gaussian(pooled.mean(0), _WIDENED * np.cov(pooled.T) + np.diag((_LEAST_SPREAD * spread) ** 2))


def _known(task: str) -> Evidence:
    found = of_paper(task)
    return dataclasses.replace(found, outcomes=found.outcomes + sizes_of_paper(task))
