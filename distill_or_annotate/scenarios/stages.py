"""The stages of a study: what has to be bought, trained, captured and scored, each thing once."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from distill_or_annotate.ledger import Charge


@dataclasses.dataclass(frozen=True)
class Stage:
    """One step of a study; its name is its folder and changes when what determines its output does.

    Attributes:
      kind: one of STAGE_KINDS.
      name: KIND-HASH.
      task: base task, by which it is priced.
      depends_on: names of the stages whose files it reads.
      n_labels: labels it trains on, or buys, or (a capture) gold labels whose distributions it also keeps.
      n_unlabeled: unlabeled examples it reads; 0 where it reads none.
      first_label: for `label`, the first position it buys; 0 otherwise.
      model: model it trains or runs; '' for `label`.
      gin_file: gin file of its program; '' where it runs none.
      task_gin: gin file of the task, read after it; '' where the stage needs none.
      overlay_gin: gin file read last; '' for most.
      macros: gin macros on top of those the pipeline sets.
      data_seed: seed of the label shuffle.
      train_seed: seed of training.
      charges: what the scenario owes once the stage is done, in dollars of its price book.
      serves: (strategy, additional_usd) of every cell that needs the stage.
      n_new_labels: for `label`, how many of its labels no stage before it buys; a label is paid for once.
      mode: the metric that it scores with, fair or paper.
      paper_task: registered task whose rows it reads, where that is not `task`; '' for most.
      part: its part of a purchase that several stages make together, as the candidates of a search do; 1 for most.
    """

    kind: str
    name: str
    task: str
    depends_on: tuple[str, ...]
    n_labels: int
    n_unlabeled: int
    first_label: int
    model: str
    gin_file: str
    task_gin: str
    macros: Mapping[str, Any]
    data_seed: int
    train_seed: int
    charges: tuple[Charge, ...]
    serves: tuple[tuple[str, float], ...]
    n_new_labels: int = 0
    overlay_gin: str = ""
    mode: str = "fair"
    paper_task: str = ""
    part: float = 1.0

    @property
    def reads(self) -> str:
        """The registered task whose rows it reads."""
        return self.paper_task or self.task

    @property
    def gold(self) -> str:
        """The variant of that task with the labels that people gave."""
        return f"{self.reads}_n{self.n_labels}_s{self.data_seed}"

    @property
    def trains_as(self) -> str:
        """The kind of what trained its model: its own kind, or of a selection that of its candidates."""
        return self.depends_on[0].split("-")[0] if self.kind == "select" else self.kind


def with_new_labels(stages: list[Stage]) -> list[Stage]:
    """Returns the stages with the number of labels that each is the first to buy.

    Args:
      stages: in the order in which they buy.
    """
    bought: dict[tuple[str, int], set[int]] = {}
    done = []
    for stage in stages:
        if stage.kind == "label":
            before = bought.setdefault((stage.task, stage.data_seed), set())
            wanted = set(range(stage.first_label, stage.first_label + stage.n_labels))
            stage = dataclasses.replace(stage, n_new_labels=len(wanted - before))
            before |= wanted
        done.append(stage)
    return done


def merged(stage: Stage, serves: tuple[tuple[str, float], ...]) -> Stage:
    """Returns the stage, serving further cells too.

    Args:
      stage: a stage.
      serves: keys of cells; those it serves already are not named twice.
    """
    return dataclasses.replace(stage, serves=stage.serves + tuple(key for key in serves if key not in stage.serves))
