"""Questions and claims as JSON lines: KILT's form, fever.ai's and NQ-open's.

  KILT:     {"id": "7", "input": "who ...", "output": [{"answer": "...", "provenance": [...]}, {"provenance": [...]}]}
  fever.ai: {"id": 7, "verifiable": "VERIFIABLE", "label": "SUPPORTS", "claim": "...", "evidence": [...]}
  NQ-open:  {"question": "who ...", "answer": ["...", "..."]}

Released questions end in a question mark, which the official ones lack. All answers are kept, in the order given.
"""

import os
from collections.abc import Callable, Iterable
from typing import Any

from distill_or_annotate.preprocess.official.labels import LABELS
from distill_or_annotate.preprocess.official.reading import (
    Collector,
    OfficialRow,
    Paths,
    Reading,
    json_objects,
    known_label,
    needed,
    usable,
)
from distill_or_annotate.preprocess.rows import RowError
from distill_or_annotate.preprocess.text import source_key

NOT_ENOUGH_INFO = "NOT ENOUGH INFO"
NO_ANSWER, NO_LABEL, SEVERAL_LABELS = "no answer", "no label", "several labels"


def question(text: str) -> str:
    """Ends a question as released questions end.

    Args:
      text: a question, with or without a question mark.
    Returns:
      The question with one.
    """
    return text.rstrip("? ") + "?" if text.rstrip("? ") else text


def read_kilt_fever(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads FEVER in KILT's form; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a claim; claims without a label are left out.
    Raises:
      RowError: a malformed row or an unknown label, with `on_bad_row='stop'`.
    """
    return _read(paths, on_bad_row, _kilt_claim)


def read_kilt_questions(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads Natural Questions in KILT's form; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a question; questions without an answer are left out.
    Raises:
      RowError: a malformed row, with `on_bad_row='stop'`.
    """
    return _read(paths, on_bad_row, _kilt_question)


def read_fever_ai(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads FEVER in fever.ai's form; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a claim; NOT ENOUGH INFO and unlabeled claims are left out.
    Raises:
      RowError: a malformed row or an unknown label, with `on_bad_row='stop'`.
    """
    return _read(paths, on_bad_row, _fever_ai)


def read_nq_open(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads NQ-open; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a question.
    Raises:
      RowError: a malformed row, with `on_bad_row='stop'`.
    """
    return _read(paths, on_bad_row, _nq_open)


def _read(paths: Paths, on_bad_row: str, add: Callable[..., None]) -> Reading:
    collector = Collector(on_bad_row)
    for path in paths:
        for line, row in json_objects(path, collector):
            try:
                add(collector, path, line, row)
            except RowError as error:
                collector.bad(error)
    return collector.reading()


def _kilt_answers(path: str | os.PathLike, line: int, row: dict[str, Any]) -> tuple[str, ...]:
    output = row.get("output", [])
    if not isinstance(output, list) or not all(isinstance(entry, dict) for entry in output):
        raise RowError(path, line, "output", f"a list of objects is needed, received {type(output).__name__}")
    return _distinct(
        path, line, "answer", (entry["answer"] for entry in output if entry.get("answer") not in (None, ""))
    )


def _distinct(path, line, field, values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(usable(path, line, field, value) for value in values))


def _kilt_claim(collector, path, line, row) -> None:
    claim = usable(path, line, "input", needed(path, line, row, "input"))
    answers = _kilt_answers(path, line, row)
    if len(answers) != 1:
        collector.leave_out(SEVERAL_LABELS if answers else NO_LABEL)
        return
    label = known_label(path, line, "answer", answers[0], LABELS["fever"])
    collector.add(OfficialRow(claim, label, source_key(claim)))


def _kilt_question(collector, path, line, row) -> None:
    asked = usable(path, line, "input", needed(path, line, row, "input"))
    _add_question(collector, asked, _kilt_answers(path, line, row))


def _nq_open(collector, path, line, row) -> None:
    asked = usable(path, line, "question", needed(path, line, row, "question"))
    answers = needed(path, line, row, "answer")
    if not isinstance(answers, list):
        raise RowError(path, line, "answer", f"a list of strings is needed, received {type(answers).__name__}")
    _add_question(collector, asked, _distinct(path, line, "answer", answers))


def _add_question(collector, asked: str, answers: tuple[str, ...]) -> None:
    if not answers:
        collector.leave_out(NO_ANSWER)
        return
    source = question(asked)
    collector.add(OfficialRow(source, answers[0], source_key(source), answers if len(answers) > 1 else ()))


def _fever_ai(collector, path, line, row) -> None:
    claim = usable(path, line, "claim", needed(path, line, row, "claim"))
    if row.get("label") is None:
        collector.leave_out(NO_LABEL)
        return
    label = usable(path, line, "label", row["label"])
    if label == NOT_ENOUGH_INFO:
        collector.leave_out(NOT_ENOUGH_INFO)
        return
    known_label(path, line, "label", label, (*LABELS["fever"], NOT_ENOUGH_INFO))
    collector.add(OfficialRow(claim, label, source_key(claim)))
