"""The official forms by name, and how each is recognised by what a file holds.

A form is read as labelled rows, as an unlabeled pool, or as either. Where a file is given without saying what for, it
is what its form mostly is: VitaminC, MS MARCO and MultiPIT's automatic pairs are pools.
"""

import dataclasses
import difflib
import functools
import os
import pathlib
from collections.abc import Callable, Sequence

from distill_or_annotate.preprocess.official import (
    multipit,
    pools,
    questions,
    released,
    stanceosaurus,
    wlp_brat,
    wlp_conll,
)
from distill_or_annotate.preprocess.official import recognising as tells
from distill_or_annotate.preprocess.official.labels import TASKS
from distill_or_annotate.preprocess.official.reading import Paths, Reading
from distill_or_annotate.preprocess.text import one_line

ROLES = ("labelled", "pool")

Reader = Callable[..., Reading]


class FormError(ValueError):
    """A file whose form is not known, or does not serve the task.

    Args:
      message: what is wrong, and how to mend it.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message, 1500))


@dataclasses.dataclass(frozen=True)
class Form:
    """One official form of one task's data.

    Args:
      name: what `--form` takes.
      datasets: keys of data/building/provenance.toml.
      why_not: why a file cannot be of this form; None when it can.
      labelled: reads rows with targets; None where the form has none.
      pool: reads sources without targets; None where that is of no use.
      is_pool: whether the form is a pool where nothing else is said.
      is_official_pool: whether evaluation sources may be dropped from the pool unasked.
    """

    name: str
    datasets: tuple[str, ...]
    why_not: Callable[[tells.Head], str | None]
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
        Form("released", (main,), tells.fields("source", "target"), functools.partial(released.read, task=task),
             functools.partial(released.read, task=task, labelled=False)),
        Form("json_text", ("own",), tells.fields("text"), pool=pools.read_json_text, is_pool=True),
        Form("text", ("chemsyn",) if task == "wlp" else ("own",), tells.not_text, pool=pools.read_text, is_pool=True),
    )  # fmt: skip
    return (*_OWN[task], *plain)


_PAIRS = ("sentence1", "sentence2")
_KILT = tells.fields("id", "input")
_OWN: dict[str, tuple[Form, ...]] = {
    "wlp": (
        Form("wlp_brat", ("wlp",), tells.not_brat, wlp_brat.read, pools.read_text),
        Form("wlp_conll", ("wlp",), tells.not_conll, wlp_conll.read),
    ),
    "stanceosaurus": (
        Form("threads", ("stanceosaurus",), tells.not_threads, stanceosaurus.read,
             functools.partial(stanceosaurus.read, labelled=False)),
    ),
    "fever": (
        Form("kilt", ("fever", "kilt"), _KILT, questions.read_kilt_fever),
        Form("vitaminc", ("vitaminc",), tells.fields("claim", "case_id"), pool=pools.read_vitaminc, is_pool=True,
             is_official_pool=True),
        Form("fever_ai", ("fever",), tells.fields("id", "claim", without=("case_id",)), questions.read_fever_ai),
    ),
    "natural_questions": (
        Form("kilt", ("natural_questions", "kilt"), _KILT, questions.read_kilt_questions),
        Form("nq_open", ("natural_questions", "nq_open"), tells.fields("question", "answer"), questions.read_nq_open),
        Form("msmarco", ("msmarco",), tells.not_msmarco, pool=pools.read_msmarco, is_pool=True, is_official_pool=True),
    ),
    "multipit_id": (
        Form("multipit", ("multipit",), tells.columns(*_PAIRS, "label"), multipit.read_identification,
             multipit.read_pair_pool),
        Form("multipit_auto", ("multipit",), tells.columns(*_PAIRS, without=("label",)), None, multipit.read_pair_pool,
             is_pool=True, is_official_pool=True),
    ),
    "multipit_gen": (
        Form("multipit", ("multipit",), tells.columns(*_PAIRS, "label"), multipit.read_generation,
             multipit.read_sentence_pool),
        Form("multipit_auto", ("multipit",), tells.columns(*_PAIRS, without=("label",)), multipit.read_automatic,
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
    beginning = tells.head(path)
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
