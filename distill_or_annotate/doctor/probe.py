"""What only an import can tell, found out in a process of its own: it may hang, crash, or hold an accelerator.

`python -m distill_or_annotate.doctor.probe devices|imports` prints one JSON object as its last line.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from distill_or_annotate.doctor.finding import BROKEN, NOTE, Finding

# In this order: each needs those before it.
MODULES = (
    "numpy",
    "jax",
    "flax",
    "tensorflow",
    "seqio",
    "t5x.train",
    "t5x.infer",
    "distill_or_annotate.tasks.registry",
)
_FIX = "run `make install` in the checkout, or `pip install -r requirements.lock`; the message above names the culprit"
# The child must search where this process searches, however this one was started.
_CHILD = (
    "import json, sys\nsys.path[:] = json.loads(sys.argv[1])\n"
    "from distill_or_annotate.doctor import probe\nprint(json.dumps(getattr(probe, sys.argv[2])()))"
)


class Probe:
    """A probe at work in another process.

    Args:
      name: `devices` or `imports`.
    """

    def __init__(self, name: str):
        self.name = name
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
        words = [sys.executable, "-c", _CHILD, json.dumps(sys.path), name]
        self._process = subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )

    def result(self, timeout_seconds: float) -> dict[str, Any]:
        """Waits for the probe.

        Args:
          timeout_seconds: longest wait; the process is killed after it.

        Returns:
          What it found; `{"error": ...}` when it hung or crashed.
        """
        try:
            out, err = self._process.communicate(timeout=timeout_seconds)
            return json.loads(out.splitlines()[-1])
        except subprocess.TimeoutExpired:
            self.stop()
            return {"error": f"no answer within {timeout_seconds:g} s"}
        except (ValueError, IndexError):
            last = [line for line in err.splitlines() if line.strip()]
            return {"error": f"ended with status {self._process.returncode}: {last[-1] if last else 'no message'}"}

    def stop(self) -> None:
        """Ends the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def devices() -> dict[str, Any]:
    """JAX's devices, as JSON.

    Returns:
      The platform and, for each device, its kind and memory in bytes where known; or an error.
    """
    try:
        import jax

        return {
            "platform": jax.default_backend(),
            "devices": [
                {"kind": device.device_kind, "memory_bytes": _memory_bytes(device)} for device in jax.devices()
            ],
        }
    except Exception as error:  # whatever an accelerator's plug-in raises is the finding
        return {"error": f"{type(error).__name__}: {error}"}


def imports() -> dict[str, Any]:
    """Imports each of `MODULES`, as JSON.

    Returns:
      Module to seconds, or to the error's text.
    """
    found: dict[str, Any] = {}
    for module in MODULES:
        start = time.monotonic()
        try:
            importlib.import_module(module)
            found[module] = round(time.monotonic() - start, 1)
        except Exception as error:  # a broken wheel raises anything
            found[module] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return found


def device_findings(result: dict[str, Any]) -> Iterator[Finding]:
    """Findings from `devices`.

    Args:
      result: what the probe returned.

    Yields:
      One finding a kind of device; `broken` when JAX shows none.
    """
    if "error" in result:
        fix = "is an accelerator in use by another process? JAX_PLATFORMS=cpu does without it"
        yield Finding("devices", "jax", result["error"], BROKEN, fix)
        return
    kinds: dict[tuple[str, int | None], int] = {}
    for device in result["devices"]:
        key = (device["kind"], device["memory_bytes"])
        kinds[key] = kinds.get(key, 0) + 1
    for (kind, memory_bytes), count in kinds.items():
        memory = f", {memory_bytes / 1e9:.0f} GB each" if memory_bytes else ""
        yield Finding("devices", result["platform"], f"{count} x {kind}{memory}")


def import_findings(result: dict[str, Any]) -> Iterator[Finding]:
    """Findings from `imports`.

    Args:
      result: what the probe returned.

    Yields:
      One finding for all that import; `broken` for the first that does not, whose failure the later ones share.
    """
    if "error" in result:
        yield Finding("imports", "imports", result["error"], BROKEN, _FIX)
        return
    failed = {module: value for module, value in result.items() if isinstance(value, str)}
    good = {module: value for module, value in result.items() if module not in failed}
    if good:
        seconds = sum(good.values())
        hint = "slow? The first import after an installation compiles bytecode: run again to see"
        yield Finding("imports", ", ".join(good), f"{seconds:.1f} s", *((NOTE, hint) if seconds > 30 else ()))
    for module, text in failed.items():
        yield Finding("imports", module, text, BROKEN, _FIX)


def _memory_bytes(device: Any) -> int | None:
    try:
        return (device.memory_stats() or {}).get("bytes_limit")
    except Exception:  # not every platform counts
        return None
