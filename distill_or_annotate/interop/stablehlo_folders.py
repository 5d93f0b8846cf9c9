"""Folders of exported programs: the programs, their weights, the vocabulary and a manifest; written, read, checked.

`params.safetensors` holds what both programs take first: a flat dictionary of arrays by slash-joined name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import export

import distill_or_annotate
from distill_or_annotate.interop import safetensors_files, stablehlo, tensors

MANIFEST, PARAMS, SPIECE = "manifest.json", "params.safetensors", "spiece.model"
FORMAT = "distill_or_annotate.stablehlo"
_TOLERANCE = 1e-3


def program_file(name: str) -> str:
    """The file of the program `name` in a folder."""
    return f"{name}.jax_export"


FILES = (MANIFEST, PARAMS, SPIECE, program_file(stablehlo.PREDICT), program_file(stablehlo.SCORE))
"""All that a folder can hold."""


def write(
    folder: Path,
    programs: stablehlo.Programs,
    params: Mapping[str, Any],
    platforms: Sequence[str] = stablehlo.PLATFORMS[:3],
    dtype: str = "float32",
    spiece: bytes | None = None,
    facts: Mapping[str, Any] | None = None,
    advance: Callable[[str, int, int], Any] | None = None,
) -> dict[str, Any]:
    """Writes programs, weights, vocabulary and manifest.

    Args:
      folder: an existing folder; its files of the same names are replaced.
      programs: what to export.
      params: nested dict of arrays.
      platforms: of `stablehlo.PLATFORMS`, one or more.
      dtype: type of the weights, `float32` or `bfloat16`.
      spiece: a sentencepiece model; None for none.
      facts: further entries of the manifest, of JSON's types.
      advance: called with (what is being done, done, total) as the work goes on; None does nothing.

    Returns:
      The manifest.

    Raises:
      ValueError: for a platform or dtype that there is not.
      OSError: if a file can't be written.
    """
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"--dtype is {dtype!r}; allowed: bfloat16, float32.")
    tell = advance or (lambda *_: None)
    kind = tensors.DTYPES[dtype]
    flat = {name: np.asarray(value) for name, value in traverse_util.flatten_dict(dict(params), sep="/").items()}
    shapes = {name: jax.ShapeDtypeStruct(value.shape, kind) for name, value in flat.items()}
    tell("lowering", 0, 1)
    lowered = programs.exported(shapes, platforms)
    tell("lowering", 1, 1)
    for name, program in lowered.items():
        (folder / program_file(name)).write_bytes(program.serialize())
    total, done = sum(value.size for value in flat.values()) * kind.itemsize, 0

    def wrote(amount: int) -> None:
        nonlocal done
        done += amount
        tell("writing weights", done, total)

    stored = {name: tensors.in_memory(value) for name, value in flat.items()}
    safetensors_files.write_file(folder / PARAMS, stored, kind, {}, wrote)
    if spiece is not None:
        (folder / SPIECE).write_bytes(spiece)
    manifest = {**_manifest(folder, programs, lowered, shapes), **(facts or {})}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def _manifest(
    folder: Path, programs: stablehlo.Programs, lowered: Mapping[str, export.Exported], shapes: Mapping[str, Any]
) -> dict[str, Any]:
    first = next(iter(lowered.values()))
    kinds = {str(shape.dtype) for shape in shapes.values()}
    config = programs.model.module.config
    return {
        "format": FORMAT,
        "format_version": 1,
        "made_with": {"distill_or_annotate": distill_or_annotate.__version__, "jax": jax.__version__},
        "calling_convention_version": first.calling_convention_version,
        "platforms": list(first.platforms),
        "functions": {
            name: {"file": program_file(name), "inputs": _tokens(program), "outputs": list(map(str, program.out_avals))}
            for name, program in lowered.items()
        },
        "vocab_size": config.vocab_size,
        "pad_id": stablehlo.PAD_ID,
        "eos_id": programs.eos_id,
        "max_input_tokens": None,
        "max_output_tokens": programs.output_tokens,
        "compute_dtype": jnp.dtype(config.dtype).name,
        "params_dtype": ", ".join(sorted(kinds)),
        "parameters": sum(int(np.prod(shape.shape)) for shape in shapes.values()),
        "params": {name: list(shape.shape) for name, shape in sorted(shapes.items())},
        "files": {
            name: {
                "bytes": (folder / name).stat().st_size,
                "sha256": safetensors_files.file_hash(folder / name),
            }
            for name in FILES
            if name != MANIFEST and (folder / name).is_file()
        },
    }


def _tokens(program: export.Exported) -> list[str]:
    """What a program takes after its parameters, such as `int32[b,n]`."""
    (positional, _) = jax.tree.unflatten(program.in_tree, program.in_avals)
    return ["params", *map(str, positional[1:])]


def check(folder: Path, programs: stablehlo.Programs, params: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a folder's programs on its weights, and the model on those it was given, rounded to the same type.

    Args:
      folder: what `write` left.
      programs: the model.
      params: nested dict of arrays, as given to `write`.

    Returns:
      `checked_on`, the platform that it ran on (None where no program is for it, and then nothing else), rows compared,
      and the largest difference of log-likelihoods.

    Raises:
      ValueError: when they differ, or a file is not the one that the manifest names.
    """
    from safetensors.flax import load_file

    manifest = read_manifest(folder)
    here = {"gpu": "cuda"}.get(jax.default_backend(), jax.default_backend())
    if here not in manifest["platforms"]:
        return {"checked_on": None}
    loaded = load_file(folder / PARAMS)
    flat = traverse_util.flatten_dict(dict(params), sep="/")
    ours = {name: jnp.asarray(value, loaded[name].dtype) for name, value in flat.items()}
    predict, score = (
        jax.jit(export.deserialize(bytearray((folder / program_file(name)).read_bytes())).call)
        for name in (stablehlo.PREDICT, stablehlo.SCORE)
    )
    inputs = _inputs(manifest["vocab_size"])
    made, scores = predict(loaded, inputs)
    expected, expected_scores = jax.jit(programs.predict)(ours, inputs)
    differing = int((np.asarray(made) != np.asarray(expected)).any(1).sum())
    if differing:
        raise ValueError(
            f"the exported program predicts other tokens than the model in {differing} of {len(inputs)} rows on "
            f"{here}, so nothing was kept. Fix: export where JAX runs on a CPU (JAX_PLATFORMS=cpu)."
        )
    targets = jnp.where(made == stablehlo.PAD_ID, programs.eos_id, made)
    likelihood = score(loaded, inputs, targets)
    expected_likelihood = jax.jit(programs.score)(ours, inputs, targets)
    pairs = ((scores, expected_scores), (likelihood, expected_likelihood))
    largest = max(float(jnp.abs(ours - theirs).max()) for theirs, ours in pairs)
    scale = max(1.0, float(jnp.abs(expected_likelihood).max()))
    if not largest <= _TOLERANCE * scale:
        raise ValueError(
            f"the exported programs' log-likelihoods differ by {largest:.3g} where the largest is {scale:.3g}; nothing "
            "was kept."
        )
    return {"checked_on": here, "rows": len(inputs), "largest_log_likelihood_difference": largest}


def _inputs(vocab_size: int) -> np.ndarray:
    """Ids over the vocabulary [4, 140], with padding, longer than relative positions are told apart."""
    inputs = np.random.default_rng(0).integers(2, vocab_size, (4, 140)).astype(np.int32)
    inputs[1, 9:] = inputs[2, 100:] = stablehlo.PAD_ID
    return inputs


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads the manifest of a folder and compares its files with it.

    Args:
      folder: what `write` left.

    Returns:
      The manifest.

    Raises:
      ValueError: when it is not one of ours, or a file is not the one that it names.
      OSError: if a file can't be read.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = manifest["files"] if manifest["format"] == FORMAT else None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no manifest of `doa export`: {error!r}.") from error
    if files is None:
        raise ValueError(f"{path}: format is {manifest['format']!r}; allowed: {FORMAT!r}.")
    for name, entry in files.items():
        if name not in FILES:
            raise ValueError(f"{path} names a file {name!r}; allowed: {', '.join(FILES)}.")
        if safetensors_files.file_hash(folder / name) != entry["sha256"]:
            raise ValueError(
                f"{folder / name} is not the file of the manifest (its SHA-256 differs). Fix: export anew."
            )
    return manifest
