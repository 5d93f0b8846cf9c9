"""A model written for other programs to serve: a Hugging Face folder, or StableHLO programs with their weights."""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

HUGGING_FACE, STABLEHLO = "hf", "stablehlo"
FORMATS = (HUGGING_FACE, STABLEHLO)
OUTPUT_TOKENS = 128
"""Longest prediction of a program where neither caller nor task nor the model's `config.gin` says."""

_HUGGING_FACE_FILES = r"(generation_)?config\.json|model.*\.safetensors(\.index\.json)?"


def export(
    source: str | os.PathLike[str],
    output: Path,
    form: str,
    overwrite: bool = False,
    vocabulary: Path | None = None,
    task: str | None = None,
    dtype: str = "float32",
    compute: str | None = None,
    output_tokens: int | None = None,
    platforms: Sequence[str] = ("cpu", "cuda", "tpu"),
    advance: Callable[[str, int, int], Any] | None = None,
) -> dict[str, Any]:
    """Exports a model, and reads the outcome back and compares it before it takes its name.

    Args:
      source: the model, as `serving.models.load` takes it.
      output: the folder to write.
      form: one of `FORMATS`.
      overwrite: replace the files of an earlier export; a folder that holds anything else is never replaced.
      vocabulary: a SentencePiece model; None takes the model's own.
      task: the task whose prefix, label words and lengths the programs' manifest is to hold; None for none.
      dtype: type of the stored weights, `float32` or `bfloat16`.
      compute: type of the programs' computation, `float32` or `bfloat16`; None takes the model's own.
      output_tokens: longest prediction of the programs; None takes the task's, else that of training, else 128.
      platforms: what the programs are lowered for, of `interop.stablehlo.PLATFORMS`.
      advance: called with (what is being done, done, total) as the work goes on; None does nothing.

    Returns:
      What was written, and the largest differences from the model.

    Raises:
      ValueError: when model or output can't be used, or the outcome differs from the model.
      OSError: if a file can't be read or written.
    """
    from distill_or_annotate.serving import models

    if form not in FORMATS:
        near = difflib.get_close_matches(form, FORMATS, n=1)
        raise ValueError(
            f"--format is {form!r}; {f'did you mean {near[0]}? ' if near else ''}allowed: {', '.join(FORMATS)}."
        )
    if output_tokens is not None and output_tokens < 1:
        raise ValueError(f"--max-output-tokens is {output_tokens}; it must be at least 1.")
    output = output.resolve()
    _check_free(output, overwrite)
    loaded = models.load(source, vocabulary, compute)
    if loaded.labels:
        raise ValueError(
            f"{loaded.path} is an encoder; what can be exported is a T5. Fix: take it as it is, as `doa predict` does."
        )
    if loaded.path.resolve().is_relative_to(output):
        raise ValueError(f"{output} holds the model itself. Fix: give another folder.")
    with _written(output) as place:
        if form == HUGGING_FACE:
            report = _to_hugging_face(loaded, place, dtype, advance)
        else:
            facts = _facts(loaded, task)
            length = output_tokens or (facts["trained_lengths"] or {}).get("targets", OUTPUT_TOKENS)
            report = _to_stablehlo(loaded, place, length, platforms, dtype, facts, advance)
    return {"file": str(output), "format": form, **report}


def _to_hugging_face(loaded: Any, place: Path, dtype: str, advance: Any) -> dict[str, Any]:
    from distill_or_annotate.interop import conversion

    if loaded.form == conversion.HUGGING_FACE:
        raise ValueError(f"{loaded.path} is a Hugging Face folder already. Fix: copy it, or --format stablehlo.")
    tokenizer = loaded.vocabulary.path
    if (tokenizer.parent / "tokenizer_config.json").is_file():
        tokenizer = tokenizer.parent
    report = conversion.convert(
        loaded.path, place, conversion.HUGGING_FACE, dtype, tokenizer=tokenizer, advance=advance
    )
    return {key: value for key, value in report.items() if key not in ("file", "to")}


def _facts(loaded: Any, task: str | None) -> dict[str, Any]:
    """What the manifest says of the model's past and its task."""
    recorded = loaded.recorded
    lengths = dict(recorded.lengths) if recorded and recorded.lengths else None
    found = {"step": loaded.step, "task": recorded.task if recorded else None, "prefix": None, "labels": None}
    if task:
        from distill_or_annotate.serving import task_facts

        its_own = found["task"] is not None and task.startswith(found["task"])
        known = task_facts.facts(task, recorded.task_module if its_own else None)
        found |= {"task": known.name, "prefix": known.prefix, "labels": list(known.labels)}
        lengths = {"inputs": known.input_tokens, "targets": known.target_tokens}
    return {**found, "trained_lengths": lengths}


def _to_stablehlo(
    loaded: Any, place: Path, length: int, platforms: Sequence[str], dtype: str, facts: dict[str, Any], advance: Any
) -> dict[str, Any]:
    from distill_or_annotate.interop import stablehlo, stablehlo_folders

    place.mkdir()
    programs = stablehlo.Programs(loaded.model, length)
    manifest = stablehlo_folders.write(
        place, programs, loaded.params, platforms, dtype, loaded.vocabulary.serialized(), facts, advance
    )
    if advance:
        advance("comparing", 0, 1)
    checked = stablehlo_folders.check(place, programs, loaded.params)
    if advance:
        advance("comparing", 1, 1)
    kept = ("platforms", "parameters", "params_dtype", "compute_dtype", "max_output_tokens")
    sizes = {name: entry["bytes"] for name, entry in manifest["files"].items()}
    return {"from": loaded.form, **{key: manifest[key] for key in kept}, "bytes": sizes, **checked}


def _check_free(output: Path, overwrite: bool) -> None:
    from distill_or_annotate.interop import stablehlo_folders, tokenizer_files

    if not output.exists():
        return
    if not output.is_dir():
        raise ValueError(f"--to is {output}, which is a file. Fix: give a folder.")
    present = sorted(entry.name for entry in output.iterdir())
    if present and not overwrite:
        raise ValueError(f"{output} is not empty. Fix: --overwrite replaces an earlier export; or give another folder.")
    known = {*stablehlo_folders.FILES, *tokenizer_files.FILES}
    foreign = [name for name in present if name not in known and not re.fullmatch(_HUGGING_FACE_FILES, name)]
    if foreign:
        raise ValueError(
            f"{output} holds {foreign[0]!r}, which no export writes, so --overwrite leaves it alone. Fix: give another "
            "folder, or remove it yourself."
        )


@contextlib.contextmanager
def _written(output: Path) -> Iterator[Path]:
    """A place to write to, which takes the output's name when all went well; what failed leaves what was there."""
    scratch = output.parent / f"writing-{os.getpid()}"
    made = [folder for folder in scratch.parents if not folder.exists()]
    scratch.mkdir(parents=True)
    try:
        place = scratch / output.name
        yield place
        if output.exists():
            output.rename(scratch / "replaced")
        place.rename(output)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    shutil.rmtree(scratch, ignore_errors=True)
