"""Training steps and the loop, with a small network on eight real virtual devices."""

from __future__ import annotations

import functools
import threading

import flax.core
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.linen import partitioning as flax_partitioning
from jax.sharding import PartitionSpec as P

from t5x import adafactor, metrics, optimizers, partitioning, train_state, trainer

VOCAB, EMBED, MLP, BATCH, LENGTH = 16, 8, 16, 16, 5
MESHES = {"1x8": 8, "2x4": 4, "8x1": 1}


class Net(nn.Module):
    """Predicts each token from itself: embedding, one hidden layer, logits."""

    dropout_rate: float = 0.0
    mlp: int = MLP

    @nn.compact
    def __call__(self, tokens, enable_dropout):
        init = nn.initializers.normal(0.3)
        table = flax_partitioning.param_with_axes("table", init, (VOCAB, EMBED), axes=("vocab", "embed"))
        w_in = flax_partitioning.param_with_axes("w_in", init, (EMBED, self.mlp), axes=("embed", "mlp"))
        w_out = flax_partitioning.param_with_axes("w_out", init, (self.mlp, EMBED), axes=("mlp", "embed"))
        x = flax_partitioning.with_sharding_constraint(table[tokens], ("batch", "length", "embed"))
        x = nn.Dropout(self.dropout_rate)(x, deterministic=not enable_dropout)
        return nn.relu(x @ w_in) @ w_out @ table.T


class Model:
    """A summed cross-entropy over tokens, as T5X models have."""

    def __init__(self, optimizer_def, dropout_rate=0.0, mlp=MLP):
        self.module = Net(dropout_rate, mlp)
        self.optimizer_def = optimizer_def

    def logits(self, params, batch, dropout_rng=None):
        rngs = None if dropout_rng is None else {"dropout": dropout_rng}
        return self.module.apply({"params": params}, batch["tokens"], dropout_rng is not None, rngs=rngs)

    def loss_fn(self, params, batch, dropout_rng):
        log_probs = jax.nn.log_softmax(self.logits(params, batch, dropout_rng))
        loss = -jnp.sum(jnp.take_along_axis(log_probs, batch["targets"][..., None], axis=-1))
        found = {
            "loss": metrics.AveragePerStep.from_model_output(loss),
            "timing/steps_per_second": metrics.StepsPerTime.from_model_output(),
            "timing/seqs_per_second": metrics.TimeRate.from_model_output(numerator=batch["tokens"].shape[0]),
        }
        return loss, found

    def eval_fn(self, params, batch):
        return self.loss_fn(params, batch, None)

    def initial_variables(self, seed=0):
        return _initial_variables(self.module, seed)


@functools.cache
def _initial_variables(module, seed):
    return module.init(jax.random.PRNGKey(seed), jnp.zeros((1, LENGTH), jnp.int32), False)


def batches(n, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        tokens = rng.integers(0, VOCAB, (BATCH, LENGTH), dtype=np.int32)
        yield {"tokens": tokens, "targets": (tokens * 3 + 1) % VOCAB}


def partitioner(model_size=1, **kwargs):
    assert jax.device_count() == 8
    return partitioning.PjitPartitioner(model_parallel_submesh=(1, model_size, 1, 1), **kwargs)


def adafactor_def():
    return adafactor.Adafactor(logical_factor_rules=adafactor.standard_logical_factor_rules())


def make_trainer(model=None, part=None, cls=trainer.Trainer, num_microbatches=None, rate=0.01, **kwargs):
    model = model or Model(optimizers.sgd(0.01))
    part = part or partitioner()
    state = train_state.FlaxOptimTrainState.create(model.optimizer_def, model.initial_variables())
    axes = part.get_mesh_axes(state)
    kwargs = {"summary_dir": None, "learning_rate_fn": lambda step: rate} | kwargs
    return cls(
        model=model,
        train_state=part.move_params_to_devices(state, axes),
        partitioner=part,
        eval_names=["task"],
        train_state_axes=axes,
        rng=jax.random.PRNGKey(1),
        num_microbatches=num_microbatches,
        **kwargs,
    )


def run_losses(n_steps=4, **kwargs):
    with make_trainer(**kwargs) as t:
        feed = batches(n_steps)
        losses = [float(t.train(feed, 1).result()["loss"].value) for _ in range(n_steps)]
        return losses, jax.device_get(t.train_state.params)


@functools.cache
def reference():
    return run_losses(model=Model(adafactor_def()), part=partitioner(1))


@pytest.mark.parametrize("mesh", MESHES)
def test_every_mesh_gives_one_trajectory(mesh):
    losses, params = run_losses(model=Model(adafactor_def()), part=partitioner(MESHES[mesh]))
    want_losses, want_params = reference()
    assert want_losses[-1] < want_losses[0]
    np.testing.assert_allclose(losses, want_losses, rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), params, want_params)


