"""The official forms by name, and how each is recognised by what a file holds.

A form is read as labelled rows, as an unlabeled pool, or as either. Where a file is given without saying what for, it
is what its form mostly is: VitaminC, MS MARCO and MultiPIT's automatic pairs are pools.
"""

import dataclasses
import difflib
import functools
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from distill_or_annotate.preprocess.official import (
    multipit,
    pools,
    questions,
    released,
    stanceosaurus,
    wlp_brat,
    wlp_conll,
)
from distill_or_annotate.preprocess.official.labels import TASKS
from distill_or_annotate.preprocess.official.reading import Paths, Reading
from distill_or_annotate.preprocess.text import one_line

ROLES = ("labelled", "pool")
_SAMPLE_BYTES, _LINE_BYTES = 1 << 16, 1 << 22

Reader = Callable[..., Reading]


class FormError(ValueError):
    """A file whose form is not known, or does not serve the task.

    Args:
      message: what is wrong, and how to mend it.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message, 1500))


@dataclasses.dataclass(frozen=True)
class Head:
    """The beginning of a file.

    Args:
      path: the file.
      lines: the first lines that are not blank.
      first: the JSON object on the first line; None where there is none.
    """

    path: pathlib.Path
    lines: tuple[str, ...]
    first: dict[str, Any] | None


@dataclasses.dataclass(frozen=True)
class Form:
    """One official form of one task's data.

    Args:
      name: what `--form` takes.
      datasets: keys of data/provenance.toml.
      why_not: why a file cannot be of this form; None when it can.
      labelled: reads rows with targets; None where the form has none.
      pool: reads sources without targets; None where that is of no use.
      is_pool: whether the form is a pool where nothing else is said.
      is_official_pool: whether evaluation sources may be dropped from the pool unasked.
    """

    name: str
    datasets: tuple[str, ...]
    why_not: Callable[[Head], str | None]
    labelled: Reader | None = None
    pool: Reader | None = None
    is_pool: bool = False
    is_official_pool: bool = False

    def reader(self, role: str) -> Reader | None:
        """Returns the function that reads files in a role.

        Args:
          role: one of `ROLES`.
        Returns:
          Files and `on_bad_row` to rows; None where the form does not serve the role.
        """
        return self.labelled if role == "labelled" else self.pool


def _fields(*names: str, without: tuple[str, ...] = ()) -> Callable[[Head], str | None]:
    def why_not(head: Head) -> str | None:
        if head.first is None:
            return "its first line is no JSON object"
        missing = [name for name in names if name not in head.first]
        if missing:
            return f"its first row lacks {', '.join(missing)} (it has {', '.join(sorted(head.first)) or 'nothing'})"
        present = [name for name in without if name in head.first]
        return f"its first row has {', '.join(present)}" if present else None

    return why_not


def _columns(*names: str, without: tuple[str, ...] = ()) -> Callable[[Head], str | None]:
    def why_not(head: Head) -> str | None:
        header = [name.strip().strip('"') for name in head.lines[0].lstrip("\ufeff").split(",")] if head.lines else []
        missing = [name for name in names if name not in header]
        if missing:
            near = [match for name in missing for match in difflib.get_close_matches(name, header, n=1)]
            return f"its first line names no column {', '.join(missing)}{f' (near: {near})' if near else ''}"
        present = [name for name in without if name in header]
        return f"it has a column {', '.join(present)}" if present else None

    return why_not


def _not_conll(head: Head) -> str | None:
    for line in head.lines:
        parts = line.split()
        if len(parts) != 2 or not wlp_conll.TAG.fullmatch(parts[1]):
            return f"not each line is a token and a BIO tag ({line[:40]!r})"
    return None if head.lines else "it is empty"


def _not_brat(head: Head) -> str | None:
    if head.path.suffix != ".txt":
        return "it is no .txt file"
    beside = wlp_brat.annotations(head.path)
    return None if beside.is_file() else f"no {beside.name} stands beside it"


def _not_threads(head: Head) -> str | None:
    if not head.lines or not head.lines[0].lstrip("\ufeff [").startswith("{") or "[" not in head.lines[0][:8]:
        return "it does not begin as a JSON array of objects"
    return None if '"root_tweet"' in "".join(head.lines) else "it names no root_tweet"


def _not_msmarco(head: Head) -> str | None:
    for line in head.lines:
        number, tab, _ = line.partition("\t")
        if not tab or not number.strip("\ufeff ").isdigit():
            return f"not each line is a number, a tab and a query ({line[:40]!r})"
    return None if head.lines else "it is empty"


def _not_text(head: Head) -> str | None:
    if head.first is not None or (head.lines and head.lines[0].lstrip("\ufeff ")[:1] in ("[", "{")):
        return "it looks like JSON"
    if head.path.suffix not in (".txt", ".text", ""):
        return f"it ends in {head.path.suffix}, not .txt"
    return None if head.lines else "it is empty"


@functools.cache
def of_task(task: str) -> tuple[Form, ...]:
    """Lists the forms in which a task's data comes.

    Args:
      task: one of the six tasks.
    Returns:
      Its forms, in the order in which they are tried.
    Raises:
      FormError: an unknown task; near names are given.
    """
    if task not in TASKS:
        near = difflib.get_close_matches(task, TASKS, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise FormError(f"task: {task!r} has no official data set; {hint}Allowed: {', '.join(TASKS)}.")
    main = {"multipit_id": "multipit", "multipit_gen": "multipit"}.get(task, task)
    plain = (
        Form("released", (main,), _fields("source", "target"), functools.partial(released.read, task=task),
             functools.partial(released.read, task=task, labelled=False)),
        Form("json_text", ("own",), _fields("text"), pool=pools.read_json_text, is_pool=True),
        Form("text", ("chemsyn",) if task == "wlp" else ("own",), _not_text, pool=pools.read_text, is_pool=True),
    )  # fmt: skip
    return (*_OWN[task], *plain)


_PAIRS = ("sentence1", "sentence2")
_KILT = _fields("id", "input")
_OWN: dict[str, tuple[Form, ...]] = {
    "wlp": (
        Form("wlp_brat", ("wlp",), _not_brat, wlp_brat.read, pools.read_text),
        Form("wlp_conll", ("wlp",), _not_conll, wlp_conll.read),
    ),
    "stanceosaurus": (
        Form("threads", ("stanceosaurus",), _not_threads, stanceosaurus.read,
             functools.partial(stanceosaurus.read, labelled=False)),
    ),
    "fever": (
        Form("kilt", ("fever", "kilt"), _KILT, questions.read_kilt_fever),
        Form("vitaminc", ("vitaminc",), _fields("claim", "case_id"), pool=pools.read_vitaminc, is_pool=True,
             is_official_pool=True),
        Form("fever_ai", ("fever",), _fields("id", "claim", without=("case_id",)), questions.read_fever_ai),
    ),
    "natural_questions": (
        Form("kilt", ("natural_questions", "kilt"), _KILT, questions.read_kilt_questions),
        Form("nq_open", ("natural_questions", "nq_open"), _fields("question", "answer"), questions.read_nq_open),
        Form("msmarco", ("msmarco",), _not_msmarco, pool=pools.read_msmarco, is_pool=True, is_official_pool=True),
    ),
    "multipit_id": (
        Form("multipit", ("multipit",), _columns(*_PAIRS, "label"), multipit.read_identification,
             multipit.read_pair_pool),
        Form("multipit_auto", ("multipit",), _columns(*_PAIRS, without=("label",)), None, multipit.read_pair_pool,
             is_pool=True, is_official_pool=True),
    ),
    "multipit_gen": (
        Form("multipit", ("multipit",), _columns(*_PAIRS, "label"), multipit.read_generation,
             multipit.read_sentence_pool),
        Form("multipit_auto", ("multipit",), _columns(*_PAIRS, without=("label",)), multipit.read_automatic,
             multipit.read_sentence_pool, is_pool=True, is_official_pool=True),
    ),
}  # fmt: skip


def named(task: str, name: str, role: str | None = None) -> Form:
    """Looks a form up by name.

    Args:
      task: one of the six tasks.
      name: the form's name.
      role: one of `ROLES` that it must serve, or None.
    Returns:
      The form.
    Raises:
      FormError: an unknown task or form, or a form that does not serve the role.
    """
    known = {form.name: form for form in of_task(task) if role is None or form.reader(role)}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        kind = {None: "form", "labelled": "labelled form", "pool": "pool form"}[role]
        raise FormError(f"{kind} {name!r} is none of {task!r}; {hint}allowed: {', '.join(known)}.")
    return known[name]


def detect(task: str, path: str | os.PathLike, role: str | None = None) -> Form:
    """Recognises a file's form by its beginning.

    Args:
      task: one of the six tasks.
      path: the file.
      role: one of `ROLES` that the form must serve, or None.
    Returns:
      The first form that fits.
    Raises:
      FormError: an unknown task, or no form fits; each is listed with the reason.
      OSError: the file cannot be read.
    """
    beginning = head(path)
    reasons = []
    for form in of_task(task):
        if role is not None and form.reader(role) is None:
            continue
        if (reason := form.why_not(beginning)) is None:
            return form
        reasons.append(f"{form.name}: {reason}")
    kind = "" if role is None else f" as {role} data"
    raise FormError(
        f"{os.fspath(path)}: no form of {task!r} fits{kind}. {'; '.join(reasons)}. "
        "Name the form with --form, or leave the file out."
    )


def head(path: str | os.PathLike) -> Head:
    """Reads the beginning of a file.

    Args:
      path: the file.
    Returns:
      Its first lines, a last one that was cut short excepted.
    Raises:
      OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        sample = file.read(_SAMPLE_BYTES)
        if len(sample) == _SAMPLE_BYTES:
            # The first line whole, however long: a row of KILT carries all its passages.
            sample = sample + file.readline(_LINE_BYTES) if b"\n" not in sample else sample[: sample.rindex(b"\n")]
    text = sample.decode("utf-8", errors="replace").removeprefix("\ufeff")
    lines = tuple(line for line in text.split("\n") if line.strip())
    try:
        first = json.loads(lines[0]) if lines else None
    except (ValueError, RecursionError):
        first = None
    return Head(pathlib.Path(path), lines, first if isinstance(first, dict) else None)


def read(form: Form, role: str, paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads files of one form.

    Args:
      form: the form.
      role: one of `ROLES`.
      paths: the files.
      on_bad_row: `stop` or `skip`.
    Returns:
      The rows, and what became of the others.
    Raises:
      RowError: a malformed row, with `on_bad_row='stop'`.
      FormError: the form does not serve the role.
    """
    if (reader := form.reader(role)) is None:
        raise FormError(f"form {form.name!r} cannot be read as {role} data")
    return reader(paths, on_bad_row)


def with_annotations(form: Form, paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
    """Lists all files that reading some files opens.

    Args:
      form: their form.
      paths: the files given.
    Returns:
      The files, each followed by its .ann file where the form has one.
    """
    if form.name != "wlp_brat":
        return list(paths)
    return [file for path in paths for file in (path, wlp_brat.annotations(path)) if file.is_file()]
