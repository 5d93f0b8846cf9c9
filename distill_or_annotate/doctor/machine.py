"""Cores, memory, disk, and the environment variables that change what happens; secrets are never shown."""

from __future__ import annotations

import difflib
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from distill_or_annotate.doctor.finding import BROKEN, NOTE, PROBLEM, Finding

_OURS = {
    "DOA_DATA_DIR": "folder with released or built data",
    "DOA_CACHE_DIR": "folder for what can be made again",
    "DOA_T5_VOCAB": "a copy of T5's vocabulary",
    "DOA_WLP_VOCAB": "the vocabulary of wlp_mini",
    "DOA_RELEASED_VOCAB": "the vocabulary of fever_mini, multipit_id_mini and stanceosaurus_mini",
    "DOA_SIMILARITY_MODEL": "the encoder of BERT-iBLEU",
    "DOA_STAGES_DIR": "folder of stages that runs share",
    "DOA_DEBUG": "1 shows where an error came from",
}
_THEIRS = (
    "CUDA_VISIBLE_DEVICES", "GLIBC_TUNABLES", "JAX_COMPILATION_CACHE_DIR", "JAX_PLATFORMS", "NPROC", "PYTHONPATH",
    "TFDS_DATA_DIR", "TF_CPP_MIN_LOG_LEVEL", "TPU_CHIPS_PER_PROCESS_BOUNDS", "TPU_VISIBLE_DEVICES", "XLA_FLAGS",
    "XLA_PYTHON_CLIENT_MEM_FRACTION", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
)  # fmt: skip
_SECRETS = ("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS", "HF_TOKEN", "OPENAI_API_KEY")
_WORDS_OF_SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")
_LITTLE_MEMORY_BYTES = 4 << 30
_LITTLE_DISK_BYTES = 2 << 30
_HUGE_PAGES = "glibc.malloc.hugetlb=1"
_PAGE_MODES = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def resources(cache: Path) -> Iterator[Finding]:
    """Cores, memory, and room and right to write where runs and the cache go.

    Args:
      cache: the cache folder; it need not exist.

    Yields:
      `broken` where the cache cannot be written, `problem` where something is scarce.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("machine", "CPU cores", f"{cores} usable of {os.cpu_count()}")
    total = memory_bytes()
    if total is not None:
        little = total < _LITTLE_MEMORY_BYTES
        fix = "the quickstart needs about 4 GB: close other programs or take a larger machine"
        yield Finding("machine", "memory", _gigabytes(total), *((PROBLEM, fix) if little else ()))
    for name, folder, state, fix in (
        ("cache folder", cache, BROKEN, "set DOA_CACHE_DIR to a folder that you may write to"),
        ("working directory", Path.cwd(), PROBLEM, "run from another folder, or give `doa run --run-dir`"),
    ):
        existing = next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))
        free = shutil.disk_usage(existing).free
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            yield Finding("machine", name, f"{folder} cannot be written", state, fix)
        elif free < _LITTLE_DISK_BYTES:
            yield Finding("machine", name, f"{folder}, {_gigabytes(free)} free", PROBLEM, "make room on that disk")
        else:
            used = f"{_gigabytes(_size_bytes(folder))} used, " if name == "cache folder" else ""
            yield Finding("machine", name, f"{folder}, {used}{_gigabytes(free)} free")


def pages(variables: Mapping[str, str], modes: Path = _PAGE_MODES) -> Iterator[Finding]:
    """Whether memory comes in huge pages, without which a training step on CPUs takes 1.4 times as long.

    Args:
      variables: such as `os.environ`.
      modes: where Linux says to whom it gives huge pages.

    Yields:
      A `note` where glibc could ask for them and was not told to; nothing where there is nothing to gain.
    """
    library, version = platform.libc_ver()
    able = library == "glibc" and [int(part) for part in version.split(".")[:2]] >= [2, 35]
    if not able or not modes.exists() or "[madvise]" not in modes.read_text(encoding="ascii"):
        return
    if _HUGE_PAGES in variables.get("GLIBC_TUNABLES", ""):
        yield Finding("machine", "huge pages", "asked for")
    else:
        fix = f"export GLIBC_TUNABLES={_HUGE_PAGES} before long work on CPUs (docs/performance.md)"
        yield Finding("machine", "huge pages", "not asked for", NOTE, fix)


def environment(variables: Mapping[str, str]) -> Iterator[Finding]:
    """The variables that matter here. Of a secret it says only whether it is set; of a proxy it hides the password.

    Args:
      variables: such as `os.environ`.

    Yields:
      One finding a variable that is set; `problem` for a DOA_ variable that nothing reads.
    """
    for name, meaning in _OURS.items():
        yield Finding("environment", name, variables[name] if variables.get(name) else f"unset ({meaning})")
    for name in sorted(set(variables) - set(_OURS)):
        if name.startswith("DOA_") and not _is_secret(name):
            near = difflib.get_close_matches(name, _OURS, n=1)
            fix = f"did you mean {near[0]}?" if near else f"unset it; these are read: {', '.join(_OURS)}"
            yield Finding("environment", name, "set, but nothing reads it", PROBLEM, fix)
    for name in _THEIRS:
        if variables.get(name):
            yield Finding("environment", name, _without_password(variables[name]))
    for name in _SECRETS:
        if variables.get(name):
            yield Finding("environment", name, "set (value not shown)", NOTE)


def memory_bytes() -> int | None:
    """Memory that this process may use.

    Returns:
      The machine's or the container's limit, the smaller; None where neither can be read.
    """
    found = []
    for path, read in (
        ("/proc/meminfo", lambda text: int(text.split("MemTotal:")[1].split()[0]) * 1024),
        ("/sys/fs/cgroup/memory.max", int),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", int),
    ):
        try:
            found.append(read(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError, IndexError):
            continue
    return min(found, default=None)


def _is_secret(name: str) -> bool:
    return any(word in name.upper() for word in _WORDS_OF_SECRETS)


def _without_password(value: str) -> str:
    if "@" not in value:
        return value
    parts = urlsplit(value if "://" in value else f"//{value}")
    return f"{parts.scheme}://***@{parts.netloc.rpartition('@')[2]}".removeprefix("://")


def _size_bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:  # gone meanwhile
                continue
    return total


def _gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:.1f} MB"
