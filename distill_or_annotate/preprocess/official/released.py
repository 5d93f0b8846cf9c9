"""The released form as an official form: JSON lines with `source` and `target`, so that one file can be split."""

import re
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

# What must stay together: a claim and its tweets, a sentence and its paraphrases.
_GROUPS = {
    "stanceosaurus": re.compile(r"claim: (.*?) tweet: ", re.DOTALL),
    "multipit_id": re.compile(r"sentence1: (.*?) sentence2: ", re.DOTALL),
}


def group(task: str, source: str) -> str:
    """Finds what a released source must stay together with.

    Args:
      task: the task's name.
      source: a released source.
    Returns:
      The claim (stanceosaurus), the first sentence (multipit_id), else the source itself.
    """
    found = _GROUPS[task].match(source) if task in _GROUPS else None
    return source_key(found[1] if found else source)


def read(paths: Paths, on_bad_row: str = "stop", task: str = "wlp", labelled: bool = True) -> Reading:
    """Reads released files; their text is kept to the letter.

    Args:
      paths: the files.
      on_bad_row: `stop` or `skip`.
      task: the task's name; a classification task's targets must be its labels.
      labelled: False passes the targets over.
    Returns:
      The rows; an empty target is one in WLP, a sentence without entities.
    Raises:
      RowError: a malformed row or an unknown label, with `on_bad_row='stop'`.
    """
    collector = Collector(on_bad_row)
    for path in paths:
        for line, row in json_objects(path, collector):
            try:
                source = needed(path, line, row, "source")
                usable(path, line, "source", source)
                answers = _answers(path, line, row, task) if labelled else ("",)
            except RowError as error:
                collector.bad(error)
                continue
            several = answers if len(answers) > 1 else ()
            collector.add(OfficialRow(source, answers[0], group(task, source), several))
    return collector.reading()


def _answers(path, line: int, row: dict[str, Any], task: str) -> tuple[str, ...]:
    target = needed(path, line, row, "target")
    if target == "" and task == "wlp":
        return ("",)
    usable(path, line, "target", target)
    if task in LABELS and task != "wlp":
        known_label(path, line, "target", target, LABELS[task])
    answers = row.get("targets", [target])
    if not isinstance(answers, list) or not answers or answers[0] != target:
        raise RowError(path, line, "targets", "a list of accepted answers, the target first, is needed")
    for answer in answers:
        usable(path, line, "targets", answer)
    return tuple(answers)
