"""Text of a row: prefixes, keys under which two sources count as one, and orders that depend on nothing but a seed."""

import hashlib
from collections.abc import Iterable, Sequence


def one_line(text: str, most_characters: int = 1000) -> str:
    """Makes a message fit to print, whatever a damaged file put into it.

    Args:
      text: a message that may quote a file.
      most_characters: length above which the middle is left out, at least 20.
    Returns:
      The message on one line: white space as single spaces, other characters that do not print as escapes.
    """
    text = " ".join(text.split())
    if len(text) > most_characters:
        end = most_characters // 4
        text = f"{text[: most_characters - end - 5]} ... {text[-end:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def with_prefix(source: str, prefix: str) -> str:
    """Returns the text a model reads.

    Args:
      source: the row's source.
      prefix: what the task puts before it, such as `wlp: `; may be empty.
    Returns:
      The prefix followed by the source.
    """
    return prefix + source


def without_prefix(text: str, prefix: str) -> str:
    """Returns the source that `with_prefix` was given.

    Args:
      text: what a model read.
      prefix: the task's prefix; may be empty.
    Returns:
      The text without the prefix, where it starts with it.
    """
    return text.removeprefix(prefix)


def source_key(source: str) -> str:
    """Returns the key under which two sources count as the same sentence.

    Args:
      source: a row's source.
    Returns:
      The source in one case, with single spaces: a test sentence in capitals is still the test sentence.
    """
    return " ".join(source.casefold().split())


def fraction(text: str, seed: int) -> float:
    """Places a text on [0, 1), by seed and content alone, so that a split does not depend on the order of a file.

    Args:
      text: any text.
      seed: any integer.
    Returns:
      A number in [0, 1), uniform over texts.
    """
    digest = hashlib.blake2b(f"{seed}\n{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def permutation(n_items: int, seed: int) -> list[int]:
    """Returns a seeded order of 0 ... n-1 that is the same on each machine and with each library version.

    Args:
      n_items: at least 0.
      seed: any integer.
    Returns:
      The indices; their first N are the subset of size N, so that smaller subsets lie inside larger ones.
    """
    return sorted(range(n_items), key=lambda i: hashlib.blake2b(f"{seed}:{i}".encode(), digest_size=16).digest())


def content_hash(parts: Iterable[str | int | float | None], n_characters: int = 12) -> str:
    """Hashes what determines a thing into a name for it.

    Args:
      parts: the determining values, in order.
      n_characters: length of the result, 1 to 64.
    Returns:
      Lower-case hexadecimal digits.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = f"{type(part).__name__}:{part}".encode()
        # The length stands before each part, so that ("ab", "c") and ("a", "bc") differ.
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:n_characters]


def distinct(sources: Sequence[str]) -> list[str]:
    """Drops repeated sources.

    Args:
      sources: sources, in order.
    Returns:
      The first of each `source_key`, in order.
    """
    first: dict[str, str] = {}
    for source in sources:
        first.setdefault(source_key(source), source)
    return list(first.values())
