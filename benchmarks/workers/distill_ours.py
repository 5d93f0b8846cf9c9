"""Our trainers and our capture: the paper's loop with a live teacher, and students of each kind of store."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import seqio
from distilling import KEPT_TOKENS, LEARNING_RATE, PAIRS, TEMPERATURE, decoded_rows, serve
from jax.sharding import PartitionSpec
from shapes import Shape

from distill_or_annotate.capture import collecting, identity, reading, teacher_pass, writer
from distill_or_annotate.capture.header import Header
from distill_or_annotate.capture.records import Example
from distill_or_annotate.model import DistillationOptions
from distill_or_annotate.teacher import FrozenTeacher
from distill_or_annotate.trainer.distill import DistillTrainer
from distill_or_annotate.trainer.distill_captured import CapturedTrainer
from t5x import decoding, models, optimizers, partitioning
from t5x import train_state as train_state_lib
from t5x.examples.t5 import network

_NO_END = -1  # nothing ends early, so that every system decodes and compares the same number of tokens
_KINDS = ("topk", "hidden")
_CURVE_EPOCHS = 2
_OPTIONS = DistillationOptions(temperature=TEMPERATURE, normalize_by="tokens")

optax_adamw = optimizers.wrap_optax_optimizer(optax.adamw)


class _ReadyTeacher(FrozenTeacher):
    """A frozen teacher whose parameters are in memory already."""

    def __init__(self, model: Any, partitioner: Any, params: Any, axes: Any):
        super().__init__(model, None, partitioner)
        self.params, self.axes = params, axes

    def restore(self, input_shapes: Any, input_types: Any) -> None:
        """Does nothing: there is no checkpoint."""


class _Bench:
    """Teacher, pool and students; each method named like a part of the work does it once over the pool."""

    def __init__(self, pair: str, n_batches: int):
        self.shape, student_shape = PAIRS[pair]
        self.n_batches = n_batches
        self.decoded_rows = decoded_rows(self.shape, n_batches)
        self.vocabulary = seqio.PassThroughVocabulary(self.shape.vocab, eos_id=1)
        self.partitioner = partitioning.PjitPartitioner(num_partitions=1)
        self.teacher = self._model(self.shape)
        self.student = self._model(student_shape)
        rng = np.random.default_rng(0)
        size = (n_batches, self.shape.batch, self.shape.input_tokens)
        self.inputs = rng.integers(2, self.shape.vocab, size).astype(np.int32)
        self.params = self._variables(self.teacher, 1)["params"]
        self.axes = jax.tree.map(lambda _: PartitionSpec(), self.params)
        self.start = self._variables(self.student, 2)
        self._generate = jax.jit(self._decode)
        self.generate()
        self.scratch = tempfile.TemporaryDirectory(prefix="distill_cost_")
        self.passes = {kind: self._pass(kind) for kind in _KINDS}
        self.stores = {kind: self.capture(kind) for kind in _KINDS}
        self.loops = {"live": self._live_loop(), **{kind: self._captured_loop(kind) for kind in _KINDS}}
        self.batches = {"live": self._live_batches(), **{kind: self._captured_batches(kind) for kind in _KINDS}}
        self.taken = dict.fromkeys(self.loops, 0)

    def _model(self, shape: Shape) -> models.EncoderDecoderModel:
        config = network.T5Config(
            vocab_size=shape.vocab, emb_dim=shape.d_model, num_heads=shape.n_heads, head_dim=shape.d_kv,
            mlp_dim=shape.d_ff, mlp_activations=("gelu", "linear"), num_encoder_layers=shape.n_layers,
            num_decoder_layers=shape.n_layers, dropout_rate=0.1,
        )  # fmt: skip
        module, vocabulary = network.Transformer(config), self.vocabulary
        return models.EncoderDecoderModel(
            module, vocabulary, vocabulary, optax_adamw(LEARNING_RATE), decode_fn=decoding.temperature_sample
        )

    def _variables(self, model: Any, seed: int) -> Any:
        shapes = {
            "encoder_input_tokens": (self.shape.batch, self.shape.input_tokens),
            "decoder_input_tokens": (self.shape.batch, self.shape.target_tokens),
            "decoder_target_tokens": (self.shape.batch, self.shape.target_tokens),
        }
        return jax.jit(lambda key: model.get_initial_variables(key, shapes))(jax.random.PRNGKey(seed))

    def _decode(self, params: Any, inputs: jax.Array) -> jax.Array:
        blank = jnp.zeros((self.decoded_rows, self.shape.target_tokens), jnp.int32)
        batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": blank}
        options = {"eos_id": _NO_END, "topk": 1}
        return self.teacher.predict_batch_with_aux(params, batch, decoder_params=options)[0]

    def generate(self) -> None:
        """The paper's first stage: the teacher's greedy targets."""
        rows = self.inputs.reshape(-1, self.decoded_rows, self.shape.input_tokens)
        targets = [np.asarray(self._generate(self.params, inputs)) for inputs in rows]
        self.targets = np.reshape(targets, (self.n_batches, self.shape.batch, self.shape.target_tokens))

    def _pass(self, kind: str) -> teacher_pass.TeacherPass:
        shape, config = self.shape, self.teacher.module.config
        self.head, tied, scale = identity.head(self.params, config)
        store = Header(
            kind=kind, task="benchmark", split="train", temperature=TEMPERATURE,
            k=min(KEPT_TOKENS, shape.vocab) if kind == "topk" else 0, dtype=collecting.stored_dtype(kind),
            padding="masked", targets_rule="greedy", labels=(), input_tokens=shape.input_tokens,
            target_tokens=shape.target_tokens, counts_start=False, batch_size=self.decoded_rows,
            shard_examples=shape.batch * self.n_batches, vocab_size=shape.vocab,
            vocabulary=identity.vocabulary(self.vocabulary), teacher=identity.teacher(self.params, config, None),
            tied=tied, logit_scale=scale,
        )  # fmt: skip
        return teacher_pass.TeacherPass(
            self.teacher, self.params, self.axes, self.partitioner, store, str, eos_id=_NO_END
        )

    def capture(self, kind: str) -> Path:
        """One pass of the teacher: greedy targets, and the distributions, to a store on disk."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch.name))
        run = self.passes[kind]
        rows = self.inputs.reshape(-1, self.shape.input_tokens)
        with writer.StoreWriter(folder, run._store) as out:
            if kind == "hidden":
                out.write_head(self.head)
            writer.write_all(out, (Example(f"example {i}", row) for i, row in enumerate(rows)), run)
        return folder

    def _arguments(self) -> dict[str, Any]:
        # A copy: a trainer gives its state's memory away.
        start = jax.tree.map(jnp.copy, self.start)
        state = train_state_lib.FlaxOptimTrainState.create(self.student.optimizer_def, start)
        return {
            "model": self.student, "train_state": state, "partitioner": self.partitioner, "eval_names": [],
            "summary_dir": None, "train_state_axes": self.partitioner.get_mesh_axes(state),
            "rng": jax.random.PRNGKey(3), "learning_rate_fn": lambda step: LEARNING_RATE, "num_microbatches": None,
            "options": _OPTIONS,
        }  # fmt: skip

    def _live_loop(self) -> DistillTrainer:
        loop = DistillTrainer(
            teacher_model=self.teacher, teacher_restore_cfg=None, teacher_partitioner=self.partitioner,
            **self._arguments(),
        )  # fmt: skip
        loop.teacher = _ReadyTeacher(self.teacher, self.partitioner, self.params, self.axes)
        return loop

    def _captured_loop(self, kind: str) -> CapturedTrainer:
        return CapturedTrainer(store=self.stores[kind], **self._arguments())

    def _live_batches(self) -> Iterator[dict[str, np.ndarray]]:
        while True:
            for inputs, targets in zip(self.inputs, self.targets, strict=True):
                yield {
                    "encoder_input_tokens": inputs,
                    "decoder_target_tokens": targets,
                    "decoder_input_tokens": np.pad(targets[:, :-1], ((0, 0), (1, 0))),
                    "decoder_loss_weights": (targets > 0).astype(np.int32),
                }

    def _captured_batches(self, kind: str) -> Iterator[dict[str, np.ndarray]]:
        """The store as the trainer's own input pipeline reads it, in order."""
        name = reading.captured("benchmark", self.stores[kind], self.vocabulary)
        lengths = {"inputs": self.shape.input_tokens, "targets": self.shape.target_tokens}
        converter = reading.feature_converter()(pack=False)
        found = seqio.get_dataset(name, lengths, dataset_split="train", shuffle=False, feature_converter=converter)
        return found.batch(self.shape.batch, drop_remainder=True).repeat().prefetch(2).as_numpy_iterator()

    def train(self, kind: str, steps: int) -> float:
        """Takes steps and returns their mean loss per token."""
        loop = self.loops[kind]
        metrics = loop.train(self.batches[kind], steps, start_step=self.taken[kind]).result()
        self.taken[kind] += steps
        jax.block_until_ready(loop.train_state.params)
        return float(metrics["distill/kl_per_token"].value)

    def curves(self) -> dict[str, list[float]]:
        """Each student's losses over the first epochs, step by step, from the same start on the same batches."""
        for kind, loop in self.loops.items():
            loop.compile_train(next(self._live_batches() if kind == "live" else self._captured_batches(kind)))
        return {kind: [self.train(kind, 1) for _ in range(_CURVE_EPOCHS * self.n_batches)] for kind in self.loops}

    def losses(self) -> dict[str, float]:
        """Each student against the live teacher over the whole vocabulary and the pool, without dropout."""
        loss = jax.jit(lambda student, teacher, batch: self.loops["live"].objective(teacher).loss_fn(
            student, batch, None)[0])  # fmt: skip
        batches, found = self._live_batches(), dict.fromkeys(self.loops, 0.0)
        for batch in (next(batches) for _ in range(self.n_batches)):
            for kind, loop in self.loops.items():
                found[kind] += float(loss(loop.train_state.params, self.params, batch)) / self.n_batches
        return found


