"""Reads the three files a report is made of: results.jsonl, ledger.jsonl, manifest.json."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from distill_or_annotate.ledger import read_journal

_REQUIRED = ("task", "strategy", "mode", "n_labels", "additional_usd", "total_usd", "initial_usd", "metric", "score")
_STRATEGIES = (
    "annotate",
    "distill",
    "teacher",
    "self_distill",
    "llm_annotate",
    "human_llm_annotate",
    "general_distill",
)


class ReportError(ValueError):
    """Raised for run files no honest report can be made from."""


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """What a run left behind.

    Attributes:
      folder: the run's folder.
      results: one row per evaluated model, in a fixed order.
      ledger: ledger rows.
      manifest: code, packages, data, seeds, command, and `scenario` and `cells` (the planned ones) where written.
      remarks: what a reader must know about the files, such as a torn line.
    """

    folder: pathlib.Path
    results: list[dict[str, Any]]
    ledger: list[dict[str, Any]]
    manifest: dict[str, Any]
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The scenario's name, or the folder's where no manifest says it."""
        return str(self.manifest.get("scenario", {}).get("name") or self.folder.name)

    @property
    def stages(self) -> pathlib.Path:
        """The folder of the stages: the run's own, or the shared one that its manifest names."""
        own = self.folder / "stages"
        return own if own.is_dir() else pathlib.Path(self.manifest.get("stages_dir") or own)


def read_run(folder: pathlib.Path | str) -> RunFiles:
    """Reads a run's folder; an absent ledger or manifest is an empty one, an absent results.jsonl means none yet.

    Args:
      folder: the run.

    Raises:
      ReportError: the folder is missing or holds none of the files, or a row lacks a field or has a wrong value.
    """
    folder = pathlib.Path(folder)
    paths = [folder / name for name in ("results.jsonl", "ledger.jsonl", "manifest.json")]
    if not any(path.is_file() for path in paths):
        raise ReportError(f"{folder}: no results.jsonl, ledger.jsonl or manifest.json there; name the folder of a run.")
    results = read_journal(paths[0])
    ledger = read_journal(paths[1])
    manifest: dict[str, Any] = {}
    if paths[2].is_file():
        try:
            manifest = json.loads(paths[2].read_text(encoding="utf-8"))
        except ValueError as error:
            raise ReportError(f"{paths[2]}: not valid JSON: {error}.") from error
    for number, row in enumerate(results.rows, start=1):
        _check(row, f"{paths[0]}: row {number}")
    return RunFiles(
        folder=folder,
        results=sorted(results.rows, key=_order),
        ledger=ledger.rows,
        manifest=manifest,
        remarks=tuple(results.torn + ledger.torn),
    )


def seeds_of(row: Mapping[str, Any]) -> tuple[int, int]:
    """Returns the data seed and the training seed of a result.

    Args:
      row: a row of results.jsonl; those written before the seeds had names of their own say `seed`.
    """
    return row.get("data_seed") or 0, row.get("train_seed", row.get("seed")) or 0


def _order(row: Mapping[str, Any]) -> tuple:
    key = (row["task"], row["mode"], row["initial_usd"], row["strategy"], row["additional_usd"])
    return (*key, *seeds_of(row), json.dumps(row, sort_keys=True))


def _check(row: Mapping[str, Any], where: str) -> None:
    for field in _REQUIRED:
        if field not in row:
            raise ReportError(f"{where}: {field} is missing; every evaluated model needs one.")
    if row["strategy"] not in _STRATEGIES:
        raise ReportError(f"{where}: strategy is {row['strategy']!r}; allowed: {', '.join(_STRATEGIES)}.")
    for field in ("score", "additional_usd", "total_usd", "initial_usd"):
        value = row[field]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ReportError(
                f"{where}: {field} is {value!r}; it must be a finite number. A model without one has no row."
            )
