"""What a budget can buy: labels of people and language models, teachers, students, unlabeled examples, at many sizes.

Each option pays its serving, too, where that is asked for; then the teacher itself may serve. Of several accelerators
each option takes the one that leaves most unlabeled examples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from distill_or_annotate.planning import sizes
from distill_or_annotate.planning.curves import Purchases
from distill_or_annotate.planning.language_models import LanguageModel
from distill_or_annotate.planning.outcomes import PlanningError
from distill_or_annotate.planning.prices import PlanPrices
from distill_or_annotate.planning.wishes import LEAST_LABELS, Wish

# Sizes of N between the labels at hand and all that the budget buys, and of those on top of which a language model's
# labels are tried, and of these.
SIZES, LLM_EVERY, LLM_SIZES = 24, 6, 8
# A pool smaller than this is not worth a teacher, nor so few labels of a language model a prompt.
LEAST_POOL = 100


@dataclasses.dataclass(frozen=True)
class Option:
    """One way to spend a budget.

    Attributes:
      strategy: annotate | distill | teacher (which then serves).
      n_labels: labels of people in all, those at hand included.
      n_unlabeled: unlabeled examples distilled; 0 for labels alone.
      label_usd: dollars of the labels that are bought.
      finetune_usd: dollars of the teacher.
      distill_usd: dollars of distillation.
      teacher: the teacher; '' for the priced one, or where there is none.
      student: the student; '' for the priced one, or where there is none.
      accelerator: where the teacher runs; '' where the book says.
      n_llm_labels: labels of a language model.
      llm: the language model; '' where there is none.
      llm_usd: dollars of its labels.
      serving_usd: dollars of serving.
    """

    strategy: str
    n_labels: int
    n_unlabeled: int
    label_usd: float
    finetune_usd: float = 0.0
    distill_usd: float = 0.0
    teacher: str = ""
    student: str = ""
    accelerator: str = ""
    n_llm_labels: int = 0
    llm: str = ""
    llm_usd: float = 0.0
    serving_usd: float = 0.0

    @property
    def total_usd(self) -> float:
        """Dollars of all of it."""
        return self.label_usd + self.finetune_usd + self.distill_usd + self.llm_usd + self.serving_usd

    @property
    def kind(self) -> tuple[str, ...]:
        """What is decided beside sizes."""
        return self.strategy, self.teacher, self.student, self.llm

    @property
    def name(self) -> str:
        """In words."""
        labels = f"{self.n_labels:,} labels"
        if self.strategy == "teacher":
            return f"{labels}, {self.teacher or 'the teacher'} itself serving"
        if self.n_unlabeled:
            pair = f" from {self.teacher or 'the teacher'} into {self.student}" if self.teacher or self.student else ""
            there = f" on {self.accelerator}" if self.accelerator else ""
            return f"{labels}, {self.n_unlabeled:,} distilled{pair}{there}"
        if self.llm:
            labels = f"{labels} and {self.n_llm_labels:,}" if self.n_labels else f"{self.n_llm_labels:,} labels"
            labels += f" of {self.llm}"
        return f"{labels} alone" + (f" for {self.student}" if self.student else "")


def options_of(wish: Wish, prices: PlanPrices) -> list[Option]:
    """Returns what a budget can buy, labels alone first, sizes rising.

    Args:
      wish: budget and what is there.
      prices: of the task.

    Raises:
      PlanningError: the budget buys nothing of use.
    """
    serving = {student: _serving_usd(wish, prices, student, "student") for student in wish.students}
    sizes_of = {student: _sizes(wish, prices, usd) for student, usd in serving.items()}
    if not any(sizes_of.values()):
        raise _nothing(wish, prices, min(serving.values()))
    found: list[Option] = []
    for student, usd in serving.items():
        found += [_annotated(n, wish, prices, student, usd) for n in sizes_of[student]]
    for llm in prices.llms:
        for student, usd in serving.items():
            found += _asked_of(llm, wish, prices, student, usd)
    for teacher in wish.teachers:
        for student, usd in serving.items():
            distilled = (_distilled(n, wish, prices, teacher, student, usd) for n in sizes_of[student])
            found += [each for each in distilled if each is not None]
        if wish.served:
            found += _taught(wish, prices, teacher)
    return found


def why_not(wish: Wish, prices: PlanPrices) -> list[str]:
    """Returns why a budget cannot buy some of what was asked about, one sentence each.

    Args:
      wish: budget and what is there.
      prices: of the task.
    """
    found = options_of(wish, prices)
    said = []
    for student in wish.students:
        usd = _serving_usd(wish, prices, student, "student")
        if not _sizes(wish, prices, usd):
            said.append(f"{student or 'The student'}: serving it takes ${usd:,.2f} of ${wish.budget_usd:,.2f}.")
    for teacher in wish.teachers:
        if not any(each.strategy == "distill" and each.teacher == teacher for each in found):
            said.append(_no_distilling(wish, prices, teacher))
        usd = _serving_usd(wish, prices, teacher, "teacher")
        if wish.served and not any(each.strategy == "teacher" and each.teacher == teacher for each in found):
            said.append(
                f"Serving {teacher or 'the teacher'} itself: {wish.served:,.0f} predictions cost ${usd:,.2f} of "
                f"${wish.budget_usd:,.2f}, which leaves too little to train it."
            )
    return said


def purchases_of(options: Sequence[Option], prices: PlanPrices) -> Purchases:
    """Returns options as the curves take them.

    Args:
      options: at least one.
      prices: of the task; the lengths of that whose computing prices hold tell the models' sizes.
    """
    task, llms = prices.like, {llm.name: llm for llm in prices.llms}

    def column(of) -> np.ndarray:
        return np.array([of(each) for each in options], dtype=float)

    return Purchases(
        strategies=np.array([each.strategy for each in options], dtype=object),
        n_labels=column(lambda each: each.n_labels),
        n_unlabeled=column(lambda each: each.n_unlabeled),
        teacher_decades=column(lambda each: sizes.decades(each.teacher, task, "teacher")),
        student_decades=column(lambda each: sizes.decades(each.student, task, "student")),
        n_llm_labels=column(lambda each: each.n_llm_labels),
        llm_score=column(lambda each: llms[each.llm].score if each.llm else 50.0),
        llm_stderr=column(lambda each: llms[each.llm].stderr if each.llm else 0.0),
        chance=column(lambda each: llms[each.llm].chance if each.llm else 0.0),
    )


def _serving_usd(wish: Wish, prices: PlanPrices, model: str, role: str) -> float:
    return wish.served / 1e6 * prices.serving_usd_per_million(model, role) if wish.served else 0.0


def _spaced(least: float, most: float, count: int) -> list[int]:
    """Whole numbers, evenly spaced on the log scale."""
    ratio = math.log(most / least)
    return sorted({math.floor(least * math.exp(ratio * i / (count - 1)) + 0.5) for i in range(count)})


def _sizes(wish: Wish, prices: PlanPrices, serving_usd: float, least: int | None = None) -> list[int]:
    """Numbers of labels that the budget buys beside serving; none where it buys too few."""
    most = wish.at_hand + math.floor((wish.budget_usd - serving_usd) / prices.label_usd + 1e-9)
    most = most if wish.max_labels is None else min(most, wish.max_labels)
    least = max(wish.at_hand, LEAST_LABELS) if least is None else least
    return _spaced(least, most, SIZES) if most >= least else []


def _annotated(n_labels: int, wish: Wish, prices: PlanPrices, student: str, serving_usd: float) -> Option:
    label_usd = (n_labels - wish.at_hand) * prices.label_usd
    return Option("annotate", n_labels, 0, label_usd, student=student, serving_usd=serving_usd)


def _asked_of(llm: LanguageModel, wish: Wish, prices: PlanPrices, student: str, serving_usd: float) -> Iterator[Option]:
    bought = _sizes(wish, prices, serving_usd)[::LLM_EVERY]
    for n_labels in sorted({wish.at_hand, *bought}):
        human = _annotated(n_labels, wish, prices, student, serving_usd)
        left_usd = wish.budget_usd - human.total_usd
        most = min(math.floor(left_usd / prices.llm_usd(llm) + 1e-9), wish.max_unlabeled) if left_usd > 0 else 0
        for count in _spaced(LEAST_POOL, most, LLM_SIZES) if most >= LEAST_POOL else ():
            usd = count * prices.llm_usd(llm)
            yield dataclasses.replace(human, n_llm_labels=count, llm=llm.name, llm_usd=usd)


def _distilled(
    n_labels: int, wish: Wish, prices: PlanPrices, teacher: str, student: str, serving_usd: float
) -> Option | None:
    label_usd = (n_labels - wish.at_hand) * prices.label_usd
    best: Option | None = None
    for accelerator in prices.accelerators or (None,):
        finetune_usd = prices.finetune_usd(n_labels, teacher, accelerator)
        rate_usd = prices.distill_usd_per_1k(n_labels, teacher, student, accelerator)
        left_usd = wish.budget_usd - serving_usd - label_usd - finetune_usd
        affordable = math.floor(left_usd / rate_usd * 1000 + 1e-9) if left_usd > 0 else 0
        pool = min(affordable, wish.max_unlabeled)
        found = Option("distill", n_labels, pool, label_usd, finetune_usd, pool / 1000 * rate_usd, teacher, student,
                       accelerator.name if accelerator else "", serving_usd=serving_usd)  # fmt: skip
        is_better = best is None or (-pool, found.total_usd) < (-best.n_unlabeled, best.total_usd)
        best = found if pool >= LEAST_POOL and is_better else best
    return best


def _taught(wish: Wish, prices: PlanPrices, teacher: str) -> Iterator[Option]:
    serving_usd = _serving_usd(wish, prices, teacher, "teacher")
    for n_labels in _sizes(wish, prices, serving_usd):
        label_usd = (n_labels - wish.at_hand) * prices.label_usd
        finetune_usd = min(prices.finetune_usd(n_labels, teacher, each) for each in prices.accelerators or (None,))
        found = Option("teacher", n_labels, 0, label_usd, finetune_usd, teacher=teacher, serving_usd=serving_usd)
        if found.total_usd <= wish.budget_usd + 1e-9:
            yield found


def _nothing(wish: Wish, prices: PlanPrices, serving_usd: float) -> PlanningError:
    least = max(wish.at_hand, LEAST_LABELS)
    needed_usd = (least - wish.at_hand) * prices.label_usd + serving_usd
    served = f", and ${serving_usd:,.2f} of serving {wish.served:,.0f} predictions" if serving_usd else ""
    return PlanningError(
        f"budget_usd: ${wish.budget_usd:,.2f} is below the cheapest option, {least} labels at "
        f"${prices.label_usd:g} each{served} (${needed_usd:,.2f}). Fix: a larger budget, or --labels-at-hand."
    )


def _no_distilling(wish: Wish, prices: PlanPrices, teacher: str) -> str:
    least = max(wish.at_hand, LEAST_LABELS)
    teacher_usd = min(prices.finetune_usd(least, teacher, each) for each in prices.accelerators or (None,))
    least_usd = (least - wish.at_hand) * prices.label_usd + teacher_usd
    return (
        f"Distilling{f' {teacher}' if teacher else ''}: fine-tuning the teacher on {least:,} labels costs "
        f"${teacher_usd:,.2f}; with the labels ${least_usd:,.2f}, which leaves of ${wish.budget_usd:,.2f} too little "
        f"for {LEAST_POOL} unlabeled examples."
    )