def test_four_microbatches_give_the_trajectory_of_one():
    losses, params = run_losses(model=Model(adafactor_def()), part=partitioner(4), num_microbatches=4)
    np.testing.assert_allclose(losses, reference()[0], rtol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), params, reference()[1])


def gradients(model, num_microbatches, rows=None):
    state = train_state.FlaxOptimTrainState.create(model.optimizer_def, model.initial_variables())
    batch = rows or next(batches(1))
    return _accumulate(model, num_microbatches)(state, batch, jax.random.PRNGKey(7))


def _accumulate(model, num_microbatches):
    return jax.jit(
        lambda state, batch, key: trainer.accumulate_grads_microbatched(model, state, batch, key, num_microbatches)
    )


@pytest.mark.parametrize("num_microbatches", [2, 16])
def test_slices_add_up_to_the_gradient_and_metrics_of_the_batch(num_microbatches):
    model = Model(adafactor_def())
    want, want_metrics, _ = gradients(model, None)
    got, got_metrics, _ = gradients(model, num_microbatches)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), got, want)
    assert float(got_metrics["loss"].total) == pytest.approx(float(want_metrics["loss"].total), rel=1e-5)
    assert float(got_metrics["timing/seqs_per_second"].numerator) == BATCH


def test_dropout_masks_differ_between_microbatches():
    # Sixteen equal rows: with one mask for all, every slice would give the same gradient of the table.
    row = {"tokens": np.full((BATCH, LENGTH), 3, np.int32), "targets": np.full((BATCH, LENGTH), 5, np.int32)}
    half = {name: rows[: BATCH // 2] for name, rows in row.items()}
    model = Model(adafactor_def(), dropout_rate=0.5)
    both, _, _ = gradients(model, 2, row)
    state = train_state.FlaxOptimTrainState.create(model.optimizer_def, model.initial_variables())
    key, accumulate = jax.random.PRNGKey(7), _accumulate(model, None)
    slices = [accumulate(state, half, jax.random.fold_in(key, i))[0] for i in (0, 1)]
    assert not np.allclose(slices[0]["w_in"], slices[1]["w_in"], rtol=1e-3)
    np.testing.assert_allclose(both["w_in"], slices[0]["w_in"] + slices[1]["w_in"], rtol=1e-4, atol=1e-6)


def test_gradients_of_slices_are_summed_in_float32():
    model = Model(adafactor_def())
    state = train_state.FlaxOptimTrainState.create(model.optimizer_def, model.initial_variables())
    state = state.replace_params(jax.tree.map(lambda x: x.astype(jnp.bfloat16), state.params))
    grads, _, _ = _accumulate(model, 2)(state, next(batches(1)), jax.random.PRNGKey(0))
    assert {x.dtype for x in jax.tree.leaves(grads)} == {jnp.dtype(jnp.float32)}


def test_a_number_of_microbatches_that_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"num_microbatches=3 must divide the batch of 16"):
        gradients(Model(adafactor_def()), 3)


def test_sgd_walks_down_a_quadratic_as_by_hand():
    class Quadratic:
        optimizer_def = optimizers.sgd(0.1)

        def loss_fn(self, params, batch, dropout_rng):
            loss = jnp.sum(0.5 * batch["scale"] * params["x"] ** 2)
            return loss, {"loss": metrics.AveragePerStep.from_model_output(loss)}

    variables = {"params": {"x": jnp.full((1,), 2.0)}}
    state = train_state.FlaxOptimTrainState.create(Quadratic.optimizer_def, variables)
    batch = {"scale": np.full((4,), 1.0, np.float32)}  # gradient 4 x, so x shrinks by 1 - 0.1 * 4 = 0.6 a step
    for expected in (1.2, 0.72, 0.432):
        state, found = trainer.train_with_lr(state, batch, 0.5, jax.random.PRNGKey(0), Quadratic(), 2)
        assert float(state.params["x"][0]) == pytest.approx(expected)
    assert int(state.step) == 3 and float(found["learning_rate"].compute()) == 0.5


def test_mutables_pass_through_slices_and_into_the_state():
    class Counting(Model):
        def loss_fn(self, params, batch, dropout_rng, mutables):
            loss, found = super().loss_fn(params, batch, dropout_rng)
            return loss, (found, {"count": {"rows": mutables["count"]["rows"] + batch["tokens"].shape[0]}})

    model = Counting(adafactor_def())
    variables = {**model.initial_variables(), "count": {"rows": jnp.zeros((), jnp.int32)}}
    state = train_state.FlaxOptimTrainState.create(model.optimizer_def, variables)
    state = state.replace_flax_mutables(flax.core.unfreeze(state.flax_mutables))
    state, _ = trainer.train_with_lr(state, next(batches(1)), 0.1, jax.random.PRNGKey(0), model, 4)
    assert int(state.flax_mutables["count"]["rows"]) == BATCH


def test_parameters_and_moments_keep_their_specs_through_a_step():
    with make_trainer(Model(adafactor_def()), partitioner(4)) as t:
        t.train(batches(1), 1).result()
        specs = {name: x.sharding.spec for name, x in t.train_state.params.items()}
        assert specs == {"table": P("model", None), "w_in": P(None, "model"), "w_out": P("model", None)}
        assert t.train_state.param_states["w_in"].v.sharding.spec == P(None, "model")
        assert t.train_state.params["w_in"].addressable_shards[0].data.shape == (EMBED, MLP // 4)


def test_the_train_state_is_donated_and_compiled_and_uncompiled_steps_agree():
    plain = reference()[0]
    with make_trainer(Model(adafactor_def())) as t:
        feed = batches(4)
        t.compile_train({k: np.ones_like(x) for k, x in next(batches(1)).items()})
        before = t.train_state.params["w_in"]
        losses = [float(t.train(feed, 1).result()["loss"].value) for _ in range(4)]
        assert before.is_deleted()
    np.testing.assert_allclose(losses, plain, rtol=1e-6)


def test_values_cover_the_steps_of_the_piece():
    schedule = lambda step: 0.1 * (step + 1)  # noqa: E731
    with make_trainer(learning_rate_fn=schedule) as t:
        values = t.train(batches(20), 20).result()
        assert int(t.train_state.step) == 20
    assert float(values["learning_rate"].value) == pytest.approx(0.1 * 10.5)  # mean of 1..20
    assert float(values["learning_rate/current"].value) == pytest.approx(2.0)
    by_one, _ = run_losses(20, learning_rate_fn=schedule)
    assert float(values["loss"].value) == pytest.approx(np.mean(by_one), rel=1e-5)
    rate = float(values["timing/seqs_per_second"].value)
    assert rate == pytest.approx(BATCH * float(values["timing/steps_per_second"].value)) and rate > 0


def test_no_more_than_the_bound_of_steps_is_in_flight(monkeypatch):
    most = 0
    real = trainer.BaseTrainer._wait_for_oldest

    def watch(self, found):
        nonlocal most
        real(self, found)
        most = max(most, len(self._in_flight))

    monkeypatch.setattr(trainer.BaseTrainer, "_wait_for_oldest", watch)
    with make_trainer() as t:
        feed = batches(40)
        for _ in range(40):  # pieces of one step: the bound holds across calls too
            t.train(feed, 1, start_step=0)
    assert most == trainer.MAX_STEPS_IN_FLIGHT


def test_an_iterator_that_fails_leaves_a_whole_state():
    def preempted():
        yield from batches(2)
        raise trainer.PreemptionError("gone")

    with make_trainer() as t:
        with pytest.raises(trainer.PreemptionError):
            t.train(preempted(), 5)
        assert int(t.train_state.step) == 2
        assert np.isfinite(jax.device_get(t.train_state.params["w_in"])).all()


def test_eval_runs_to_the_end_of_the_iterator_and_leaves_the_state_alone():
    with make_trainer() as t:
        first = next(batches(1))
        t.compile_eval({"task": first})
        values = t.eval({"task": batches(3)})["task"]
        want = [float(t._model.eval_fn(t.train_state.params, batch)[0]) for batch in batches(3)]
        assert float(values["loss"].value) == pytest.approx(np.mean(want), rel=1e-5)
        assert not t.train_state.params["w_in"].is_deleted()
        with pytest.raises(ValueError, match="has no batch"):
            t.eval({"task": iter(())})
        with pytest.raises(ValueError, match=r"Unknown evaluation 'tusk'.*\['task'\]"):
            t.eval({"tusk": batches(1)})


def test_weight_metrics_are_those_of_the_update():
    model = Model(optimizers.sgd(0.1))
    with make_trainer(model, weight_metrics_computer=trainer.WeightMetricsComputer()) as t:
        old = jax.device_get(t.train_state.params["w_in"])
        values = t.train(batches(1), 1).result()
        new = jax.device_get(t.train_state.params["w_in"])
    rms = lambda x: np.sqrt(np.mean(np.square(x)))  # noqa: E731
    assert float(values["weight_rms/w_in"].value) == pytest.approx(rms(old), rel=1e-5)
    assert float(values["weight_update_rms/w_in"].value) == pytest.approx(rms(new - old), rel=1e-4)
    assert float(values["weight_gradient_rms/w_in"].value) == pytest.approx(rms((new - old) / 0.1), rel=1e-4)
    assert float(values["weight_max/w_in"].value) == pytest.approx(np.abs(old).max(), rel=1e-6)
    assert float(values["weight_gradient_norm"].value) > 0


class Distilling(trainer.Trainer):
    """A subclass as in section 7.3 of the interface: a frozen, sharded second tree as a third argument."""

    def __init__(self, teacher, teacher_params, teacher_axes, **kwargs):
        super().__init__(**kwargs)
        self.teacher, self.teacher_params, self.teacher_axes = teacher, teacher_params, teacher_axes

    @property
    def _partitioned_train_step(self):
        def step(state, teacher_params, batch):
            return trainer.train_with_lr(
                state,
                batch,
                learning_rate=self._learning_rate_fn(state.step),
                dropout_rng=self._get_step_rng(state.step),
                model=Distance(self._model, self.teacher, teacher_params),
                num_microbatches=self._num_microbatches,
                data_partition_spec=self._partitioner.data_partition_spec,
            )

        inner = self._partitioner.partition(
            step,
            in_axis_resources=(self._train_state_axes, self.teacher_axes, self._partitioner.data_partition_spec),
            out_axis_resources=(self._train_state_axes, None),
            donate_argnums=(0,),
        )
        return TwoArguments(inner, self.teacher_params)


class Distance:
    def __init__(self, student, teacher, teacher_params):
        self.student, self.teacher, self.teacher_params = student, teacher, teacher_params

    def loss_fn(self, params, batch, dropout_rng):
        target = jax.lax.stop_gradient(self.teacher.logits(self.teacher_params, batch))
        loss = jnp.sum(jnp.square(self.student.logits(params, batch, dropout_rng) - target))
        return loss, {"distance": metrics.AveragePerStep.from_model_output(loss)}


class TwoArguments:
    def __init__(self, fn, teacher_params):
        self.fn, self.teacher_params = fn, teacher_params

    def __call__(self, state, batch):
        return self.fn(state, self.teacher_params, batch)

    def lower(self, state, batch):
        lowered, params = self.fn.lower(state, self.teacher_params, batch), self.teacher_params

        class Lowered:
            def compile(self):
                return TwoArguments(lowered.compile(), params)

        return Lowered()


@pytest.mark.parametrize(
    "model_size,num_microbatches,is_compiled", [(1, None, True), (2, 4, True), (8, 2, True), (4, None, False)]
)
def test_a_subclass_can_carry_a_frozen_sharded_teacher(model_size, num_microbatches, is_compiled):
    part = partitioner(model_size)
    teacher = Model(None, mlp=32)
    teacher_state = train_state.InferenceState.create(teacher.initial_variables(seed=5))
    axes = part.get_mesh_axes(teacher_state)
    params = part.move_params_to_devices(teacher_state, axes).params
    copy = jax.device_get(params)
    cls = functools.partial(Distilling, teacher, params, axes.params)
    with make_trainer(Model(optimizers.adam(0.01), mlp=8), part, cls, num_microbatches) as t:
        feed = batches(6)
        if is_compiled:
            t.compile_train({k: np.ones_like(x) for k, x in next(batches(1)).items()})
        found = [float(t.train(feed, 1).result()["distance"].value) for _ in range(3)]
        found.append(float(t.train(feed, 3).result()["distance"].value))
        assert found[-1] < found[0]
        assert not any(x.is_deleted() for x in jax.tree.leaves(params)), "the teacher was donated"
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(params), copy)
        assert params["w_in"].sharding.spec == P(None, "model")
        shapes = {x.shape for x in jax.tree.leaves(t.train_state)}
        assert not shapes & {(EMBED, 32), (32, EMBED)}, "the teacher is in the train state"


def test_the_batch_may_be_spread_over_both_mesh_axes():
    rules = [("batch", ("data", "model")), ("vocab", None), ("mlp", None), ("embed", None), ("length", None)]
    losses, _ = run_losses(model=Model(adafactor_def()), part=partitioner(4, logical_axis_rules=rules))
    np.testing.assert_allclose(losses, reference()[0], rtol=1e-4)


def test_closing_joins_every_thread():
    before = set(threading.enumerate())
    with make_trainer() as t:
        t.train(batches(2), 2).result()
        t.eval({"task": batches(1)})
    assert set(threading.enumerate()) <= before


def test_optax_inside_the_trainer_ignores_the_trainers_rate_but_reports_it():
    model = Model(optimizers.chain([optax.clip_by_global_norm(1.0), optax.sgd(0.0)]))
    with make_trainer(model, rate=0.7) as t:
        old = jax.device_get(t.train_state.params["w_in"])
        values = t.train(batches(1), 1).result()
        np.testing.assert_array_equal(old, jax.device_get(t.train_state.params["w_in"]))
    assert float(values["learning_rate"].value) == pytest.approx(0.7)
