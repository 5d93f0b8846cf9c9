"""An attempt at a stage: its process, its heartbeat file, and how much time it had used when last seen."""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

HEARTBEAT_SECONDS = 2.0
# A heartbeat from another machine can't be checked against its process table; silence this long means it is dead.
_FOREIGN_SILENCE_SECONDS = 60.0


def process_identity(pid: int | None = None) -> dict[str, Any]:
    """Returns what tells a process apart from a later one with the same id: host, boot, pid and start time.

    Args:
      pid: a process id; None is this process.
    """
    pid = os.getpid() if pid is None else pid
    return {"host": socket.gethostname(), "boot": _boot_id(), "pid": pid, "process_start": _start_ticks(pid)}


def is_alive(identity: Mapping[str, Any], last_seen: float | None) -> bool:
    """Returns whether the process that wrote this identity still runs.

    Args:
      identity: from `process_identity`.
      last_seen: unix seconds of its latest heartbeat, if there is one; used only for other machines.
    """
    if identity.get("host") != socket.gethostname():
        return last_seen is not None and time.time() - last_seen < _FOREIGN_SILENCE_SECONDS
    if identity.get("boot") != _boot_id():
        return False
    start = _start_ticks(int(identity["pid"]))
    return start is not None and start == identity.get("process_start")


def _boot_id() -> str | None:
    try:
        return pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _start_ticks(pid: int) -> int | None:
    """Returns the start time of a running process in clock ticks since boot; None for a dead or zombie one."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None if os.path.isdir("/proc/self") else _exists(pid)
    # The command name may hold spaces and brackets; what follows the last bracket does not.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else int(fields[19])


def _exists(pid: int) -> int | None:
    """Stands in where there is no /proc: a process of that id exists or not, and ids reused can't be told apart."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0


def write_heartbeat(path: pathlib.Path, data: Mapping[str, Any]) -> None:
    """Replaces a heartbeat file in one step, so that a reader never sees half of one.

    Args:
      path: the file.
      data: JSON-ready values.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(data), encoding="utf-8")
    os.replace(part, path)


def read_heartbeat(path: pathlib.Path) -> dict[str, Any] | None:
    """Returns a heartbeat file's values, or None where there is none.

    Args:
      path: the file.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


@dataclasses.dataclass
class Attempt:
    """One running attempt; a context manager that settles it, as wasted where the block raised.

    Attributes:
      id: unique in the ledger, `STAGE.NUMBER`.
      stage: name of the stage.
      heartbeat_path: the file that a thread renews every two seconds while the attempt runs.
      reserve_seconds: the longest it may take, wall-clock; 0 where nothing was reserved for its time.
    """

    id: str
    stage: str
    heartbeat_path: pathlib.Path
    reserve_seconds: float
    _settle: Callable[["Attempt", float, bool, bool, str], dict[str, Any]]

    def __post_init__(self):
        self._start = time.monotonic()
        self._identity = process_identity()
        self._stop = threading.Event()
        self._beat()
        self._thread = threading.Thread(target=self._keep_beating, name=f"heartbeat {self.id}", daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """Wall-clock seconds since the attempt began."""
        return time.monotonic() - self._start

    def _beat(self) -> None:
        data = {"attempt": self.id, "stage": self.stage, "seconds": self.seconds, "time": time.time()}
        write_heartbeat(self.heartbeat_path, {**data, **self._identity})

    def _keep_beating(self) -> None:
        while not self._stop.wait(HEARTBEAT_SECONDS):
            # A full disk must not end the training; the ledger's own write will say so.
            with contextlib.suppress(OSError):
                self._beat()

    def settle(
        self, *, wasted: bool = False, finished: bool = True, note: str = "", seconds: float | None = None
    ) -> dict[str, Any]:
        """Writes what the attempt took to the ledger; a second call changes nothing.

        Args:
          wasted: whether the time bought nothing.
          finished: whether the stage is done, so that its charges fall due; no wasted attempt finishes one.
          note: what happened, for people.
          seconds: wall-clock seconds; None takes the measured ones.

        Returns:
          The settled row.
        """
        seconds = self.seconds if seconds is None else seconds
        self._stop.set()
        self._thread.join()
        row = self._settle(self, seconds, wasted, finished and not wasted, note)
        self.heartbeat_path.unlink(missing_ok=True)
        return row

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is None:
            self.settle()
        else:
            self.settle(wasted=True, note=f"{kind.__name__}: {error}"[:300])
