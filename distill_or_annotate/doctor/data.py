"""Which data of the tasks, which vocabularies and which shipped weights are within reach."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from distill_or_annotate.doctor.finding import BROKEN, NOTE, PROBLEM, Finding
from distill_or_annotate.preprocess import built, rows

_SPLITS = ("train", "validation", "test", "unlabeled")
T5_VOCABULARY = "gs://t5-data/vocabs/cc_all.32000.100extra/sentencepiece.model"
_REACH_SECONDS = 3.0


def data_folders() -> Iterator[Finding]:
    """The splits of each task that `DOA_DATA_DIR` holds, and in which form.

    Yields:
      One finding a task; `problem` where the folder or a built data set cannot be read.
    """
    if not os.environ.get(rows.DATA_DIR_VARIABLE):
        fix = "to train on real data: export DOA_DATA_DIR=FOLDER, then `doa data fetch TASK` and `doa data build`"
        yield Finding(
            "data", rows.DATA_DIR_VARIABLE, "unset; the embedded tasks mini and mini_cls need no data", NOTE, fix
        )
        return
    try:
        folder = rows.data_dir()
    except rows.DataFolderError as error:
        yield Finding("data", rows.DATA_DIR_VARIABLE, str(error).split(". ")[0], PROBLEM, "create it, or name another")
        return
    yield Finding("data", rows.DATA_DIR_VARIABLE, str(folder))
    for task, prefix in rows.RELEASED_PREFIXES.items():
        released = [split for split in _SPLITS if rows.find_files(folder, prefix, split)]
        try:
            made = built.splits(task)
        except (OSError, ValueError) as error:
            yield Finding("data", task, f"built, but unreadable: {error}", PROBLEM, f"doa data build {task} again")
            continue
        forms = [f"{name}: {', '.join(splits)}" for name, splits in (("built", made), ("released", released)) if splits]
        fix = f"doa data fetch {task}, then doa data build {task} --from FILES..."
        yield Finding("data", task, "; ".join(forms) or "no files", *(() if forms else (NOTE, fix)))


def vocabularies(cache: Path, timeout_seconds: float = _REACH_SECONDS) -> Iterator[Finding]:
    """Whether each vocabulary can be read, or reached.

    Args:
      cache: the cache folder, in which the one of `wlp_mini` stands by default.
      timeout_seconds: longest wait for a remote one.

    Yields:
      `broken` for the embedded tasks' one, `problem` for T5's, a note for that of `wlp_mini`.
    """
    embedded = _tasks_folder() / "mini" / "vocab.model"
    problem = _vocabulary_problem(embedded)
    yield Finding("vocabularies", "mini", str(embedded), *((BROKEN, f"{problem}; install again") if problem else ()))
    yield _t5_vocabulary(cache, timeout_seconds)
    path = Path(os.environ.get("DOA_WLP_VOCAB") or cache / "pretrained" / "wlp" / "vocab.model").expanduser()
    problem = _vocabulary_problem(path)
    fix = f"{problem}. Make it with `make pretrain-wlp`, or set DOA_WLP_VOCAB"
    state = PROBLEM if os.environ.get("DOA_WLP_VOCAB") else NOTE
    yield Finding("vocabularies", "wlp_mini", str(path), *((state, fix) if problem else ()))


def _t5_vocabulary(cache: Path, timeout_seconds: float) -> Finding:
    value = name = os.environ.get("DOA_T5_VOCAB") or T5_VOCABULARY
    if "://" not in name:
        problem = _vocabulary_problem(Path(name).expanduser())
    elif (copy := _cached(name, cache)).exists():
        value, problem = f"{name}, copied to {copy}", _vocabulary_problem(copy)
    else:
        problem = _unreachable(_web_address(name), timeout_seconds)
    fix = (
        f"{problem}. Where there is a network: curl -O {_web_address(T5_VOCABULARY)}; then set DOA_T5_VOCAB to the file"
    )
    return Finding("vocabularies", "T5 (the six tasks)", value, *((PROBLEM, fix) if problem else ()))


def weights() -> Iterator[Finding]:
    """Whether the two shipped models are there and whole.

    Yields:
      `broken` for one that is not.
    """
    for model in ("mini_student", "mini_teacher"):
        path = _tasks_folder() / "mini" / f"{model}.safetensors"
        problem = safetensors_problem(path)
        fix = "install again (a checkout without its large files?)"
        value = f"{path}: {problem}" if problem else f"{path}, {path.stat().st_size / 1e6:.1f} MB"
        yield Finding("weights", model, value, *((BROKEN, fix) if problem else ()))


def safetensors_problem(path: Path) -> str | None:
    """What is wrong with a safetensors file, from its header and size alone.

    Args:
      path: the file.

    Returns:
      A phrase; None when the header is sound and the file as long as it says.
    """
    try:
        with path.open("rb") as handle:
            n_header = int.from_bytes(handle.read(8), "little")
            size_bytes = os.fstat(handle.fileno()).st_size
            if not 2 <= n_header <= size_bytes - 8:
                return f"not a safetensors file ({size_bytes} bytes)"
            header = json.loads(handle.read(n_header))
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    except FileNotFoundError:
        return "missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"unreadable ({type(error).__name__})"
    return None if 8 + n_header + end == size_bytes else f"cut off: {size_bytes} of {8 + n_header + end} bytes"


def _tasks_folder() -> Path:
    # Found, not imported: the package brings TensorFlow with most of its modules.
    spec = importlib.util.find_spec("distill_or_annotate.tasks")
    return Path(spec.origin).parent if spec and spec.origin else Path("distill_or_annotate.tasks is not installed")


def _vocabulary_problem(path: Path) -> str | None:
    if not path.is_file():
        return "no such file"
    try:
        import sentencepiece
    except ImportError:
        return None  # said under versions
    try:
        with path.open("rb") as handle:
            model = sentencepiece.SentencePieceProcessor(model_proto=handle.read())
    except (OSError, RuntimeError) as error:
        return f"not a sentencepiece model ({type(error).__name__})"
    return None if model.get_piece_size() else "an empty sentencepiece model"


def _web_address(url: str) -> str:
    return url.replace("gs://", "https://storage.googleapis.com/", 1)


def _cached(url: str, cache: Path) -> Path:
    """Where the tasks keep their copy of a remote vocabulary, as `tasks.vocabularies.local_copy` names it."""
    address = _web_address(url)
    return cache / "vocabularies" / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}-{address.rsplit('/', 1)[-1]}"


def _unreachable(address: str, timeout_seconds: float) -> str | None:
    """Why an address does not answer; in a thread, since looking a host up knows no timeout."""
    outcome = [f"no answer within {timeout_seconds:g} s"]

    def ask() -> None:
        try:
            request = urllib.request.Request(address, method="HEAD")
            with urllib.request.urlopen(request, timeout=timeout_seconds):
                outcome[0] = ""
        except urllib.error.HTTPError as error:
            outcome[0] = f"HTTP {error.code}"
        except (OSError, ValueError) as error:
            outcome[0] = f"not reachable ({getattr(error, 'reason', error)})"

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_seconds + 0.5)
    return outcome[0] or None