def prepare(pair: str, n_batches: int):
    """Returns the parts of the work, each over the pool, and facts for the report.

    Args:
      pair: name of teacher and student.
      n_batches: batches of the pool, at least 1.
    """
    bench = _Bench(pair, n_batches)
    curves = bench.curves()
    stored = {kind: reading.finished(folder) for kind, folder in bench.stores.items()}
    captured = {kind: next(bench._captured_batches(kind))["decoder_target_tokens"] for kind in _KINDS}
    facts = {
        "losses_by_step": curves,
        "final_losses": bench.losses(),
        "store_bytes": {kind: header.counts["bytes"] for kind, header in stored.items()},
        "head_bytes": (bench.stores["hidden"] / writer.HEAD).stat().st_size,
        "targets_agree": {kind: float(np.mean(ids == bench.targets[0])) for kind, ids in captured.items()},
    }
    parts = {"generate": bench.generate}
    parts |= {f"capture_{kind}": lambda kind=kind: bench.capture(kind) for kind in _KINDS}
    parts |= {kind: lambda kind=kind: bench.train(kind, n_batches) for kind in bench.loops}
    return parts, facts


if __name__ == "__main__":
    serve(prepare, {"jax": jax.__version__, "t5x": str(os.path.dirname(models.__file__))})
