"""What a person sees while a study runs: one bar for the study, with time and dollars left, one for the stage at work.

Away from a terminal (a log file, a scheduler) each stage is a line when it starts and one when it ends.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from distill_or_annotate.pipeline.billing import Billing
from distill_or_annotate.pipeline.store import Store
from distill_or_annotate.scenarios import Stage

# Stages that take next to no time whatever their size.
_QUICK = ("label", "evaluate")


class TimeLeft:
    """Guesses how long stages will take from those of their kind that are finished.

    Args:
      stages: the study's stages.
      store: the stages on disk; an end mark says how long its stage took, here or in another run.
    """

    def __init__(self, stages: Sequence[Stage], store: Store):
        self._seconds: dict[str, list[float]] = defaultdict(list)
        for stage in stages:
            mark = store.mark(stage.name)
            if mark and "seconds" in mark:
                self.took(stage, mark["seconds"])

    def took(self, stage: Stage, seconds: float) -> None:
        """Note a finished stage.

        Args:
          stage: the stage.
          seconds: wall-clock time that it took.
        """
        self._seconds[stage.kind].append(seconds)

    def guess(self, stages: Sequence[Stage]) -> tuple[float, int]:
        """Wall-clock seconds of some stages, and how many of them no finished one tells of.

        Args:
          stages: those that are left.
        """
        known = [statistics.fmean(self._seconds[stage.kind]) for stage in stages if self._seconds[stage.kind]]
        unknown = sum(not self._seconds[stage.kind] and stage.kind not in _QUICK for stage in stages)
        return math.fsum(known), unknown


class StudyProgress:
    """Progress over the stages of a study.

    Args:
      console: where to write.
      stages: all of them, finished ones included.
      billing: their prices.
      store: the stages on disk.
    """

    def __init__(self, console: Console, stages: Sequence[Stage], billing: Billing, store: Store):
        self._console = console
        self._left = {stage.name: stage for stage in stages}
        self._n_stages = len(stages)
        self._billing = billing
        self._time_left = TimeLeft(stages, store)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=console, disable=not console.is_terminal)

    def __enter__(self) -> StudyProgress:
        self._progress.start()
        self._study = self._progress.add_task("[bold]stages", total=self._n_stages)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def left(self) -> str:
        """Time and dollars of the stages that are not finished, as a phrase."""
        stages = list(self._left.values())
        usd = math.fsum(self._billing.planned_usd(stage) for stage in stages)
        seconds, unknown = self._time_left.guess(stages)
        told = [f"about {duration(seconds)}"] if seconds >= 1 or not unknown else []
        told += [f"{unknown} {'stage' if unknown == 1 else 'stages'} of unknown length"] if unknown else []
        return f"{' and '.join(told)}, ${usd:,.2f} left"

    def skip(self, stage: Stage) -> None:
        """Count a stage that was finished before.

        Args:
          stage: the stage.
        """
        self._done(stage)

    @contextmanager
    def stage(self, stage: Stage, title: str) -> Iterator[Callable[[int, int | None], None]]:
        """Show one stage while the block runs.

        Args:
          stage: the stage.
          title: what it does.

        Yields:
          A function that takes the number of the last step and the number of all, None where they cannot be counted.
        """
        started = time.monotonic()
        bar = self._progress.add_task(title, total=None)
        number = self._n_stages - len(self._left) + 1
        if not self._console.is_terminal:
            self._console.print(f"[{number}/{self._n_stages}] {title} ...", markup=False)
        try:
            yield lambda step, total: self._progress.update(bar, completed=step, total=total)
        finally:
            self._progress.remove_task(bar)
        seconds = time.monotonic() - started
        self._time_left.took(stage, seconds)
        self._done(stage)
        line = f"[{number}/{self._n_stages}] {title}: {seconds:.0f} s"
        if self._left:
            line += f"; {self.left()}"
        self._progress.console.print(line, markup=False, highlight=False)

    def _done(self, stage: Stage) -> None:
        self._left.pop(stage.name, None)
        description = f"[bold]stages[/] ({self.left()})" if self._left else "[bold]stages"
        self._progress.update(self._study, completed=self._n_stages - len(self._left), description=description)


def duration(seconds: float) -> str:
    """A length of time in the unit that suits it.

    Args:
      seconds: wall-clock seconds.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
