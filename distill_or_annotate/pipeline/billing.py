"""How a study is billed: by its price book's rates, or by the measured time of a mesh that the book prices.

paper mode, and fair mode without a mesh: a stage owes what the book's rates say once it is done.
fair mode with `Scenario.mesh`: a stage owes the time it takes. What the rates say is then its budget: training stops
  there, and the model is taken as it stands. A distillation pays for its part of the capture out of its budget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distill_or_annotate.ledger import LOCAL_BOOK, Charge
from distill_or_annotate.ledger.cap import usd_text
from distill_or_annotate.prices import PriceBook, PriceEntry
from distill_or_annotate.scenarios import STAGE_KINDS, TRAINING_KINDS, Scenario, Stage

# Scores are computed on this machine from what a stage decoded; no mesh is held for it.
_HOLDS_A_MESH = ("capture", "select", *TRAINING_KINDS)


@dataclass(frozen=True)
class Billing:
    """The prices of a run.

    Attributes:
      book: the study's price book.
      device: dollars per device-hour of its mesh; None where rates are billed.
      n_devices: devices of the mesh.
    """

    book: PriceBook
    device: PriceEntry | None = None
    n_devices: int = 1

    def is_measured(self, stage: Stage) -> bool:
        """Whether the stage's time is billed as measured.

        Args:
          stage: the stage.
        """
        return self.device is not None and stage.kind in _HOLDS_A_MESH

    def charges(self, stage: Stage) -> tuple[Charge, ...]:
        """What the stage owes by the book's rates once it is done; nothing where its time is measured.

        Args:
          stage: the stage.
        """
        return () if self.is_measured(stage) else stage.charges

    def planned_usd(self, stage: Stage) -> float:
        """Dollars of the stage as planned: the labels that it is the first to buy, or what the book's rates say.

        Args:
          stage: the stage.
        """
        if stage.kind == "label":
            return stage.n_new_labels * self.book.label(stage.task).usd
        return math.fsum(charge.usd for charge in stage.charges)

    def budget_seconds(
        self, stage: Stage, by_name: Mapping[str, Stage], device_seconds: Mapping[str, float]
    ) -> float | None:
        """Wall-clock seconds that the rates grant a stage whose time is measured.

        Args:
          stage: the stage.
          by_name: name -> stage, for those it depends on.
          device_seconds: stage -> device-seconds used so far: its own by earlier attempts, and those of its capture.

        Returns:
          What is left of its time, at least 0; None where the rates grant no time of its own.
        """
        usd = math.fsum(charge.usd for charge in stage.charges)
        if not self.is_measured(stage) or usd <= 0:
            return None
        usd_per_second = self.device.usd / 3600
        for name in stage.depends_on:
            capture = by_name[name]
            if capture.kind == "capture" and capture.n_unlabeled:
                share = stage.part * min(1.0, stage.n_unlabeled / capture.n_unlabeled)
                usd -= share * device_seconds.get(name, 0.0) * usd_per_second
        usd -= device_seconds.get(stage.name, 0.0) * usd_per_second
        return max(0.0, usd / (usd_per_second * self.n_devices))

    def elsewhere(self, stage: Stage, device_seconds: float) -> tuple[Charge, ...]:
        """What a stage owes that another run has finished: this study needs it as well, and pays for it.

        Args:
          stage: the stage.
          device_seconds: device-seconds that it took there.
        """
        if not self.is_measured(stage):
            return stage.charges
        if self.device.book == LOCAL_BOOK:
            return ()
        return (
            Charge(
                key=stage.name,
                kind="device",
                quantity=device_seconds,
                unit="device-second of a shared stage",
                unit_price_usd=self.device.usd / 3600,
                book=self.device.book,
                price_entry=f"{self.device.book}:{self.device.id}",
                price_date=self.device.date.isoformat(),
                source="measured",
            ),
        )


def billing_of(scenario: Scenario, book: PriceBook) -> Billing:
    """How a scenario is billed.

    Args:
      scenario: the study.
      book: its prices.

    Returns:
      Rates, or in fair mode with a mesh its measured time.

    Raises:
      PriceBookError: the book does not price the mesh's devices.
    """
    if not scenario.mesh or scenario.mode != "fair":
        return Billing(book)
    device, _, count = scenario.mesh.rpartition("-")
    return Billing(book, book.entry(f"device_hour/{device}"), int(count))


def plan(stages: Sequence[Stage], billing: Billing) -> dict[str, Any]:
    """The dollars of a whole graph.

    Args:
      stages: its stages.
      billing: their prices.

    Returns:
      `usd` (stage -> dollars), `labels_usd` of people, `api_usd` of language models, `devices_usd` and `total_usd`.
    """
    usd = {stage.name: billing.planned_usd(stage) for stage in stages}

    def of(*kinds: str) -> float:
        return math.fsum(usd[stage.name] for stage in stages if stage.kind in kinds)

    labels_usd, api_usd, total_usd = of("label"), of("llm_label"), of(*STAGE_KINDS)
    devices_usd = of(*(kind for kind in STAGE_KINDS if kind not in ("label", "llm_label")))
    return {
        "usd": usd,
        "labels_usd": labels_usd,
        "api_usd": api_usd,
        "devices_usd": devices_usd,
        "total_usd": total_usd,
    }


def parts_text(planned: Mapping[str, Any], joint: str) -> str:
    """The parts of a plan's dollars, as a sentence has them.

    Args:
      planned: from `plan`.
      joint: what stands between them, such as `', '`.
    """
    parts = [f"{usd_text(planned['labels_usd'])} labels"]
    parts += [f"{usd_text(planned['api_usd'])} API labels"] if planned["api_usd"] else []
    return joint.join([*parts, f"{usd_text(planned['devices_usd'])} devices"])
