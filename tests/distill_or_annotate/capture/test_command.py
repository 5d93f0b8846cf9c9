"""`doa capture`: the estimate's arithmetic, the verdict on a store, and what it says of bad input."""

import json

import pytest

from distill_or_annotate import cli
from distill_or_annotate.capture import command, estimate, sizes


def _estimate(capsys, *words):
    assert cli.main(["capture", "--estimate", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def test_wlp_at_full_length_takes_105_gb_of_states_or_1_7_of_best_tokens(capsys):
    found = _estimate(capsys, "--task", "wlp")
    assert found["stores"]["hidden"]["bytes"] == 100_000 * 128 * 4096 * 2
    assert found["stores"]["topk"]["bytes"] == 100_000 * 128 * (32 * 4 + 2)
    assert found["take"] == "topk"


@pytest.mark.parametrize("task", ["fever", "stanceosaurus", "multipit_id"])
def test_label_tasks_take_6_6_gb_of_states_and_should(capsys, task):
    found = _estimate(capsys, "--task", task)
    assert found["stores"]["hidden"]["bytes"] / 1e9 == pytest.approx(6.55, abs=0.01)
    assert found["take"] == "hidden"


def test_reading_and_dollars_follow_from_the_stated_shares():
    """By hand: 1 FLOP/s at half, 1 token in and out, a model of ones."""
    one = estimate.Sizes(1, 1, 1, 1, vocab_size=1)
    assert (one.encoder_params, one.cross_params, one.decoder_params) == (7, 2, 6 + 3 + 1)
    machine = estimate.Machine("m", peak_flops=2.0, memory_bandwidth=1.25, usd_per_hour=3600.0)
    hidden, topk = estimate.stores(one, one, machine, 10, 1, 1, 1)
    flops = 6 * 9 + 6 * 10
    assert topk.train_seconds_per_epoch == pytest.approx(10 * flops)
    assert hidden.train_seconds_per_epoch == pytest.approx(10 * (flops + 2))
    assert hidden.read_bytes_per_second == pytest.approx(2 / (flops + 2))
    # Encoder 2 * 9 FLOPs; one step reads 2 * 10 bytes of weights and 4 * 1.5 of cache at 1 byte a second.
    assert estimate.capture_seconds(one, machine, 4, 1, 1, 1) == pytest.approx(4 * (18 + 26))


def test_a_larger_memory_changes_the_advice(capsys):
    assert _estimate(capsys, "--task", "wlp", "--memory-gb", "200")["take"] == "hidden"


def test_the_printed_estimate_names_its_assumptions(capsys):
    assert cli.main(["capture", "--estimate", "--task", "fever"]) == 0
    printed = capsys.readouterr().out
    for words in ("6.6 GB", "GB/s", "Take hidden", "50% of the peak FLOP/s", "$16.80 an hour"):
        assert words in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--estimate", "--teacher", "t5_xxl"], "model is 't5_xxl'; near: t5_1_1_xxl"),
        (["--estimate", "--task", "wpl"], "the paper has no numbers for 'wpl'; did you mean wlp?"),
        (["--estimate", "--mesh", "v5p-9"], "there is no mesh 'v5p-9'"),
        (["--estimate", "--mesh", "cpu-8"], "nothing is known of its peaks"),
        (["--estimate", "--k", "0"], "--k is 0; it must be above 0"),
        ([], "no gin file. Give a capture's"),
        (["x.gin", "--set", "KIND"], "--set 'KIND': MACRO=VALUE is needed"),
        (["--verify", "nowhere"], "nowhere is no captured store"),
    ],
)
def test_bad_input_is_answered_in_one_line(capsys, words, message):
    assert cli.main(["capture", *words]) == 2
    answer = capsys.readouterr().err
    assert message in answer and answer.count("\n") == 1


@pytest.mark.parametrize(
    ("pair", "binding"),
    [
        ("N=3", "N = 3"),
        ("KIND=hidden", "KIND = 'hidden'"),
        ("P='a b'", "P = 'a b'"),
        ("TASK=@f()", "TASK = @f()"),
        ("GIVEN_TASK=None", "GIVEN_TASK = None"),
        ("P=/tmp/x=y", "P = '/tmp/x=y'"),
    ],
)
def test_macros_need_no_quotes(pair, binding):
    assert command._binding(pair) == binding


def test_a_shard_is_whole_batches_of_about_256_mib():
    assert sizes.shard_examples(128 * 8192, 32) == 224
    assert sizes.shard_examples(100, 256) == 4096
    assert sizes.shard_examples(10**9, 32) == 32
