"""Files of predictions as `doa evaluate` reads them: JSON lines, malformed ones refused with their place.

Three forms are told apart line by line:
  {"source": ..., "target": ... (or "targets": [...]), "prediction": ...}     ours, and what `doa predict` adds to
  {"inputs": {"inputs_pretokenized": ..., ...}, "prediction": ...}            what `t5x.infer` leaves
  {"input": {"inputs_pretokenized": ..., ...}, "target": ..., "prediction": ...}  what SeqIO leaves in inference_eval/
Of the last two the source is without the task's prefix. A line may have other fields too: with a `source` it is of the
first form, whatever `inputs` or `input` holds.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distill_or_annotate.preprocess.rows import Row

_T5X = ("inputs", "input")


class PredictionRowError(ValueError):
    """A line that cannot be scored."""

    def __init__(self, path: Path, line: int, field: str, problem: str):
        super().__init__(f"{path}, line {line}, field {field!r}: {problem}")


@dataclasses.dataclass(frozen=True)
class PredictionFile:
    """What a file held.

    Attributes:
      path: the file.
      rows: source, target and, where there are several, targets, [n].
      predictions: predictions, [n]; of a file without any, empty.
      lines: the line of each row, from 1, [n].
    """

    path: Path
    rows: list[Row]
    predictions: list[str]
    lines: list[int]

    def refuse(self, i: int, field: str, problem: str) -> PredictionRowError:
        """The error that names a row's place.

        Args:
          i: the row's position, from 0.
          field: the field that is wrong.
          problem: what was received, what is allowed, and the fix.
        """
        return PredictionRowError(self.path, self.lines[i], field, problem)


def read(path: Path, prefixes: Sequence[str] = (), with_predictions: bool = True) -> PredictionFile:
    """Read a file whole.

    Args:
      path: JSON lines in UTF-8; blank lines are passed over.
      prefixes: task prefixes, taken off the sources that T5X wrote; the first that stands there.
      with_predictions: whether each line must hold a prediction; False for labelled rows.

    Raises:
      PredictionRowError: a malformed line.
      ValueError: no line at all.
      OSError: the file cannot be read.
    """
    found = PredictionFile(path, [], [], [])
    for number, value in _objects(path):
        row = _t5x_row(path, number, value, prefixes) or _row(path, number, value)
        if not row["source"].strip():
            raise PredictionRowError(path, number, "source", "empty; the text that the prediction answers is needed")
        found.rows.append(row)
        found.lines.append(number)
        if with_predictions:
            found.predictions.append(_text(path, number, "prediction", value))
    if not found.rows:
        raise ValueError(f"{path} has no line. Fix: one JSON object a line, with source, target and prediction.")
    return found


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    # Bytes, split at \n alone: texts hold U+2028 and its like, at which str.splitlines would tear a line apart.
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            if not raw.strip():
                continue
            try:
                value = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                problem = f"byte {raw[error.start]:#04x} is not UTF-8. Fix: write the file in UTF-8"
                raise PredictionRowError(path, number, "encoding", problem) from error
            except (ValueError, RecursionError) as error:
                problem = f"not JSON ({error}): {_shown(raw.decode('utf-8').strip())}. Fix: one JSON object a line"
                raise PredictionRowError(path, number, "json", problem) from error
            if not isinstance(value, dict):
                problem = f"a JSON object is needed, received {type(value).__name__} {_shown(value)}"
                raise PredictionRowError(path, number, "json", problem)
            yield number, value


def _row(path: Path, number: int, value: dict[str, Any]) -> Row:
    return _made(_text(path, number, "source", value), _answers(path, number, value))


def _t5x_row(path: Path, number: int, value: dict[str, Any], prefixes: Sequence[str]) -> Row | None:
    outer = next((name for name in _T5X if isinstance(value.get(name), dict)), None)
    if outer is None or "source" in value:
        return None
    fields = value[outer]
    source = _text(path, number, "inputs_pretokenized", fields)
    prefix = next((prefix for prefix in prefixes if prefix and source.startswith(prefix)), "")
    target = value.get("target", fields.get("answers", fields.get("targets_pretokenized")))
    if isinstance(target, dict):
        # The whole row, which a metric that compares with the source is given.
        answers = _answers(path, number, target, "target.")
    else:
        answers = _texts(path, number, "target", target if isinstance(target, list) else [target])
    return _made(source.removeprefix(prefix), answers)


def _made(source: str, answers: Sequence[str]) -> Row:
    answers = list(dict.fromkeys(answers))
    row: Row = {"source": source, "target": answers[0]}
    if len(answers) > 1:
        row["targets"] = answers
    return row


def _answers(path: Path, number: int, value: dict[str, Any], inside: str = "") -> list[str]:
    """Target first; `inside` is what stands before the fields' names in an error."""
    if "target" not in value and "targets" not in value:
        problem = f"missing, and so is '{inside}targets'; the line has {sorted(value)}"
        raise PredictionRowError(path, number, f"{inside}target", problem)
    answers = _texts(path, number, f"{inside}target", [value["target"]]) if "target" in value else []
    return answers + (_texts(path, number, f"{inside}targets", value["targets"]) if "targets" in value else [])


def _texts(path: Path, number: int, field: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        problem = f"a list of at least one string is needed, received {type(value).__name__} {_shown(value)}"
        raise PredictionRowError(path, number, field, problem)
    return [_text(path, number, field, {field: item}) for item in value]


def _text(path: Path, number: int, field: str, value: dict[str, Any]) -> str:
    if field not in value:
        raise PredictionRowError(path, number, field, f"missing; the line has {sorted(value)}")
    text = value[field]
    if not isinstance(text, str):
        problem = f"a string is needed, received {type(text).__name__} {_shown(text)}"
        raise PredictionRowError(path, number, field, problem)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        half = _shown(text[error.start : error.end])
        problem = f"holds half of a surrogate pair, {half}, which UTF-8 cannot carry. Fix: write both halves or neither"
        raise PredictionRowError(path, number, field, problem) from error
    return text


def _shown(value: Any, n_characters: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= n_characters else f"{text[:n_characters]}..."
