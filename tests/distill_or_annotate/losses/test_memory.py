"""What the compiled loss and gradient hold at their peak, by the benchmark's own measure."""

import importlib.util
from pathlib import Path

import jax
import pytest

_FILE = Path(__file__).parents[3] / "benchmarks" / "loss_memory.py"
_SHAPE = (8, 32, 16384)
_UNIT = 4 * 8 * 32 * 16384


@pytest.fixture(scope="module")
def temporaries():
    """Temporaries in arrays `[batch, length, vocab]` of float32, compiled as users compile: with all optimizations."""
    spec = importlib.util.spec_from_file_location("loss_memory", _FILE)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        found = benchmark.measure(*_SHAPE, width=64, teacher_width=96)
    finally:
        jax.config.update("jax_disable_most_optimizations", True)
    return {group: {name: sizes["temporary"] / _UNIT for name, sizes in rows.items()} for group, rows in found.items()}


@pytest.mark.parametrize("kind", ["forward", "reverse", "jsd(0.5)"])
def test_beside_logits_and_gradient_no_array_of_their_size_is_alive(temporaries, kind):
    assert temporaries["given_logits"][f"ours {kind}"] < 0.8
    assert temporaries["given_logits"][f"plain {kind}"] >= 3


def test_the_gradient_takes_the_place_of_the_logits_and_hidden_states_save_the_teacher_s(temporaries):
    whole = temporaries["with_heads"]
    # Student's logits (then gradient) and, on CPUs, the product's transposed copy: 2. The teacher's logits: 1 more at
    # most, for their place is free again when the copy is made.
    assert whole["ours, teacher's logits"] < 2.8
    assert whole["ours, teacher's hidden states"] < 2.4
    assert whole["ours, teacher's top k"] < 2.4
    assert whole["plain"] > 4
