"""One model from one form to another, checked by reading it back before it takes its name.

Forms: a Hugging Face folder, a T5X checkpoint, a single safetensors file with T5X's names.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill_or_annotate.interop import (
    hugging_face,
    logits,
    naming,
    safetensors_files,
    t5x_folders,
    tokenizer_files,
)
from distill_or_annotate.interop.naming import Sizes
from distill_or_annotate.interop.tensors import DTYPES, FLOAT32, StoredTensor, largest_difference

HUGGING_FACE, T5X, SAFETENSORS = "hugging_face", "t5x", "safetensors"
FORMS = (HUGGING_FACE, T5X, SAFETENSORS)
KEPT = "hugging_face"
"""Folder in a T5X model folder for the tokenizer and the configuration that came with it."""

# Logits of one model computed twice differ by the order of float32 additions; weights cut to fewer bits differ more.
_TOLERANCE, _ROUNDED_TOLERANCE = 1e-3, 0.25


@dataclasses.dataclass(frozen=True)
class Model:
    """A stored model in any form.

    Attributes:
      form: one of `FORMS`.
      path: where it is.
      tensors: tensors by slash-joined T5X name, with T5X's axes.
      weights: the same for `logits.compute`, under the form's own names.
      step: steps that it was trained for, as far as the form knows.
    """

    form: str
    path: Path
    tensors: Mapping[str, StoredTensor]
    weights: logits.T5xWeights | logits.HuggingFaceWeights
    step: int

    def sizes(self) -> Sizes:
        """The model's sizes; ValueError when its tensors are not those of a T5."""
        return naming.sizes_of({name: tensor.shape for name, tensor in self.tensors.items()})


def open_model(path: Path) -> Model:
    """Opens a model, whatever its form.

    Args:
      path: a Hugging Face folder, a T5X checkpoint or model folder, or a safetensors file.

    Returns:
      The model, not yet read.

    Raises:
      ValueError: when it is damaged, of no such form, or has seen the labels.
      OSError: if there is nothing.
    """
    if path.is_file() and path.suffix == ".safetensors":
        found, metadata = safetensors_files.open_file(path)
        step = metadata.get("step", "0")
        return Model(SAFETENSORS, path, found, logits.T5xWeights(found), int(step) if step.isdigit() else 0)
    if (path / "config.json").is_file():
        opened = hugging_face.open_folder(path)
        return Model(HUGGING_FACE, path, opened.as_t5x(), logits.HuggingFaceWeights(opened.tensors), 0)
    if not path.exists():
        raise FileNotFoundError(f"no model at {path}. Fix: give a Hugging Face folder, a T5X folder or a .safetensors.")
    checkpoint = t5x_folders.find(path)
    found = t5x_folders.open_checkpoint(checkpoint)
    return Model(T5X, checkpoint, found, logits.T5xWeights(found), int(checkpoint.name.split("_")[1]))


def convert(
    source: Path,
    output: Path,
    to: str | None = None,
    dtype: str = "float32",
    note: str = "",
    tokenizer: Path | None = None,
    advance: Callable[[str, int, int], Any] | None = None,
    shard_bytes: int = hugging_face.SHARD_BYTES,
) -> dict[str, Any]:
    """Converts a model and compares the outcome with it.

    Args:
      source: the model, in any form.
      output: a file that ends in .safetensors, a model folder to put `checkpoint_0` into, or a new folder.
      to: one of `FORMS`; None takes `safetensors` by the output's name, else the other one of the remaining two.
      dtype: type of the weights, `float32` or `bfloat16`.
      note: a line for the headers of safetensors files.
      tokenizer: sentencepiece model or folder for a Hugging Face folder; None takes what came with the source.
      advance: called with (what is being done, done, total) as the work goes on; None does nothing.
      shard_bytes: largest safetensors file of a Hugging Face folder, in bytes.

    Returns:
      What was converted: forms, paths, counts, and the largest differences of weights and of logits.

    Raises:
      ValueError: when source or output can't be used, or the outcome differs from the source.
      OSError: if a file can't be read or written.
    """
    model = open_model(source)
    form = to or (
        SAFETENSORS if output.suffix == ".safetensors" else T5X if model.form == HUGGING_FACE else HUGGING_FACE
    )
    if form not in FORMS or (form == HUGGING_FACE == model.form):
        raise ValueError(f"--to is {form!r} for a source of form {model.form!r}; allowed: another one of {FORMS}.")
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"--dtype is {dtype!r}; allowed: bfloat16, float32.")
    kind = DTYPES[dtype]
    sizes = model.sizes() if form != SAFETENSORS or naming.EMBEDDING in model.tensors else None
    total = sum(math.prod(tensor.shape) for tensor in model.tensors.values())
    metadata = {"step": str(model.step), "note": note}
    progress = _Progress(advance)
    report: dict[str, Any] = {"from": model.form, "to": form}
    with _written(output, form) as (scratch, final):
        report["file"] = str(final)
        written = progress.stage("writing", total * kind.itemsize)
        if form == SAFETENSORS:
            safetensors_files.write_file(scratch, model.tensors, kind, metadata, written)
        elif form == T5X:
            t5x_folders.write_checkpoint(scratch, model.tensors, kind, written)
        else:
            hugging_face.write_folder(scratch, model.tensors, sizes, kind, metadata, written, shard_bytes)
            report["tokenizer"] = _bring_tokenizer(model, tokenizer, scratch, sizes)
        again = open_model(scratch)
        report |= {"step": model.step, "parameters": total, "dtype": dtype}
        report |= _compared(model, again, sizes, kind, progress)
    if form == T5X and model.form == HUGGING_FACE:
        _keep_companions(model.path, output / KEPT)
    if form == SAFETENSORS:
        report |= {"bytes": final.stat().st_size, "sha256": safetensors_files.file_hash(final)}
    return report


