"""Operations of each T5 v1.1 size at each task's lengths: `python benchmarks/model_flops.py`.

Writes distill_or_annotate/costs/model_flops.json, by which studies cost sizes that their price book does not price.
Counted on the jaxpr over shapes alone, as `doa forecast` counts; nothing is compiled, no parameter is made. Of
each model a forward pass is written; what a training step and a decoding take is counted too, and must be 3 and 1 times
that, as costs/model_flops.py has it. A minute and a half of one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
from distill_flops import model_of, params_of
from rich.console import Console
from rich.progress import track

sys.path.insert(0, str(Path(__file__).parent / "workers"))

from shapes import Shape

from distill_or_annotate import paper
from distill_or_annotate.capture import decoding
from distill_or_annotate.costs import model_flops
from distill_or_annotate.forecast.flops import count_flops
from distill_or_annotate.losses import TeacherLogits
from distill_or_annotate.model import DistillationObjective, DistillationOptions

_BATCH = 32
# d_model, d_kv, d_ff, heads, layers of encoder and of decoder.
_T5 = {
    "t5_1_1_small": Shape(512, 64, 1024, 6, 8),
    "t5_1_1_base": Shape(768, 64, 2048, 12, 12),
    "t5_1_1_large": Shape(1024, 64, 2816, 16, 24),
    "t5_1_1_xl": Shape(2048, 64, 5120, 32, 24),
    "t5_1_1_xxl": Shape(4096, 64, 10240, 64, 24),
}
_MINI = {"mini_student": Shape(64, 32, 128, 2, 2), "mini_teacher": Shape(160, 32, 320, 5, 4)}
# Of the embedded task and its vocabulary.
_MINI_LENGTHS = {"input_tokens": 20, "target_tokens": 20, "vocab": 1024}


def of_an_example(shape: Shape) -> dict[str, int]:
    """Operations on one example, padded to the task's lengths: a batch's, divided.

    Args:
      shape: the network and its batch.

    Returns:
      `forward` (a pass with a target), `decode` (the paper's greedy pass, as long as a target may be), `finetune` (a
      training step on labels) and `distill` (one on a teacher's logits, the teacher not included).
    """
    model = model_of(shape)
    params = params_of(model, shape)
    inputs = jax.ShapeDtypeStruct((shape.batch, shape.input_tokens), jnp.int32)
    ids = jax.ShapeDtypeStruct((shape.batch, shape.target_tokens), jnp.int32)
    batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": ids, "decoder_target_tokens": ids}
    logits = jax.ShapeDtypeStruct((shape.batch, shape.target_tokens, shape.vocab), jnp.float32)

    def forward(params, batch):
        return model._compute_logits(params, batch, None)

    def finetune(params, batch):
        return jax.grad(lambda p: model.loss_fn(p, batch, jax.random.PRNGKey(0))[0])(params)

    def distill(params, batch, logits):
        options = DistillationOptions(temperature=2.0, normalize_by="tokens")
        objective = DistillationObjective(model, lambda seen: TeacherLogits(logits), options)
        return jax.grad(lambda p: objective.loss_fn(p, batch, jax.random.PRNGKey(0))[0])(params)

    def decode(params, inputs):
        return decoding.decode(model, params, inputs, n_positions=shape.target_tokens, collect=lambda *_: {})

    counts = {
        "finetune": count_flops(finetune, params, batch).total,
        "forward": count_flops(forward, params, batch).total,
        "decode": count_flops(decode, params, inputs, while_trip_count=shape.target_tokens).total,
        "distill": count_flops(distill, params, batch, logits).total,
    }
    return {name: round(count / shape.batch) for name, count in counts.items()}


def main() -> None:
    """Counts and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog="example: python benchmarks/model_flops.py --out counted.json"
    )
    parser.add_argument("--out", type=Path, default=model_flops.FILE, help="the file to write")
    args = parser.parse_args()
    wanted = [("mini", name, dataclasses.replace(shape, **_MINI_LENGTHS)) for name, shape in _MINI.items()]
    for task in paper.task_names():
        facts = paper.task(task)
        lengths = {f"{side}_tokens": facts[f"max_{which}_tokens"]["value"] for side, which in model_flops.LENGTHS}
        wanted += [(task, name, dataclasses.replace(shape, batch=_BATCH, **lengths)) for name, shape in _T5.items()]
    counted: dict[str, dict[str, int]] = {}
    for task, name, shape in track(wanted, "count", console=Console(stderr=True), transient=True):
        found = of_an_example(shape)
        passes = {kind: round(count / found["forward"], 2) for kind, count in found.items()}
        step = model_flops.STEP_PASSES
        if passes != {"forward": 1, "decode": 1, "finetune": step, "distill": step}:
            sys.exit(f"{name} on {task}: in forward passes {passes}; costs/model_flops.py counts a step as {step}")
        counted.setdefault(task, {})[name] = found["forward"]
    args.out.write_text(json.dumps(counted, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
