"""What stands before a run's first stage: the process's environment, and a folder that is free for this study."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distill_or_annotate.pipeline import gin_files
from distill_or_annotate.scenarios import Scenario, is_encoder

if TYPE_CHECKING:
    from distill_or_annotate.tasks.spec import TaskSpec


def prepare_environment() -> None:
    """Before JAX and TensorFlow start: quiet logs, compiled programs kept across stages and runs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from distill_or_annotate.interop.shipped import cache_dir

    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_dir() / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")


def claim(run_dir: Path, scenario: Mapping[str, Any], hashes: Mapping[str, str]) -> None:
    """Refuse a folder that holds a run of another scenario or on other data: it would mix two studies.

    Args:
      run_dir: the run's folder.
      scenario: the scenario's fields.
      hashes: name -> SHA-256 of each split's rows.

    Raises:
      ValueError: naming what differs.
    """
    path = run_dir / "manifest.json"
    if not path.exists():
        return
    content = json.loads(path.read_text(encoding="utf-8"))
    # A field that is younger than the run had its default there.
    before = json.loads(json.dumps(_defaults())) | content["scenario"]
    now = json.loads(json.dumps(scenario))
    # A run that a gate stopped goes on by force, and the other way round.
    changed = sorted(name for name in {*before, *now} - {"force"} if before.get(name) != now.get(name))
    if changed:
        raise ValueError(
            f"{run_dir} holds a run of another scenario (differs in {', '.join(changed)}). "
            "Fix: give --run-dir a new folder, or remove that one."
        )
    # A stage's name knows its settings, not its data: finished stages would be taken over as they are.
    other = sorted(name for name, value in hashes.items() if content["data"].get(name, value) != value)
    if other:
        raise ValueError(
            f"{run_dir} holds a run on other data ({', '.join(other)} changed since). "
            "Fix: give --run-dir a new folder, or restore the data (DOA_DATA_DIR)."
        )


def _defaults() -> dict[str, Any]:
    fields = {field.name: field for field in dataclasses.fields(Scenario)}
    values = {name: field.default for name, field in fields.items() if field.default is not dataclasses.MISSING}
    made = {
        name: field.default_factory()
        for name, field in fields.items()
        if field.default_factory is not dataclasses.MISSING
    }
    return values | made


def data_hashes(spec: TaskSpec) -> dict[str, str]:
    """SHA-256 of each split's rows, and of what the task makes of them: neither is in a stage's name.

    Args:
      spec: the task.

    Raises:
      SimilarityError: its metric compares meanings, and the encoder for that cannot be had: better said now than when
        the models are trained.
    """
    from distill_or_annotate.metrics.evaluation import Scorer
    from distill_or_annotate.preprocess.text import content_hash

    similarity = Scorer(spec.metric, spec.labels, spec.mode).similarity()
    hashes = {
        f"{spec.name}/{split}": content_hash((f"{row['source']}\t{row['target']}" for row in spec.rows(split)), 64)
        for split in spec.available_splits()
    }
    settings = (spec.version, spec.prefix, spec.metric, spec.mode, spec.input_tokens, spec.target_tokens)
    encoder = (similarity.name,) if similarity else ()
    return hashes | {f"{spec.name} settings": content_hash((*settings, *spec.labels, *encoder), 64)}


def encoder_truncations(scenario: Scenario) -> list[str]:
    """What encoders cut off the training data's sources, which their own tokenizers take for other lengths.

    Args:
      scenario: the study; its task is imported.

    Returns:
      A sentence for each of its encoders whose folder is where gin/models looks for it.
    """
    from distill_or_annotate.encoder import folders, wordpiece
    from distill_or_annotate.encoder.config import EncoderError
    from distill_or_annotate.tasks import registry

    bound = {**scenario.macros.get("general_distill", {}), **scenario.search.get("general_distill", {})}
    compact = (scenario.compact,) if "general_distill" in scenario.strategies and "ENCODER" not in bound else ()
    encoders: dict[Path, str] = {}
    for model in (*scenario.values("teacher"), *scenario.values("student"), *compact):
        if is_encoder(model):
            # Its stage says what is wrong where it is not here; a run that is done needs none.
            with contextlib.suppress(EncoderError):
                if model.startswith("minilm"):
                    encoders.setdefault(Path(folders.minilm()), model)
                elif (folder := gin_files.encoder_folder(model)) and Path(folder).is_dir():
                    encoders.setdefault(Path(folder), model)
    spec = registry.get(scenario.reads)
    sources = [spec.prefix + row["source"] for row in registry.rows(scenario.reads, "train")] if encoders else []
    told = []
    for folder, model in encoders.items():
        with contextlib.suppress(EncoderError):
            lengths = wordpiece.WordPiece(folder).lengths(sources)
            n_cut = int((lengths > spec.input_tokens).sum())
            share = 100 * n_cut / max(1, len(lengths))
            told.append(
                f"in {model}'s own tokens: {n_cut} sources truncated ({share:.1f}%, longest {lengths.max(initial=0)})"
            )
    return told
