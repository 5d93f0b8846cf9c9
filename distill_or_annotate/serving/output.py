"""Predictions as JSON lines, in the order of the input; a file that was cut off is gone on with."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

_SHOWN_CHARACTERS = 60


class OutputError(ValueError):
    """An output file that cannot be written or gone on with."""


def sidecar(path: Path) -> Path:
    """The file beside the output at `path` that says what it was made from: `OUTPUT.meta.json`."""
    return path.with_name(f"{path.name}.meta.json")


@contextlib.contextmanager
def to_stdout() -> Iterator[IO[bytes]]:
    """Standard output, which a reader may close early: `doa predict ... | head` is no failure.

    Yields:
      A stream of bytes.
    """
    try:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # What is still buffered would raise again when Python exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def to_file(
    path: Path, made_from: Mapping[str, Any], n_rows: int, overwrite: bool = False
) -> Iterator[tuple[IO[bytes], int]]:
    """An output file, held against other processes, ready for its next line.

    Args:
      path: the file; its folder is made when it does not exist.
      made_from: all that determines the lines, by the name under which a message may show it; JSON values.
      n_rows: lines of the whole output.
      overwrite: begin again whatever is there.

    Yields:
      The stream, placed after the last whole line, and the number of lines before it.

    Raises:
      OutputError: the file was made from something else, by something else, or is being written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise OutputError(f"--output {path} is a folder. Fix: name a file in it.")
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OutputError(f"{path} is being written by another process. Fix: wait for it, or stop it.") from None
        made_from = json.loads(json.dumps(made_from))
        n_done = 0
        if overwrite or os.fstat(stream.fileno()).st_size == 0:
            # First, so that no description is ever beside lines that it does not describe.
            stream.truncate(0)
            _write(sidecar(path), made_from)
        else:
            _check(path, made_from)
            n_done = _whole_lines(path, stream, n_rows)
        yield stream, n_done
        stream.flush()


def _write(path: Path, made_from: Mapping[str, Any]) -> None:
    scratch = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    scratch.write_text(json.dumps(made_from, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    scratch.replace(path)


def _check(path: Path, made_from: Mapping[str, Any]) -> None:
    fix = "Fix: another --output, or --overwrite to begin again."
    try:
        before = json.loads(sidecar(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise OutputError(f"{path} exists, and no {sidecar(path).name} says what it was made from. {fix}") from None
    except ValueError as error:
        raise OutputError(f"{sidecar(path)} is no JSON ({error}). {fix}") from error
    if not isinstance(before, dict):
        raise OutputError(f"{sidecar(path)} holds no object. {fix}")
    differing = [name for name in {**before, **made_from} if before.get(name) != made_from.get(name)]
    if differing:
        listed = "; ".join(
            f"{name}: {_shown(before.get(name))} then, {_shown(made_from.get(name))} now" for name in differing
        )
        raise OutputError(f"{path} was made from something else ({listed}). {fix}")


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _whole_lines(path: Path, stream: IO[bytes], n_rows: int) -> int:
    """Counts the whole lines and places the stream after them; what follows them was cut off, and goes."""
    n_lines = end = 0
    last = b""
    for line in stream:
        if not line.endswith(b"\n"):
            break
        n_lines, end, last = n_lines + 1, end + len(line), line
    fix = "Fix: another --output, or --overwrite to begin again."
    if n_lines > n_rows:
        raise OutputError(f"{path} has {n_lines} lines, the input {n_rows} rows. {fix}")
    if last:
        try:
            json.loads(last)
        except ValueError as error:
            raise OutputError(f"{path}, line {n_lines}: it is not JSON ({error}). {fix}") from error
    stream.seek(end)
    stream.truncate()
    return n_lines
