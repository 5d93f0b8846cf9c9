"""The step benchmark prints what docs/performance.md quotes, and its levers change the time, not the result."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5x import losses
from t5x.examples.t5 import layers

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def levers():
    spec = importlib.util.spec_from_file_location("levers", _BENCHMARKS / "levers.py")
    module = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = before
    return module


def test_the_report_names_systems_and_gives_seconds_for_all_work(tmp_path):
    file = tmp_path / "report.json"
    command = [sys.executable, str(_BENCHMARKS / "step_time.py"), "--work", "train:tiny", "decode:tiny", "start:tiny"]
    subprocess.run([*command, "--rounds", "1", "--repeat", "1", "--output", str(file)], check=True, capture_output=True)
    report = json.loads(file.read_text())
    assert set(report["systems"]) == {"ours"}
    assert {name for row in report["work"].values() for name in row["median_seconds"]} == {
        "ours", "ours_cold", "ours_cached",
    }  # fmt: skip
    assert all(seconds > 0 for row in report["work"].values() for seconds in row["median_seconds"].values())
    assert (
        report["work"]["train:tiny"]["first_seconds"]["ours"] > report["work"]["train:tiny"]["median_seconds"]["ours"]
    )


def test_a_lever_taken_back_leaves_the_loss_and_its_gradient(levers):
    logits = jax.random.normal(jax.random.PRNGKey(0), (2, 3, 7))
    targets = jnp.array([[1, 2, 0], [6, 5, 4]])
    weights = jnp.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])

    def value_and_gradient(function):
        loss = lambda x: function(x, targets, weights=weights, z_loss=1e-2, loss_normalizing_factor=4.0)[0]  # noqa: E731
        return jax.value_and_grad(loss)(logits)

    ours, ours_gradient = value_and_gradient(losses.compute_weighted_cross_entropy)
    for function in (levers._dense_targets_loss, levers._differentiated_loss):
        loss, gradient = value_and_gradient(function)
        np.testing.assert_allclose(loss, ours, rtol=1e-6)
        np.testing.assert_allclose(gradient, ours_gradient, atol=1e-6)


@pytest.mark.parametrize(("features", "axis", "shape"), [((2, 4), -1, (2, 3, 5)), (5, (-2, -1), (2, 3, 2, 4))])
def test_a_dense_layer_taken_back_maps_alike(levers, features, axis, shape):
    x = jax.random.normal(jax.random.PRNGKey(0), shape)
    options = {"features": features, "axis": axis, "kernel_axes": ("embed", "joined_kv")}
    ours = layers.DenseGeneral(**options)
    variables = ours.init(jax.random.PRNGKey(1), x)
    np.testing.assert_allclose(
        levers._ContractedDense(**options).apply(variables, x), ours.apply(variables, x), rtol=1e-5, atol=1e-6
    )
