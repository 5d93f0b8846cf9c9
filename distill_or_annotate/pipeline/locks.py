"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.2


class FolderBusyError(OSError):
    """Another live process holds the folder's lock."""


@contextmanager
def folder_lock(folder: Path, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold `folder/.lock` for the length of the block; the kernel frees it when the process dies, however it dies.

    Args:
      folder: created when missing.
      wait_seconds: how long to wait for another holder; infinity waits for ever.

    Raises:
      FolderBusyError: naming the holder's process id.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not _locked(handle):
            if time.monotonic() >= deadline:
                holder = os.pread(handle, 64, 0).decode("ascii", "replace").strip() or "unknown"
                raise FolderBusyError(
                    f"{folder} is in use by process {holder}. Fix: wait for it, or stop it (kill {holder}) and run "
                    "again."
                )
            time.sleep(_POLL_SECONDS)
        os.truncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
