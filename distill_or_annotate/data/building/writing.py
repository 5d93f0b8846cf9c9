"""Builds a task's TFDS folder from official files: plan, hash, read, split, pool, write."""

import dataclasses
import hashlib
import json
import pathlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from distill_or_annotate.data.building import folder as build_folder
from distill_or_annotate.data.building import provenance as provenance_lib
from distill_or_annotate.data.building import split as build_split
from distill_or_annotate.data.building.plan import Planned, plan
from distill_or_annotate.preprocess import built
from distill_or_annotate.preprocess.official import forms
from distill_or_annotate.preprocess.official.reading import OfficialRow
from distill_or_annotate.preprocess.rows import Row, RowError

# Raised when the same inputs would give other rows than before.
FORMAT = "doa-built-1"
DEFAULT_RATIOS = (80, 10, 10)
HELD_OUT, IN_EVALUATION, REPEATED = (
    "source held out in another split",
    "source of validation or test",
    "repeated source",
)

_BLANK_TEXTS_FIX = (
    " The authors publish Stanceosaurus without the tweets' texts: ask them for the full data, or fill the texts in "
    "with the repository's add_text_back.py (`doa data fetch stanceosaurus` says how)."
)

Progress = Callable[[str, int, int], None]


class BuildError(ValueError):
    """Files from which no data set can be built, or a folder that may not be replaced."""


@dataclasses.dataclass(frozen=True)
class Request:
    """What to build.

    Args:
      task: one of the six tasks.
      files: files and folders whose split their names tell, or which are split by hash.
      by_split: split -> files and folders that go there.
      form: name of the labelled files' form; None recognises it.
      pool_form: name of the pool's form; None recognises it.
      ratios: percentages of train, validation, test for `files`, whatever their names say; None goes by the names, and
        splits 80/10/10 where they say nothing.
      split_seed: seed of the hash.
      output: root of built folders; None takes `built` in the data folder.
      on_bad_row: `stop` or `skip`.
      force: replace a folder built from other inputs.
      exclude_evaluation_sources: drop evaluation sources from a pool of one's own rather than refuse it.
      command: the command line, for the record.
    """

    task: str
    files: Sequence[str] = ()
    by_split: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    form: str | None = None
    pool_form: str | None = None
    ratios: tuple[int, int, int] | None = None
    split_seed: int = 0
    output: str | None = None
    on_bad_row: str = "stop"
    force: bool = False
    exclude_evaluation_sources: bool = False
    command: str = ""


@dataclasses.dataclass(frozen=True)
class Result:
    """What was built.

    Args:
      folder: the built folder.
      provenance: content of its provenance.json.
      is_new: False when the same data stood there already and nothing was written.
    """

    folder: pathlib.Path
    provenance: dict[str, Any]
    is_new: bool


class _Account:
    """Rows by split, and what became of the others."""

    def __init__(self):
        self.rows: dict[str, list[OfficialRow]] = {}
        self.left_out: dict[str, Counter[str]] = {}
        self.noted: dict[str, Counter[str]] = {}
        self.skipped: list[RowError] = []

    def leave_out(self, split: str, reasons: Mapping[str, int]) -> None:
        self.left_out.setdefault(split, Counter()).update({why: n for why, n in reasons.items() if n})


def build(request: Request, on_progress: Progress = lambda stage, done, total: None) -> Result:
    """Builds a data set, unless the same one stands there already.

    Args:
      request: what to build.
      on_progress: told of a stage, how much of it is done, and of how much.
    Returns:
      The folder and its provenance.
    Raises:
      PlanError, FormError, RowError, SplitError, BuildError: the files or the wish cannot be used.
      DataFolderError: no `output`, and `DOA_DATA_DIR` names no folder.
      OSError: a file cannot be read, or the folder not written.
    """
    planned = plan(request.task, request.files, request.by_split, request.form, request.pool_form,
                   request.ratios is not None)  # fmt: skip
    folder = built.folder(request.task, request.output)
    inputs = _inputs(planned, on_progress)
    key = _key(request, inputs)
    if (before := _before(request)) is not None and not request.force:
        if before.get("key") == key:
            return Result(folder, before, is_new=False)
        raise BuildError(
            f"{folder} was built from other files or with other settings. Give --force to replace it, or --output ROOT "
            "to build elsewhere."
        )
    account = _read(request, planned, on_progress)
    rule = _split(request, account)
    _pool(request, planned, account)
    rows = {split: [_row(row) for row in account.rows[split]] for split in built.SPLITS if account.rows.get(split)}
    made_from = {"inputs": inputs, "forms": sorted({one.form.name for one in planned}), "split": rule, "key": key}
    provenance = made_from | {"task": request.task, "format": FORMAT, "command": request.command}
    provenance |= provenance_lib.account(rows, account.left_out, account.noted, account.skipped)
    provenance |= provenance_lib.licences(name for one in planned for name in one.form.datasets)
    n_rows = sum(len(part) for part in rows.values())
    build_folder.write(folder, rows, provenance, lambda done: on_progress("writing rows", done, n_rows))
    return Result(folder, provenance, is_new=True)


