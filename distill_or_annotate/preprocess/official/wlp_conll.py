"""Wet Lab Protocols as CoNLL: one token and its BIO tag a line, a blank line after each sentence, a file a protocol.

  Mix<TAB>B-Action
  reagents<TAB>B-Reagent

Released sources are the protocols' own text, which this form no longer holds: it is tokenised, and characters outside
ASCII (µ, °, –) are gone. Spaces are put back here; the brat form, which lost nothing, gives the released rows exactly.
"""

import os
import pathlib
import re

from distill_or_annotate.preprocess.official import wlp_text
from distill_or_annotate.preprocess.official.labels import LABELS
from distill_or_annotate.preprocess.official.reading import (
    Collector,
    OfficialRow,
    Paths,
    Reading,
    known_label,
    text_lines,
    usable,
)
from distill_or_annotate.preprocess.rows import RowError

TAG = re.compile(r"O|[BI]-\S+")

_STRAY = "I- tag without its B-: read as the start of an entity"


def read(paths: Paths, on_bad_row: str = "stop") -> Reading:
    """Reads protocols; arguments as in `Collector`, with `paths` the files.

    Returns:
      One row a sentence, grouped by protocol; a malformed line takes its sentence with it.
    Raises:
      RowError: a malformed line, with `on_bad_row='stop'`.
    """
    collector = Collector(on_bad_row)
    for path in paths:
        group = pathlib.Path(path).stem.removesuffix("_conll")
        for sentence in _sentences(path):
            try:
                _add(collector, path, group, sentence)
            except RowError as error:
                collector.bad(error)
    return collector.reading()


def _sentences(path: str | os.PathLike):
    sentence: list[tuple[int, str]] = []
    for number, line in text_lines(path):
        if line.strip():
            sentence.append((number, line))
        elif sentence:
            yield sentence
            sentence = []
    if sentence:
        yield sentence


def _add(collector: Collector, path: str | os.PathLike, group: str, sentence: list[tuple[int, str]]) -> None:
    tokens, entities, open_type, n_stray = [], [], None, 0
    for number, line in sentence:
        parts = line.split()
        if len(parts) != 2:
            raise RowError(path, number, "tag", f"a token and its tag are needed, received {line.strip()[:60]!r}")
        token = usable(path, number, "token", parts[0])
        if not TAG.fullmatch(parts[1]):
            raise RowError(path, number, "tag", f"O, B-TYPE or I-TYPE is needed, received {parts[1]!r}")
        tokens.append(token)
        mark, _, kind = parts[1].partition("-")
        if mark == "O":
            open_type = None
            continue
        known_label(path, number, "tag", kind, LABELS["wlp"])
        if mark == "I" and kind == open_type:
            entities[-1][0].append(token)
        else:
            n_stray += mark == "I"
            entities.append(([token], kind))
        open_type = kind
    collector.note(_STRAY, n_stray)
    target = wlp_text.target((wlp_text.untokenised(words), kind) for words, kind in entities)
    collector.add(OfficialRow(wlp_text.untokenised(tokens), target, group))
