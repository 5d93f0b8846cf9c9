"""Hints of personal data: handles, e-mail addresses, links and phone-like numbers. Hints, not proof, either way."""

import dataclasses
import re
from collections.abc import Callable, Sequence

from distill_or_annotate.preprocess.rows import Row

N_EXAMPLES = 3
# Order matters: an address is no handle, and a number inside a link is no phone.
_PATTERNS = {
    "link": re.compile(r"\b(?:https?://|www\.)[^\s<>\"']+|\bt\.co/\w+", re.IGNORECASE),
    "email": re.compile(r"(?<![\w.+-])[\w.+-]+@(?:[\w-]+\.)+[a-z]{2,}\b", re.IGNORECASE),
    # Placeholders of the released data are not people. A letter first: laboratory protocols write "@4C".
    "handle": re.compile(r"(?<![\w@/])@(?!user\b|mention\b|username\b)[a-z]\w{1,29}\b", re.IGNORECASE),
    "phone": re.compile(
        r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d(?:[ .-]?\d){6,11}"
        r"|(?:1[ .-])?(?:\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4}|\d{3}\.\d{3}\.\d{4}))(?![\w-]|\.\d)"
    ),
}
KINDS = tuple(_PATTERNS)


@dataclasses.dataclass(frozen=True)
class PrivacyHints:
    """What one kind of hint amounts to.

    Args:
      kind: one of `KINDS`.
      n_rows: rows with at least one in source or target.
      n_distinct: distinct strings, case aside.
      examples: up to `N_EXAMPLES` of them, masked.
    """

    kind: str
    n_rows: int
    n_distinct: int
    examples: tuple[str, ...]


def find(text: str) -> dict[str, list[str]]:
    """Finds hints of personal data in a text.

    Args:
      text: any text.
    Returns:
      Kind to the strings found; kinds that are not found are left out.
    """
    found: dict[str, list[str]] = {}
    _replace(text, lambda kind, string: found.setdefault(kind, []).append(string) or " ")
    return found


def masked(text: str) -> str:
    """Masks what `find` finds.

    Args:
      text: any text.
    Returns:
      The text with each hint shortened as `mask` does.
    """
    return _replace(text, mask)


def mask(kind: str, string: str) -> str:
    """Masks one hint, so that it can be shown but not followed.

    Args:
      kind: one of `KINDS`.
      string: what was found.
    Returns:
      Its first character or, of a number, its last two digits, and asterisks; of a link nothing.
    """
    if kind == "link":
        return "http***"
    if kind == "phone":
        return "***" + "".join(re.findall(r"\d", string))[-2:]
    if kind == "email":
        return f"{string[0]}***@***.{string.rpartition('.')[2]}"
    return f"{string[:2]}***"


def count(rows: Sequence[Row]) -> list[PrivacyHints]:
    """Counts hints of personal data.

    Args:
      rows: rows of one split.
    Returns:
      One entry a kind, in the order of `KINDS`.
    """
    n_rows = dict.fromkeys(KINDS, 0)
    strings: dict[str, dict[str, str]] = {kind: {} for kind in KINDS}
    for row in rows:
        text = row["source"] if row["target"] == row["source"] else f"{row['source']}\n{row['target']}"
        # Most rows of most tasks hold none of these characters, and four searches a row are what takes time.
        if "@" not in text and "." not in text and "-" not in text and "+" not in text:
            continue
        for kind, found in find(text).items():
            n_rows[kind] += 1
            for string in found:
                strings[kind].setdefault(string.casefold(), string)
    return [
        PrivacyHints(
            kind,
            n_rows[kind],
            len(strings[kind]),
            tuple(dict.fromkeys(mask(kind, string) for string in strings[kind].values()))[:N_EXAMPLES],
        )
        for kind in KINDS
    ]


def _replace(text: str, replacement: Callable[[str, str], str]) -> str:
    for kind, pattern in _PATTERNS.items():
        text = pattern.sub(lambda match, kind=kind: replacement(kind, match[0]), text)
    return text
