"""Characters that tell of a text torn on its way: control and replacement characters, mojibake, HTML entities."""

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from distill_or_annotate.preprocess.rows import Row

N_EXAMPLES = 3
# What UTF-8's continuation bytes look like when read as Windows-1252 or Latin-1.
_CONTINUATION = "\u0080-\u00bf" + "".join(
    chr(c) for c in sorted(ord(bytes([b]).decode("cp1252", "ignore") or "\u0080") for b in range(0x80, 0xA0))
)
# Two-byte leads up to U+00DB: the rest begin scripts so rare that real letters (stylised names) are likelier.
_MOJIBAKE = re.compile(f"[\u00c2-\u00db][{_CONTINUATION}]|[\u00e0-\u00ef][{_CONTINUATION}]{{2}}"
                       f"|[\u00f0-\u00f4][{_CONTINUATION}]{{3}}")  # fmt: skip
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#\d{1,6}|#x[0-9a-f]{1,6});", re.IGNORECASE)
# Without U+200C and U+200D, which emoji and several scripts need.
_INVISIBLE = frozenset("\u00ad\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff")
KINDS = ("control", "replacement", "mojibake", "html_entity", "invisible", "line_break", "not_nfc")


@dataclasses.dataclass(frozen=True)
class OddCharacters:
    """What one kind of odd character amounts to.

    Args:
      kind: one of `KINDS`.
      n_rows: rows with at least one in source or target.
      examples: up to `N_EXAMPLES` of the most frequent, as code points or, for mojibake and entities, as found.
    """

    kind: str
    n_rows: int
    examples: tuple[str, ...]


def find(text: str) -> dict[str, list[str]]:
    """Finds odd characters in a text.

    Args:
      text: any text.
    Returns:
      Kind to descriptions of what was found; kinds that are not found are left out.
    """
    found: dict[str, list[str]] = {}
    if not text.isascii():
        for character in text:
            if character == "\ufffd" or character in _INVISIBLE:
                kind = "replacement" if character == "\ufffd" else "invisible"
                found.setdefault(kind, []).append(describe(character))
        if pieces := [piece for piece in _MOJIBAKE.findall(text) if repaired(piece)]:
            found["mojibake"] = [f"{piece!a} for {repaired(piece)}" for piece in pieces]
        if not unicodedata.is_normalized("NFC", text):
            found["not_nfc"] = ["combining characters apart from their letters"]
    # str.isprintable is one pass in C; only the few texts that fail it are looked at by character.
    if not text.isprintable():
        for character in text:
            if character in "\n\r\t\u2028\u2029":
                found.setdefault("line_break", []).append(describe(character))
            elif unicodedata.category(character) in ("Cc", "Co", "Cn"):
                found.setdefault("control", []).append(describe(character))
    if "&" in text and (entities := _ENTITY.findall(text)):
        found["html_entity"] = entities
    return found


def repaired(piece: str) -> str | None:
    """Reads characters as the bytes of Windows-1252 that they stand for, and these as UTF-8.

    Args:
      piece: characters.
    Returns:
      The one character that was meant; None when they are no torn UTF-8.
    """
    try:
        data = b"".join(_byte(character) for character in piece)
        text = data.decode("utf-8")
    except UnicodeError:
        return None
    return text if (len(text) == 1 and text.isprintable()) or text == "\u00a0" else None


def describe(character: str) -> str:
    """Names a character that cannot be shown.

    Args:
      character: one character.
    Returns:
      `U+FFFD REPLACEMENT CHARACTER` or the like.
    """
    return f"U+{ord(character):04X} {unicodedata.name(character, 'unnamed')}"


def count(rows: Sequence[Row]) -> list[OddCharacters]:
    """Counts rows with odd characters.

    Args:
      rows: rows of one split.
    Returns:
      One entry a kind, in the order of `KINDS`.
    """
    n_rows: Counter[str] = Counter()
    examples: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for row in rows:
        found: dict[str, list[str]] = {}
        for field in ("source",) if row["target"] == row["source"] else ("source", "target"):
            for kind, descriptions in find(row[field]).items():
                found.setdefault(kind, []).extend(descriptions)
        for kind, descriptions in found.items():
            n_rows[kind] += 1
            examples[kind].update(descriptions)
    return [
        OddCharacters(kind, n_rows[kind], tuple(text for text, _ in examples[kind].most_common(N_EXAMPLES)))
        for kind in KINDS
    ]


def _byte(character: str) -> bytes:
    try:
        return character.encode("cp1252")
    except UnicodeEncodeError:
        return character.encode("latin-1")
