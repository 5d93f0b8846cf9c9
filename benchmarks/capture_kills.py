"""Kills a capture at random moments and counts its examples: each must be there once, and every byte as written.

  python benchmarks/capture_kills.py --kills 20

The pool is the embedded task `mini`, the teacher is a small one with fresh parameters, and each attempt is a process
of its own that is sent SIGKILL after a random while, drawn over the whole of an attempt: start, compiling, shards,
predictions. The shards are small, so that kills fall between and within them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_ROOT = Path(__file__).parents[1]

EXAMPLE = "python benchmarks/capture_kills.py --kills 20"


def attempt(folder: Path, teacher: Path, n_examples: int, shard_examples: int, delay_seconds: float) -> list[str]:
    """The command of one attempt.

    Args:
      folder: the store's folder.
      teacher: the teacher's model folder.
      n_examples: examples of the pool.
      shard_examples: examples of a shard.
      delay_seconds: a pause after each shard, so that there is time to be killed in.

    Returns:
      Its words.
    """
    words = ["--folder", folder, "--teacher", teacher, "--examples", n_examples, "--shard-examples", shard_examples]
    return [sys.executable, __file__, "--attempt", *map(str, words), "--delay", str(delay_seconds)]


def run_attempt(given: argparse.Namespace) -> None:
    """Captures in this process, with the arguments `given`."""
    from distill_or_annotate.capture import capturing, writer
    from distill_or_annotate.tasks import variants
    from t5x import partitioning, utils

    write = writer.StoreWriter.write

    def slowly(self, shard, captured):
        def one_by_one():
            for record in captured:
                time.sleep(given.delay / given.shard_examples)
                yield record

        return write(self, shard, one_by_one())

    writer.StoreWriter.write = slowly
    capturing.capture(
        model=tiny_teacher(),
        dataset_cfg=utils.DatasetConfig(
            mixture_or_task_name=variants.unlabeled("mini", given.examples),
            task_feature_lengths={"inputs": 20, "targets": 8},
            split="train",
            batch_size=16,
            shuffle=False,
            seed=0,
        ),
        restore_checkpoint_cfg=utils.RestoreCheckpointConfig(path=given.teacher, mode="latest"),
        partitioner=partitioning.PjitPartitioner(num_partitions=1),
        output_dir=given.folder,
        k=4,
        shard_examples=given.shard_examples,
    )


def tiny_teacher():
    """A teacher that compiles in a second, over the vocabulary of `mini`."""
    from distill_or_annotate.tasks import registry
    from t5x import adafactor, models
    from t5x.examples.t5 import network

    config = network.T5Config(
        vocab_size=1024, emb_dim=16, num_heads=2, head_dim=8, mlp_dim=16, num_encoder_layers=1, num_decoder_layers=1
    )
    vocabulary = registry.vocabulary("mini")
    return models.EncoderDecoderModel(network.Transformer(config=config), vocabulary, vocabulary, adafactor.Adafactor())


def write_teacher(folder: Path) -> None:
    """Writes the tiny teacher's fresh parameters to `folder`."""
    import jax

    from distill_or_annotate.interop import parameters

    shapes = {"encoder_input_tokens": (2, 8), "decoder_input_tokens": (2, 8)}
    params = tiny_teacher().get_initial_variables(jax.random.PRNGKey(0), shapes)["params"]
    parameters.write_checkpoint(params.unfreeze() if hasattr(params, "unfreeze") else params, folder)


def kill_and_count(
    work: Path, kills: int, n_examples: int = 640, shard_examples: int = 32, delay_seconds: float = 0.25, seed: int = 0
) -> dict[str, object]:
    """Kills a capture again and again, lets it finish, and looks at what it left.

    Args:
      work: an empty folder.
      kills: how many times.
      n_examples: examples of the pool.
      shard_examples: examples of a shard.
      delay_seconds: a pause for each shard.
      seed: of the moments.

    Returns:
      Counts: `kills`, `whole_shards_at_kill`, `examples`, `each_once`, `damages`, `predictions`.
    """
    teacher, folder = work / "teacher", work / "store"
    write_teacher(teacher)
    words = attempt(folder, teacher, n_examples, shard_examples, delay_seconds)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_COMPILATION_CACHE_DIR": str(work / "compiled")}
    drawn, whole = random.Random(seed), []
    n_shards = -(-n_examples // shard_examples)
    for _ in range(kills):
        before = len(list(folder.glob("part-*.json")))
        process = subprocess.Popen(
            words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=_ROOT
        )
        # One kill in five falls at any time (most of it is start-up), the others once some more work was done.
        if drawn.random() < 0.8 and before < n_shards:
            goal = before + drawn.randint(0, 2)
            while process.poll() is None and len(list(folder.glob("part-*.json"))) < min(goal, n_shards):
                time.sleep(0.01)
            time.sleep(drawn.uniform(0, delay_seconds))
        else:
            time.sleep(drawn.uniform(0.5, 20))
        process.send_signal(signal.SIGKILL)
        process.wait()
        whole.append(len(list(folder.glob("part-*.json"))))
    subprocess.run(words, env=environment, check=True, capture_output=True, cwd=_ROOT)
    return {"kills": kills, "whole_shards_at_kill": whole, **count(folder)}


def count(folder: Path) -> dict[str, object]:
    """What a store holds: examples, whether each is there once, damages, lines of predictions.

    Args:
      folder: the store's folder.

    Returns:
      Counts by name.
    """
    from distill_or_annotate.capture import frames, header, records, writer

    store = header.read(folder)
    types = records.feature_types(store)
    found = [
        records.parse(frame[12:-4], types).index
        for index in writer.indices(folder)
        for frame in frames.read_frames(folder / index.file)
    ]
    lines = sum(len(path.read_text().splitlines()) for path in folder.glob("*-predict.jsonl-?????-of-?????"))
    return {
        "examples": len(found),
        "each_once": sorted(found) == list(range(store.counts["examples"])),
        "damages": writer.verify(folder),
        "scratch_files": len(list(folder.glob("*.tmp-*"))),
        "predictions": lines,
    }


def main() -> int:
    """Runs the whole, or one attempt of it; the exit status is 0 when every example is there once."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], epilog=f"example: {EXAMPLE}")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--examples", type=int, default=640)
    parser.add_argument("--shard-examples", type=int, default=32)
    parser.add_argument("--delay", type=float, default=0.25, help="seconds for each shard")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attempt", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--teacher", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.attempt:
        run_attempt(given)
        return 0
    work = Path(tempfile.mkdtemp(prefix="capture_kills-"))
    try:
        found = kill_and_count(work, given.kills, given.examples, given.shard_examples, given.delay, given.seed)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(json.dumps(found))
    return 0 if found["each_once"] and not found["damages"] and found["examples"] == given.examples else 1


if __name__ == "__main__":
    sys.exit(main())
