"""Divergences by name: what is accepted, what is said otherwise, and where the Jensen-Shannon family ends."""

import jax.numpy as jnp
import numpy as np
import pytest

from distill_or_annotate.losses import Divergence, DivergenceError, divergence


def _pair():
    logits = np.random.default_rng(0).normal(size=(2, 5, 9))
    log_p, log_q = (jnp.asarray(x - np.log(np.exp(x).sum(-1, keepdims=True)), jnp.float32) for x in logits)
    return log_p, log_q


@pytest.mark.parametrize("name", ["forward", "reverse", "jsd(0.5)", " jsd( 0.25 ) "])
def test_equal_names_are_equal_rules_so_that_they_compile_once(name):
    assert divergence(name) == divergence(name.strip()) and hash(divergence(name)) == hash(divergence(name))
    made = divergence(name)
    assert isinstance(made, Divergence) and divergence(made) is made


def test_different_names_are_different_rules():
    names = ["forward", "reverse", "jsd(0.5)", "jsd(0.25)"]
    assert len({divergence(name) for name in names}) == 4
    assert [divergence(name).metric for name in names] == ["kl", "reverse_kl", "jsd", "jsd"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("foward", r"divergence is 'foward'; allowed: 'forward', 'reverse', 'jsd\(BETA\)'. Did you mean 'forward'"),
        ("Reverse", "Did you mean 'reverse'"),
        ("jsd", r"divergence is 'jsd'; jsd needs a beta above 0 and below 1, such as 'jsd\(0.5\)'"),
        ("jsd(1)", r"'jsd\(1\)'; jsd needs a beta"),
        ("jsd(half)", "jsd needs a beta"),
        ("jsd(nan)", "jsd needs a beta"),
        ("forward(2)", r"'forward\(2\)', but 'forward' takes no argument. Fix: 'forward'"),
        ("", "divergence is ''; allowed"),
        (None, "divergence is None; allowed"),
    ],
)
def test_another_name_is_refused_with_what_would_do(name, said):
    with pytest.raises(DivergenceError, match=said):
        divergence(name)


def test_jensen_shannon_is_at_most_log_2_and_symmetric_at_a_half():
    log_p, log_q = _pair()
    values = divergence("jsd(0.5)").value(log_p, log_q)
    np.testing.assert_allclose(values, divergence("jsd(0.5)").value(log_q, log_p), rtol=1e-5)
    assert float(values.min()) > 0 and float(values.max()) < np.log(2)


@pytest.mark.parametrize(("beta", "limit"), [(1e-3, "forward"), (1 - 1e-3, "reverse")])
def test_the_ends_of_jensen_shannon_are_the_two_kls(beta, limit):
    log_p, log_q = _pair()
    near = divergence(f"jsd({beta})").value(log_p, log_q) / min(beta, 1 - beta)
    np.testing.assert_allclose(near, divergence(limit).value(log_p, log_q), rtol=1e-2)