def _inputs(planned: Sequence[Planned], on_progress: Progress) -> list[dict[str, Any]]:
    files = [(one, file) for one in planned for file in forms.with_annotations(one.form, [one.path])]
    inputs = []
    for number, (one, file) in enumerate(files, start=1):
        with open(file, "rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        inputs.append(
            {"file": str(file), "split": one.split or "by hash", "form": one.form.name, "role": one.role,
             "sha256": digest, "size_bytes": file.stat().st_size}
        )  # fmt: skip
        on_progress("hashing files", number, len(files))
    return inputs


def _key(request: Request, inputs: Sequence[Mapping[str, Any]]) -> str:
    """What decides the rows; where the files lie does not."""
    files = [{**entry, "file": pathlib.Path(entry["file"]).name} for entry in inputs]
    decisive = [FORMAT, request.task, files, request.ratios, request.split_seed, request.on_bad_row]
    decisive.append(request.exclude_evaluation_sources)
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _before(request: Request) -> dict[str, Any] | None:
    try:
        return built.provenance(request.task, request.output)
    except built.BuiltError:
        return {}


def _read(request: Request, planned: Sequence[Planned], on_progress: Progress) -> _Account:
    account = _Account()
    for number, one in enumerate(planned, start=1):
        reading = forms.read(one.form, one.role, [one.path], request.on_bad_row)
        split = one.split or ""
        account.rows.setdefault(split, []).extend(reading.rows)
        account.leave_out(split, reading.left_out)
        account.noted.setdefault(split, Counter()).update(reading.noted)
        account.skipped += reading.skipped
        on_progress("reading files", number, len(planned))
    for split, rows in account.rows.items():
        if not rows:
            left_out = account.left_out.get(split, Counter())
            reasons = ", ".join(f"{n} {reason}" for reason, n in left_out.items())
            why = "; ".join(filter(None, [reasons, _skipped(account.skipped)]))
            fix = _BLANK_TEXTS_FIX if request.task == "stanceosaurus" and left_out else ""
            raise BuildError(f"no usable row for {split or 'any split'} ({why or 'the files are empty'}).{fix}")
    return account


def _skipped(errors: Sequence[RowError]) -> str:
    return f"{len(errors)} skipped, the first in {errors[0].path}, line {errors[0].line}" if errors else ""


def _split(request: Request, account: _Account) -> dict[str, Any]:
    if "" not in account.rows:
        return {"rule": "files"}
    ratios = request.ratios or DEFAULT_RATIOS
    parts, held_out = build_split.by_group(account.rows.pop(""), ratios, request.split_seed)
    account.rows |= parts
    account.left_out["before the split"] = account.left_out.pop("", Counter())
    account.noted["before the split"] = account.noted.pop("", Counter())
    for split, n_rows in held_out.items():
        account.leave_out(split, {HELD_OUT: n_rows})
    return {"rule": "hash of the group", "percent": list(ratios), "seed": request.split_seed}


def _pool(request: Request, planned: Sequence[Planned], account: _Account) -> None:
    if "unlabeled" not in account.rows:
        return
    evaluation = build_split.source_keys([*account.rows.get("validation", ()), *account.rows.get("test", ())])
    rows, n_excluded, n_repeated = build_split.pool(account.rows["unlabeled"], evaluation)
    own = [one for one in planned if one.role == "pool" and not one.form.is_official_pool]
    if n_excluded and own and not request.exclude_evaluation_sources:
        raise BuildError(
            f"the pool ({', '.join(one.path.name for one in own[:3])}) contains {n_excluded} sources of validation or "
            "test: a student trained on them would be scored on what it has seen. Give --exclude-evaluation-sources to "
            "drop them."
        )
    if not rows:
        raise BuildError(f"the pool is empty: all {n_excluded} of its sources are sources of validation or test")
    account.rows["unlabeled"] = rows
    account.leave_out("unlabeled", {IN_EVALUATION: n_excluded, REPEATED: n_repeated})


def _row(row: OfficialRow) -> Row:
    plain: Row = {"source": row.source, "target": row.target}
    if len(row.targets) > 1:
        plain["targets"] = list(row.targets)
    return plain
