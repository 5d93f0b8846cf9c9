"""What is kept while decoding is what a teacher-forced pass over the same targets would compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_teacher

from distill_or_annotate.capture import collecting, decoding

_T = 10


@pytest.fixture(scope="module")
def teacher():
    model, params = small_teacher.make()
    return model, small_teacher.favour_end(params, 3.0)


_PROGRAMS = {}


def _capture(teacher, inputs, kind="hidden", dtype="float32", forced=None, **options):
    """Compiled once for equal options: compiling is nearly all the time that these tests take."""
    model, params = teacher
    key = (kind, dtype, *sorted(options.items()))
    if key not in _PROGRAMS:
        collect = collecting.collector(kind, k=8, dtype=dtype)

        def run(params, inputs, forced):
            return decoding.decode(model, params, inputs, n_positions=_T, collect=collect, forced_BxT=forced, **options)

        _PROGRAMS[key] = jax.jit(run)
    return jax.device_get(_PROGRAMS[key](params, inputs, forced))


def _teacher_forced(teacher, inputs, targets, causal_only):
    """Hidden states and logits of one full forward pass over the decoder inputs."""
    model, params = teacher
    module = model.module
    shifted = np.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    seen = np.ones_like(targets) if causal_only else targets
    encoded = module.apply({"params": params}, inputs, enable_dropout=False, method=module.encode)
    hidden = module.apply(
        {"params": params}, encoded, inputs, shifted, seen, enable_dropout=False, method=module.decode_hidden
    )
    return np.asarray(hidden), np.asarray(module.apply({"params": params}, hidden, method=module.head))


def _check_rows(stored, expected, n_positions, atol):
    for row, n in enumerate(n_positions):
        np.testing.assert_allclose(stored[row, :n], expected[row, :n], atol=atol, rtol=0)
        assert not stored[row, n:].any()


def test_targets_are_the_runtimes_greedy_decoding(teacher):
    inputs = small_teacher.inputs(16)
    captured = _capture(teacher, inputs)
    model, params = teacher
    greedy = np.asarray(model.predict_batch(params, small_teacher.batch_of(inputs, _T)))
    np.testing.assert_array_equal(captured.targets, greedy)
    assert len(set(captured.n_targets)) > 3, "rows must end at different lengths for this to mean something"


def test_stored_states_are_those_of_a_teacher_forced_pass(teacher):
    inputs = small_teacher.inputs(16)
    captured = _capture(teacher, inputs)
    hidden, _ = _teacher_forced(teacher, inputs, captured.targets, causal_only=False)
    _check_rows(captured.kept["teacher_hidden"], hidden, captured.n_targets, 1e-5)
    np.testing.assert_array_equal(captured.n_positions, captured.n_targets)


def test_bfloat16_states_are_rounded_once(teacher):
    inputs = small_teacher.inputs(16)
    captured = _capture(teacher, inputs, dtype="bfloat16")
    hidden, _ = _teacher_forced(teacher, inputs, captured.targets, causal_only=False)
    for row, n in enumerate(captured.n_targets):
        stored = captured.kept["teacher_hidden"][row, :n].astype(np.float32)
        np.testing.assert_allclose(stored, hidden[row, :n], rtol=2**-8, atol=2e-5)


def test_counted_padding_keeps_the_pads_of_the_batch_and_the_position_after_the_last_token(teacher):
    inputs = small_teacher.inputs(16)[1:4]
    captured = _capture(teacher, inputs, padding="counted")
    longest = captured.n_targets.max()
    assert longest < _T - 1 and len(set(captured.n_targets)) > 1
    np.testing.assert_array_equal(captured.n_positions, [longest + 1] * 3)
    np.testing.assert_array_equal(captured.batch_length, [longest + 1] * 3)
    hidden, _ = _teacher_forced(teacher, inputs, captured.targets, causal_only=True)
    _check_rows(captured.kept["teacher_hidden"], hidden, captured.n_positions, 1e-5)


def test_counted_padding_counts_the_start_token_in_the_longest_target(teacher):
    inputs = small_teacher.inputs(16)
    captured = _capture(teacher, inputs, padding="counted")
    masked = _capture(teacher, inputs)
    assert masked.n_targets.max() == _T and captured.n_targets.max() == _T - 1
    assert captured.batch_length[0] == _T
    np.testing.assert_array_equal(captured.targets[:, : _T - 1], masked.targets[:, : _T - 1])


def test_a_row_is_the_same_whatever_stands_beside_it(teacher):
    inputs = small_teacher.inputs(16)
    together, alone = _capture(teacher, inputs), _capture(teacher, inputs[3:4])
    n = alone.n_targets[0]
    np.testing.assert_array_equal(together.targets[3], alone.targets[0])
    stored = together.kept["teacher_hidden"][3, :n]
    np.testing.assert_allclose(stored, alone.kept["teacher_hidden"][0, :n], atol=1e-5)


def test_given_targets_are_scored_in_place_of_decoding(teacher):
    inputs = small_teacher.inputs(4)
    given = np.array([[5, 6, 1], [7, 1, 0], [0, 0, 0], [9, 9, 1]], np.int32)
    forced = np.pad(given, ((0, 0), (0, _T - 3)))
    captured = _capture(teacher, inputs, forced=jnp.asarray(forced))
    free = _capture(teacher, inputs)
    np.testing.assert_array_equal(captured.targets[[0, 1, 3]], forced[[0, 1, 3]])
    np.testing.assert_array_equal(captured.targets[2], free.targets[2])
    hidden, logits = _teacher_forced(teacher, inputs, captured.targets, causal_only=False)
    _check_rows(captured.kept["teacher_hidden"], hidden, captured.n_targets, 1e-5)
    log_probs = np.asarray(jax.nn.log_softmax(logits, axis=-1))
    expected = log_probs[0, 0, 5] + log_probs[0, 1, 6] + log_probs[0, 2, 1]
    assert captured.log_probability[0] == pytest.approx(expected, abs=1e-4)


def test_topk_has_the_best_tokens_of_the_same_logits(teacher):
    inputs = small_teacher.inputs(8)
    captured = _capture(teacher, inputs, kind="topk")
    _, logits = _teacher_forced(teacher, inputs, captured.targets, causal_only=False)
    expected = np.sort(np.asarray(jax.nn.log_softmax(logits / 2.0, axis=-1)), axis=-1)[..., ::-1][..., :8]
    _check_rows(captured.kept["teacher_topk_logprobs"], expected, captured.n_targets, 1e-4)


def test_counted_padding_without_a_place_for_the_start_token_is_refused(teacher):
    with pytest.raises(ValueError, match="counts_start=False cannot go with padding='counted'"):
        _capture(teacher, small_teacher.inputs(2), padding="counted", counts_start=False)
    with pytest.raises(ValueError, match="padding is 'mask'; allowed: masked, counted"):
        _capture(teacher, small_teacher.inputs(2), padding="mask")
