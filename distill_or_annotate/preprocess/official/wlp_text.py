"""A Wet Lab Protocols target: the words of each entity, followed by its type in brackets."""

import re
from collections.abc import Iterable, Sequence

from distill_or_annotate.preprocess.official.reading import clean

_NO_SPACE_BEFORE = re.compile(r" ([.,;:!?%)\]}]|'s\b|n't\b)")
_NO_SPACE_AFTER = re.compile(r"([(\[{]) ")
_QUOTED = re.compile(r"`` ?(.*?) ?''")


def target(entities: Iterable[tuple[str, str]]) -> str:
    """Writes entities as the released target does.

    Args:
      entities: words and type of each, in the order of the text.
    Returns:
      Such as `Mix [Action] reagents [Reagent]`; empty without entities.
    """
    return " ".join(f"{clean(words)} [{kind}]" for words, kind in entities)


def untokenised(tokens: Sequence[str]) -> str:
    """Puts tokens together again as a person would have written them, as far as that can be told.

    Args:
      tokens: words and punctuation marks.
    Returns:
      The text, such as `Mix well (on ice).`; what the tokeniser changed beyond spaces and quotation marks stays so.
    """
    text = _NO_SPACE_AFTER.sub(r"\1", _NO_SPACE_BEFORE.sub(r"\1", " ".join(tokens)))
    return clean(_QUOTED.sub(r'"\1"', text))
