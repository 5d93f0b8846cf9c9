"""The paper's setting against torch's `kl_div`: T = 2, times T^2, the mean over every position, pads included.

Needs torch (`make test-parity`); nothing else of the reference runs here.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from distill_or_annotate.losses import kl_divergence

pytestmark = pytest.mark.parity


def _torch():
    try:
        import torch
    except ImportError as error:
        pytest.fail(f"Parity tests need torch ({error}): `make test-parity`, or `-m 'not parity'`.", pytrace=False)
    return torch


@pytest.mark.parametrize("scale", [0.5, 3.0, 10.0])
def test_loss_and_gradient_are_those_of_torch_s_kl_div(scale):
    torch = _torch()
    batch, length, vocab = 4, 7, 501
    student, teacher = (np.random.default_rng(5).normal(size=(2, batch, length, vocab)) * scale).astype(np.float32)
    theirs = torch.tensor(student, requires_grad=True)
    flat = [x.reshape(-1, vocab) / 2.0 for x in (theirs, torch.tensor(teacher))]
    functional = torch.nn.functional
    expected = 4.0 * functional.kl_div(
        functional.log_softmax(flat[0], -1), functional.softmax(flat[1], -1), reduction="batchmean"
    )
    expected.backward()
    weights = jnp.full((batch, length), 1.0 / (batch * length))
    loss, gradient = jax.value_and_grad(kl_divergence)(jnp.asarray(student), jnp.asarray(teacher), weights, 2.0, 1)
    np.testing.assert_allclose(loss, expected.item(), rtol=1e-5)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), atol=1e-7, rtol=1e-4)
