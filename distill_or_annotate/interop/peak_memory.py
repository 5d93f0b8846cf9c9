"""How much memory a conversion takes: measured on models with XXL's layers and fewer dimensions, and what XXL takes.

Run: `python -m distill_or_annotate.interop.peak_memory --scales 8 4` (Linux; needs about 8 GB of disk).
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

from distill_or_annotate.interop import hugging_face, naming
from distill_or_annotate.interop.naming import Sizes
from distill_or_annotate.interop.tensors import FLOAT32, StoredTensor

XXL = Sizes(
    vocab_size=32128,
    emb_dim=4096,
    num_heads=64,
    head_dim=64,
    mlp_dim=10240,
    num_encoder_layers=24,
    num_decoder_layers=24,
    gated=True,
    tied=False,
)
# VmHWM is the peak of this process alone; what `wait` reports may include the parent's.
_CHILD = """
import sys
from distill_or_annotate import cli
status = cli.main(sys.argv[1:])
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(peak[0])
sys.exit(status)
"""


def scaled(scale: int) -> Sizes:
    """XXL with all of its layers and vocabulary and 1/`scale` of its dimensions."""
    return Sizes(
        XXL.vocab_size,
        XXL.emb_dim // scale,
        max(1, XXL.num_heads // scale),
        XXL.head_dim,
        XXL.mlp_dim // scale,
        XXL.num_encoder_layers,
        XXL.num_decoder_layers,
        gated=True,
        tied=False,
    )


def parameters(sizes: Sizes) -> int:
    """Number of parameters of a model of `sizes`."""
    return sum(math.prod(shape) for shape in sizes.t5x_shapes().values())


def write_synthetic(folder: Path, sizes: Sizes, shard_bytes: int = hugging_face.SHARD_BYTES) -> None:
    """Writes a Hugging Face folder of random weights.

    Args:
      folder: made when it does not exist.
      sizes: the model's sizes.
      shard_bytes: largest file, in bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    contents = {}
    for name, shape in sizes.t5x_shapes().items():
        theirs = shape[::-1] if naming.is_transposed(name) else shape
        tensor = StoredTensor(theirs, FLOAT32, (1, *theirs[1:]), _noise(name, theirs))
        contents[name] = tensor.transposed if naming.is_transposed(name) else tensor
    hugging_face.write_folder(folder, contents, sizes, FLOAT32, {}, shard_bytes=shard_bytes)


def _noise(name: str, shape: tuple[int, ...]):
    def read_part(axis: int, start: int, stop: int) -> np.ndarray:
        made = np.random.default_rng([zlib.crc32(name.encode()), start]).standard_normal(
            (stop - start, *shape[1:]), np.float32
        )
        if name.endswith("scale"):
            return 1 + np.float32(0.1) * made
        # T5's own scales: a larger query kernel makes each attention a choice of one position, which rounding can turn.
        inputs = shape[-1] * (XXL.head_dim if name.endswith("query/kernel") else 1)
        return made * np.float32(inputs**-0.5 if name.endswith("kernel") else 1)

    return read_part


def measure(scale: int, folder: Path) -> dict[str, float]:
    """Converts a scaled XXL to T5X and back, each in a process of its own.

    Args:
      scale: divides XXL's dimensions.
      folder: where to put the three copies of the model.

    Returns:
      The model's size and both peaks, in MB.

    Raises:
      RuntimeError: with the message of a conversion that failed.
    """
    sizes = scaled(scale)
    write_synthetic(folder / "hf", sizes)
    found = {"scale": scale, "parameters": parameters(sizes), "model_mb": parameters(sizes) * 4 / 1e6}
    for name, source, output in (("to_t5x", "hf", "t5x"), ("to_hugging_face", "t5x", "back")):
        command = [sys.executable, "-c", _CHILD, "convert", str(folder / source), str(folder / output)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        found[f"{name}_peak_mb"] = int(done.stdout.splitlines()[-1]) * 1024 / 1e6
    return found


def main() -> None:
    """Measure at two scales, and print both and the line through them at XXL's size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scales", type=int, nargs=2, default=[8, 4], help="what XXL's dimensions are divided by")
    args = parser.parse_args()
    measured = []
    for scale in args.scales:
        with tempfile.TemporaryDirectory() as folder:
            measured.append(measure(scale, Path(folder)))
            print(json.dumps(measured[-1]), flush=True)
    small, large = measured
    xxl_mb = parameters(XXL) * 4 / 1e6
    for name in ("to_t5x_peak_mb", "to_hugging_face_peak_mb"):
        slope = (large[name] - small[name]) / (large["model_mb"] - small["model_mb"])
        at_xxl = large[name] + max(0.0, slope) * (xxl_mb - large["model_mb"])
        print(json.dumps({name: {"mb_per_model_mb": slope, "xxl_model_mb": xxl_mb, "xxl_peak_mb": at_xxl}}))


if __name__ == "__main__":
    main()
