"""`t5x.train` with gin/runs/distill_captured.gin on a store of bfloat16 states: the losses that they stand for."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_or_annotate.capture import collecting, header, identity, records, writer
from distill_or_annotate.interop import parameters, shipped
from distill_or_annotate.model import DistillationObjective
from distill_or_annotate.pipeline.program import Program

_EXPERIMENT = "gin/experiments/mini_distill_captured.gin"
_N, _WIDTH, _LENGTH, _SCALE = 64, 24, 20, 0.25


@pytest.fixture(scope="module")
def captured():
    """Examples of the pool with random states, as a capture might have left them."""
    from distill_or_annotate.tasks import registry

    spec, vocabulary = registry.get("mini"), registry.vocabulary("mini")
    rng, found = np.random.default_rng(0), []
    for index, row in enumerate(registry.rows("mini", "unlabeled")[:_N]):
        text = spec.prefix + row["source"]
        inputs = np.array([*vocabulary.encode(text)[: _LENGTH - 1], 1], np.int32)
        targets = inputs[: 3 + index % 9]
        states = np.asarray(jnp.asarray(4 * rng.normal(size=(len(targets), _WIDTH)), jnp.bfloat16))
        kept = {collecting.HIDDEN: states}
        found.append(records.Record(index, False, text, inputs, targets, "t", len(targets) + 1, -1.0, kept))
    return found, rng.normal(size=(_WIDTH, 1024)).astype(np.float32)


@pytest.fixture(scope="module")
def model_dir(captured, tmp_path_factory):
    from distill_or_annotate.tasks import registry

    found, head = captured
    folder = tmp_path_factory.mktemp("run")
    store = header.Header(
        kind="hidden", task=f"mini_u{_N}", split="train", temperature=2.0, k=0, dtype="bfloat16", padding="masked",
        targets_rule="greedy", labels=(), input_tokens=_LENGTH, target_tokens=_LENGTH, counts_start=False, batch_size=8,
        shard_examples=_N, vocab_size=1024, vocabulary=identity.vocabulary(registry.vocabulary("mini")),
        teacher={"checkpoint": None, "step": 0, "fingerprint": "", "sizes": {"emb_dim": _WIDTH}}, logit_scale=_SCALE,
    )  # fmt: skip
    with writer.StoreWriter(folder / "store", store) as out:
        out.write_head(head)
        pool = (records.Example(record.text, record.inputs) for record in found)
        writer.write_all(out, pool, lambda chunk, first: found[first : first + len(chunk)])
    macros = {
        "N_UNLABELED": _N,
        "STORE": str(folder / "store"),
        "MODEL_DIR": str(folder / "model"),
        "MIN_STEPS": 6,
        "MAX_STEPS": 6,
        "LEARNING_RATE": 0.05,
        "utils.create_learning_rate_scheduler.warmup_steps": 1,
        "train.stats_period": 1,
        "train.eval_period": 0,
        "train.infer_eval_dataset_cfg": None,
        "train/utils.DatasetConfig.shuffle": False,
    }
    Program("t5x.train", (_EXPERIMENT, "gin/mesh/cpu-8.gin"), macros).run(folder / "log.txt")
    return folder / "model"


def _losses(model_dir):
    import tensorflow as tf

    found = {}
    for path in sorted((model_dir / "train").glob("events.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tag == "distill/kl_per_token":
                    found[event.step] = float(tf.make_ndarray(value.tensor))
    return [found[step] for step in sorted(found)]


def test_the_first_losses_are_those_of_the_stored_states(captured, model_dir):
    """Through bytes, SeqIO, padding and the mesh, the student meets the very states that were stored."""
    found, head = captured
    student = Program("t5x.train", (_EXPERIMENT,)).macro("MODEL")
    params = parameters.read_checkpoint(Path(shipped.checkpoint("mini_student")))[0]
    half = found[:32]

    def table(rows):
        return np.stack([np.pad(row, ((0, _LENGTH - len(row)), *((0, 0),) * (row.ndim - 1))) for row in rows])

    targets = table([record.targets for record in half])
    states = table([record.kept[collecting.HIDDEN].astype(np.float32) for record in half])
    batch = {
        "encoder_input_tokens": table([record.inputs for record in half]),
        "decoder_target_tokens": targets,
        "decoder_input_tokens": np.pad(targets[:, :-1], ((0, 0), (1, 0))),
    }
    objective = DistillationObjective(student, lambda _: states @ head * _SCALE)
    metrics = jax.jit(lambda params, batch: objective.loss_fn(params, batch, None)[1])(params, batch)
    losses = _losses(model_dir)
    assert len(losses) == 6
    assert losses[0] == pytest.approx(float(metrics["distill/kl_per_token"].compute()), rel=1e-4)


def test_it_learns_and_leaves_a_checkpoint(model_dir):
    losses = _losses(model_dir)
    assert losses[-1] < 0.97 * losses[0]
    assert (model_dir / "checkpoint_6").is_dir()
