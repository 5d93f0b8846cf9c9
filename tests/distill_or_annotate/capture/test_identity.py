"""Who wrote a store, by content."""

import jax
import jax.numpy as jnp
import numpy as np
import small_teacher
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from distill_or_annotate.capture import identity


def test_a_fingerprint_depends_on_values_and_places_and_not_on_devices():
    array = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    one = identity.fingerprint({"a": jnp.asarray(array)})
    mesh = Mesh(np.asarray(jax.devices()).reshape(4, 2), ("data", "model"))
    spread = jax.device_put(array, NamedSharding(mesh, PartitionSpec("data", "model")))
    assert identity.fingerprint({"a": spread}) == one
    swapped = array.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    turned = array.copy()
    turned[:, [2, 3]] = turned[:, [3, 2]]
    nudged = array.copy()
    nudged[3, 3] = np.nextafter(nudged[3, 3], np.float32(9))
    others = [{"a": jnp.asarray(x)} for x in (swapped, turned, nudged)] + [{"b": jnp.asarray(array)}]
    assert len({one, *map(identity.fingerprint, others)}) == 5


def test_the_head_of_a_model_makes_its_logits():
    for tied in (False, True):
        model, params = small_teacher.make(tied=tied, layers=1)
        head, found, scale = identity.head(params, model.module.config)
        hidden = np.random.default_rng(1).normal(size=(2, 3, 32)).astype(np.float32)
        expected = model.module.apply({"params": params}, hidden, method=model.module.head)
        np.testing.assert_allclose(hidden @ head * scale, expected, rtol=1e-4, atol=1e-4)
        assert found is tied


def test_a_teacher_is_its_path_step_content_and_sizes():
    model, params = small_teacher.make(layers=1)
    found = identity.teacher(params, model.module.config, "runs/teacher/checkpoint_150")
    assert found["step"] == 150 and found["checkpoint"].endswith("/runs/teacher/checkpoint_150")
    assert found["sizes"]["emb_dim"] == 32 and "dropout_rate" not in found["sizes"]
    assert identity.teacher(params, model.module.config, None)["step"] is None