class _Progress:
    def __init__(self, advance: Callable[[str, int, int], Any] | None) -> None:
        self._advance = advance

    def stage(self, name: str, total: int) -> Callable[[int], None]:
        done = 0

        def more(amount: int) -> None:
            nonlocal done
            done += amount
            if self._advance:
                self._advance(name, done, total)

        return more


@contextlib.contextmanager
def _written(output: Path, form: str) -> Iterator[tuple[Path, Path]]:
    """A place to write to, and the place that it takes when all went well; what failed leaves nothing."""
    # Step 0, because the optimizer's state is a fresh one, whatever the parameters have been through.
    final = output / "checkpoint_0" if form == T5X else output
    if form != SAFETENSORS and final.exists() and (form == T5X or any(final.iterdir())):
        raise ValueError(f"{final} exists. Fix: give another folder, or remove it.")
    work = output.parent if form != T5X else output
    made = [folder for folder in (work, *work.parents) if not folder.exists()]
    scratch = work / f"writing-{os.getpid()}"
    scratch.mkdir(parents=True)
    try:
        place = scratch / final.name
        if form == HUGGING_FACE:
            place.mkdir()
        yield place, final
        if form == HUGGING_FACE and final.exists():
            final.rmdir()
        place.replace(final)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise
    shutil.rmtree(scratch, ignore_errors=True)


def _compared(model: Model, again: Model, sizes: Sizes | None, kind: np.dtype, progress: _Progress) -> dict[str, Any]:
    """The largest differences of weights and logits; ValueError when the logits are not the same model's."""
    compared, differences = progress.stage("comparing weights", len(model.tensors)), []
    for name, tensor in model.tensors.items():
        differences.append(largest_difference(tensor, again.tensors[name]))
        compared(1)
    found: dict[str, Any] = {"largest_difference": float(np.max(differences))}
    lossless = kind == FLOAT32 or all(tensor.dtype == kind for tensor in model.tensors.values())
    if lossless and found["largest_difference"] != 0:
        raise ValueError(
            f"the weights read back differ by {found['largest_difference']} (or hold NaN); nothing was kept."
        )
    if sizes is None:
        return found
    batch = logits.fixed_batch(sizes.vocab_size)
    layers = 2 * (sizes.num_encoder_layers + sizes.num_decoder_layers)
    computed = progress.stage("comparing logits", layers)
    before, after = (logits.compute(m.weights, sizes, *batch, computed) for m in (model, again))
    largest, scale = float(np.abs(before - after).max()), float(np.abs(before).max())
    found |= {"largest_logit_difference": largest, "largest_logit": scale}
    tolerance = _TOLERANCE if lossless else _ROUNDED_TOLERANCE
    if not largest <= tolerance * max(scale, 1.0):
        raise ValueError(
            f"the logits of the converted model differ by {largest:.3g} where the largest is {scale:.3g}; nothing was "
            "kept. Fix: report this with the source's config.json."
        )
    return found


def _bring_tokenizer(model: Model, tokenizer: Path | None, folder: Path, sizes: Sizes) -> list[str]:
    kept = model.path.parent / KEPT
    if tokenizer is None and model.form == T5X and any((kept / name).is_file() for name in tokenizer_files.FILES):
        tokenizer = kept
    return tokenizer_files.copy(tokenizer, folder, sizes.vocab_size) if tokenizer else []


def _keep_companions(source: Path, folder: Path) -> None:
    """Puts beside a T5X checkpoint what only the Hugging Face folder knew, for the way back."""
    names = ("config.json", "generation_config.json", *tokenizer_files.FILES)
    present = [name for name in names if (source / name).is_file()]
    folder.mkdir(exist_ok=True)
    for name in present:
        shutil.copyfile(source / name, folder / name)
