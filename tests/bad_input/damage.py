"""What happens to files between their makers and their readers: each way takes bytes and a seeded generator."""

import gzip
import json
import random
from collections.abc import Callable

# Bytes that are no UTF-8, or that some reader gives a meaning of its own.
_NASTY = (
    b"\x00", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\xc2\x85", b"\xef\xbb\xbf", b"\x0c", b"\x1a",
    b"\x1b[2J", b'"', b"'", b"\\",
    b"\\ud800", b"\\u0000", b",", b";", b"\t", b"\r", b"\n\n", b"{", b"}", b"[", b"]", b"[" * 5000,
    b"9" * 5000, b"1e999", b"NaN", b"x" * 200_000, b"\xe9t\xe9", b"=cmd()", b"../..", b"%s{0}",
)  # fmt: skip
_ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp1252", "cp037", "utf-7")
_VALUES = (None, True, 0, -1, 1.5, float("nan"), "", " ", "\x00", "\ud800", [], [None], {}, {"a": []}, "x" * 5000)


def flip_bits(data: bytes, chance: random.Random) -> bytes:
    """Turns one to eight bits around."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8) if changed else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncate(data: bytes, chance: random.Random) -> bytes:
    """Cuts the end off."""
    return data[: chance.randrange(len(data) + 1)]


def behead(data: bytes, chance: random.Random) -> bytes:
    """Cuts the beginning off."""
    return data[chance.randrange(len(data) + 1) :]


def _slice(data: bytes, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(data) + 1)
    return start, min(len(data), start + chance.randint(1, 80))


def delete(data: bytes, chance: random.Random) -> bytes:
    """Takes a piece out."""
    start, end = _slice(data, chance)
    return data[:start] + data[end:]


def repeat(data: bytes, chance: random.Random) -> bytes:
    """Writes a piece twice."""
    start, end = _slice(data, chance)
    return data[:end] + data[start:]


def zero(data: bytes, chance: random.Random) -> bytes:
    """Writes zero bytes over a piece, as a disk that was full does."""
    start, end = _slice(data, chance)
    return data[:start] + bytes(end - start) + data[end:]


def insert(data: bytes, chance: random.Random) -> bytes:
    """Puts something nasty somewhere."""
    start = chance.randrange(len(data) + 1)
    return data[:start] + chance.choice(_NASTY) + data[start:]


def insert_in_text(data: bytes, chance: random.Random) -> bytes:
    """Puts something nasty before a letter, where fields are."""
    letters = [i for i, byte in enumerate(data) if chr(byte).isalpha()]
    start = chance.choice(letters) if letters else 0
    return data[:start] + chance.choice(_NASTY) + data[start:]


def noise(data: bytes, chance: random.Random) -> bytes:
    """Puts random bytes somewhere."""
    start = chance.randrange(len(data) + 1)
    return data[:start] + chance.randbytes(chance.randint(1, 60)) + data[start:]


def reencode(data: bytes, chance: random.Random) -> bytes:
    """Saves the whole text in another encoding."""
    return data.decode("utf-8", "replace").encode(chance.choice(_ENCODINGS), "replace")


def mix_encodings(data: bytes, chance: random.Random) -> bytes:
    """Saves some lines in another encoding, after giving them an accent."""
    encoding = chance.choice(("cp1252", "utf-16-le", "utf-8"))
    lines = data.split(b"\n")
    for i in range(len(lines)):
        if chance.random() < 0.3:
            lines[i] = lines[i].decode("utf-8", "replace").replace("e", "é", 1).encode(encoding, "replace")
    return b"\n".join(lines)


def line_ends(data: bytes, chance: random.Random) -> bytes:
    """Ends lines in another way, all or some."""
    end, share = chance.choice((b"\r\n", b"\r", b"\n\r", b"\x0b", b"")), chance.choice((0.2, 1.0))
    pieces = data.split(b"\n")
    return b"".join(piece + (end if chance.random() < share else b"\n") for piece in pieces)


def shuffle_lines(data: bytes, chance: random.Random) -> bytes:
    """Puts lines in another order, the header among them."""
    lines = data.split(b"\n")
    chance.shuffle(lines)
    return b"\n".join(lines)


def drop_line(data: bytes, chance: random.Random) -> bytes:
    """Loses a line."""
    lines = data.split(b"\n")
    del lines[chance.randrange(len(lines))]
    return b"\n".join(lines)


def drop_marks(data: bytes, chance: random.Random) -> bytes:
    """Loses marks that give the file its form."""
    mark = chance.choice((b",", b'"', b"\t", b":", b"[", b"}", b" ", b"\n"))
    return data.replace(mark, b"", chance.choice((1, 5, -1)))


def change_value(data: bytes, chance: random.Random) -> bytes:
    """Gives a JSON field, somewhere, a value of another kind, or takes it away; other files are truncated."""
    lines = data.split(b"\n")
    whole = data.lstrip()[:1] == b"["
    index = 0 if whole else chance.randrange(len(lines))
    try:
        value = json.loads(data if whole else lines[index])
    except (ValueError, RecursionError):
        return truncate(data, chance)
    places = list(_places(value))
    if not places:
        return truncate(data, chance)
    holder, key = chance.choice(places)
    if isinstance(holder, dict) and chance.random() < 0.3:
        del holder[key]
    else:
        holder[key] = chance.choice(_VALUES)
    changed = json.dumps(value).encode()
    return changed if whole else b"\n".join([*lines[:index], changed, *lines[index + 1 :]])


def _places(value):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _places(inner)


def another_file(data: bytes, chance: random.Random) -> bytes:
    """Puts quite another file in the place of this one."""
    return chance.choice(
        (b"", b"\n\n \n", b"\xef\xbb\xbf", gzip.compress(data), chance.randbytes(300), b"<html><p>404 Not Found</html>",
         b"version https://git-lfs.github.com/spec/v1\n", b"[]", b"{}", b"null", b"[" * 100_000, b'{"a":' * 100_000,
         data.replace(b"\n", b" "), data + data)
    )  # fmt: skip


WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    flip_bits, truncate, behead, delete, repeat, zero, insert, insert_in_text, noise, reencode, mix_encodings,
    line_ends, shuffle_lines, drop_line, drop_marks, change_value, another_file,
)  # fmt: skip


def damaged(data: bytes, seed: int) -> bytes:
    """Damages a file in one to three ways.

    Args:
      data: a valid file.
      seed: decides on everything.
    Returns:
      Other bytes; in rare cases the same.
    """
    chance = random.Random(seed)
    # The seed's turn decides on the first way, so that each is had equally often.
    ways = [WAYS[seed % len(WAYS)], *chance.choices(WAYS, k=chance.choice((0, 0, 1, 2)))]
    for way in ways:
        data = way(data, chance)
    return data
