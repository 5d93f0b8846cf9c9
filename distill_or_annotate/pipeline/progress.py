"""What a person sees while a study runs: one bar for the study, one for the stage at work.

Away from a terminal (a log file, a scheduler) each stage is a line when it starts and one when it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class StudyProgress:
    """Progress over the stages of a study.

    Args:
      console: where to write.
      n_stages: stages of the study, finished ones included.
    """

    def __init__(self, console: Console, n_stages: int):
        self._console = console
        self._n_stages = n_stages
        self._done = 0
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

    def skip(self, count: int = 1) -> None:
        """Count stages that an earlier run finished."""
        self._done += count
        self._progress.advance(self._study, count)

    @contextmanager
    def stage(self, title: str) -> Iterator[Callable[[int, int | None], None]]:
        """Show one stage while the block runs.

        Args:
          title: what the stage does.

        Yields:
          A function that takes the number of the last step and the number of all, None where they cannot be counted.
        """
        started = time.monotonic()
        bar = self._progress.add_task(title, total=None)
        if not self._console.is_terminal:
            self._console.print(f"[{self._done + 1}/{self._n_stages}] {title} ...", markup=False)
        try:
            yield lambda step, total: self._progress.update(bar, completed=step, total=total)
        finally:
            self._progress.remove_task(bar)
        self._done += 1
        self._progress.advance(self._study)
        line = f"[{self._done}/{self._n_stages}] {title}: {time.monotonic() - started:.0f} s"
        self._progress.console.print(line, markup=False, highlight=False)
