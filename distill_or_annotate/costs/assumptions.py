"""What a study's dollars leave out: the paper's assumptions as switches, and what they cost once switched off."""

import dataclasses
import difflib
from typing import Any

from distill_or_annotate.costs.arithmetic import CostError, check_usd

_SWITCHES = ("engineer_is_free", "student_training_is_free", "pretrained_is_free")


@dataclasses.dataclass(frozen=True)
class Assumptions:
    """Which costs count. As it stands, all three of the paper's assumptions hold.

    Attributes:
      engineer_is_free: nobody's working time is counted (Section 2.1).
      student_training_is_free: fine-tuning the student on labels is not counted (footnote 1).
      pretrained_is_free: the pre-trained models cost nothing (both are public).
      engineer_hours: hours of an engineer that each strategy takes, at least 0; counted unless engineer_is_free.
      engineer_usd_per_hour: dollars for one of them, at least 0.
      pretrained_usd: dollars for the pre-trained teacher, at least 0; counted, for what needs one, unless
        pretrained_is_free. The student is public either way.
    """

    engineer_is_free: bool = True
    student_training_is_free: bool = True
    pretrained_is_free: bool = True
    engineer_hours: float = 0.0
    engineer_usd_per_hour: float = 0.0
    pretrained_usd: float = 0.0

    def __post_init__(self):
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise CostError(f"Assumptions.{name}: received {getattr(self, name)!r}; it must be True or False.")
        for name in ("engineer_hours", "engineer_usd_per_hour", "pretrained_usd"):
            object.__setattr__(self, name, check_usd(f"Assumptions.{name}", getattr(self, name)))
        if not self.engineer_is_free and not self.engineer_hours * self.engineer_usd_per_hour:
            raise CostError(
                f"Assumptions.engineer_is_free: received False with {self.engineer_hours:g} hours at "
                f"${self.engineer_usd_per_hour:g}. Fix: give engineer_hours and engineer_usd_per_hour, both above 0."
            )
        if not self.pretrained_is_free and not self.pretrained_usd:
            raise CostError(
                "Assumptions.pretrained_is_free: received False with pretrained_usd 0. Fix: give a pretrained_usd."
            )

    @classmethod
    def for_mode(cls, mode: str, **changes: Any) -> "Assumptions":
        """Returns what a mode assumes: `paper` all of it, `fair` counts the student's fine-tuning.

        Args:
          mode: paper | fair.
          **changes: fields to set; None keeps the mode's.

        Raises:
          CostError: another mode, an unknown field, or a value out of range.
        """
        if mode not in ("paper", "fair"):
            raise CostError(f"mode: received {mode!r}; allowed: paper, fair.")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in changes:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise CostError(f"Assumptions: there is no {name!r}; {hint}allowed: {', '.join(known)}.")
        set_fields = {name: value for name, value in changes.items() if value is not None}
        return cls(**{"student_training_is_free": mode == "paper", **set_fields})

    @property
    def engineer_usd(self) -> float:
        """Dollars of the engineer's time, as they count."""
        return 0.0 if self.engineer_is_free else self.engineer_hours * self.engineer_usd_per_hour

    @property
    def counted_pretrained_usd(self) -> float:
        """Dollars of the pre-trained teacher, as they count."""
        return 0.0 if self.pretrained_is_free else self.pretrained_usd

    def sentences(self) -> tuple[str, ...]:
        """Returns one sentence per assumption, for a report to list."""
        engineer, student, models = (
            "An engineer's time is free (Section 2.1 of the paper).",
            "Fine-tuning the student on labels is free (footnote 1 of the paper); training it on a teacher's output is "
            "part of the price per 1,000 distilled examples.",
            "The pre-trained models are free.",
        )
        if not self.engineer_is_free:
            engineer = (
                f"An engineer's time counts on top of each budget: {self.engineer_hours:g} hours at "
                f"${self.engineer_usd_per_hour:,.2f}, ${self.engineer_usd:,.2f} a strategy."
            )
        if not self.student_training_is_free:
            student = (
                "Fine-tuning the student on labels counts on top of each budget, estimated from the teacher's price; "
                "training it on a teacher's output is part of the price per 1,000 distilled examples."
            )
        if not self.pretrained_is_free:
            models = f"The pre-trained teacher counts on top of each budget that needs it: ${self.pretrained_usd:,.2f}."
        return engineer, student, models

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON-ready values."""
        return dataclasses.asdict(self)
