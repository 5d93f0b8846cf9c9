"""Rates, latencies and dollars of models: every token is decoded, the sweep ends for a reason, the sums are right."""

import json

import jax
import numpy as np
import pytest

from distill_or_annotate import cli
from distill_or_annotate.interop import peak_memory
from distill_or_annotate.interop.naming import Sizes
from distill_or_annotate.serving import bench, models
from distill_or_annotate.tasks.mini import vocabulary

_SETTINGS = bench.Settings(input_tokens=6, output_tokens=5, runs=4, max_batch=4, batch_seconds=0.01)


def _model(folder, sizes):
    peak_memory.write_synthetic(folder, sizes)
    (folder / "spiece.model").write_bytes(vocabulary.PATH.read_bytes())
    return folder


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory):
    return _model(tmp_path_factory.mktemp("bench") / "small", Sizes(1024, 16, 2, 8, 24, 1, 1, gated=True, tied=False))


@pytest.fixture(scope="module")
def small(small_folder):
    return models.load(small_folder)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    sizes = Sizes(1024, 512, 8, 64, 2048, 1, 1, gated=True, tied=False)
    return models.load(_model(tmp_path_factory.mktemp("bench") / "large", sizes))


def test_a_larger_model_has_more_of_everything(small, large):
    first, second = bench.measure([("small", small), ("large", large)], _SETTINGS)
    assert (first.name, second.name) == ("small", "large")
    assert first.parameters < second.parameters and first.parameter_bytes == 4 * first.parameters
    assert first.flops < second.flops and first.quantile(0.5) < second.quantile(0.5)
    for model in (first, second):
        assert len(model.latencies_seconds) == 4 and model.compile_seconds > 0
        assert set(model.rates) == {1, 4} and model.rates[model.best_batch] == max(model.rates.values())
        assert model.rates[1] == pytest.approx(1 / np.median(model.latencies_seconds))
        assert model.stopped in ("max_batch", "no longer rises")


def test_flops_grow_with_the_tokens_that_are_decoded(small):
    def counted(n):
        return bench._flops(small, bench.Settings(input_tokens=6, output_tokens=n))

    one, two, three = counted(1), counted(2), counted(3)
    assert two - one > 2 * 16 * 1024, "a token's logits at least"
    # A step more costs a step, and each step then looks at one position more.
    assert 0 < (three - two) - (two - one) <= 2 * 2 * 2 * 3 * 16


def test_no_end_of_sequence_ends_a_timed_prediction(small):
    inputs = np.arange(2, 8, dtype=np.int32)[None]
    made, _ = jax.jit(bench._predict(small, 5))(small.params, inputs)
    first = int(made[0, 0])
    batch = {"encoder_input_tokens": inputs, "decoder_input_tokens": np.zeros((1, 5), np.int32)}
    ordinary = jax.jit(lambda p: small.model.predict_batch_with_aux(p, batch, decoder_params={"eos_id": first}))
    ended, _ = ordinary(small.params)
    assert int((np.asarray(ended) != 0).sum()) == 1, "ordinarily it ends there"
    assert int((np.asarray(made) != 0).sum()) == 5


def test_the_models_take_turns(small, monkeypatch):
    order = []
    seen = bench._timed

    def noted(run, tokens):
        order.append(run)
        return seen(run, tokens)

    monkeypatch.setattr(bench, "_timed", noted)
    bench.measure([("a", small), ("b", small)], bench.Settings(input_tokens=4, output_tokens=2, runs=4, max_batch=1))
    first, second = order[:2]
    assert first is not second
    assert order == [first, second, second, first] * 2


@pytest.mark.parametrize(
    ("rates", "measured"),
    [
        ({1: 10, 4: 20, 16: 19, 64: 40, 256: 41, 1024: 30}, [1, 4, 16, 64, 256, 1024]),
        ({1: 10, 4: 20, 16: 20.9, 64: 20.9, 256: 99}, [1, 4, 16, 64]),
        ({1: 10, 4: 9, 16: 8, 64: 99}, [1, 4, 16]),
    ],
)
def test_the_sweep_ends_at_the_second_batch_without_a_rise(small, monkeypatch, rates, measured):
    monkeypatch.setattr(bench, "_compiled", lambda loaded, batch, settings: lambda tokens: 0)
    monkeypatch.setattr(bench, "_timed", lambda run, tokens: len(tokens) / rates[len(tokens)])
    (found,) = bench.measure([("small", small)], bench.Settings(4, 4, runs=2, max_batch=4096))
    assert list(found.rates) == measured and found.stopped == "no longer rises"
    assert found.rates[found.best_batch] == pytest.approx(max(rates[batch] for batch in measured))


def test_a_batch_beyond_the_memory_ends_the_sweep_and_keeps_what_was_measured(small, monkeypatch):
    monkeypatch.setattr(bench, "_free_bytes", lambda: 2e5)
    monkeypatch.setattr(bench, "_RISE", 0)
    (found,) = bench.measure([("small", small)], bench.Settings(4, 4, runs=2, max_batch=4096, batch_seconds=0.0))
    assert found.stopped == "memory" and 1 in found.rates and max(found.rates) < 4096


def test_a_model_that_cannot_predict_one_text_is_refused_with_the_numbers(small, monkeypatch):
    monkeypatch.setattr(bench, "_free_bytes", lambda: 1000)
    with pytest.raises(ValueError, match=r"a batch of 1 needs .* bytes, and 1,000 are free"):
        bench.measure([("small", small)], _SETTINGS)


def test_there_is_free_memory_on_this_machine():
    assert 1e7 < bench._free_bytes() < 1e14


@pytest.mark.parametrize("before", [True, False])
def test_compiling_is_timed_without_the_cache_which_is_then_as_before(before):
    asked = jax.config.jax_enable_compilation_cache
    try:
        jax.config.update("jax_enable_compilation_cache", before)
        with bench._no_compilation_cache():
            assert not jax.config.jax_enable_compilation_cache
        assert jax.config.jax_enable_compilation_cache == before
    finally:
        jax.config.update("jax_enable_compilation_cache", asked)


def test_the_command_s_json_adds_up(small_folder, capsys):
    words = f"bench-model --model {small_folder} --input-tokens 6 --output-tokens 3 --runs 3 --max-batch 1 --json"
    assert cli.main([*words.split(), "--device-usd-per-hour", "7.2"]) == 0
    report = json.loads(capsys.readouterr().out)
    (row,) = report["models"]
    assert report["price"] == {
        "usd_per_hour": 7.2,
        "name": "this device",
        "source": "given on the command line",
    }
    latency = row["latency_seconds"]
    assert latency["median"] <= latency["p90"] <= latency["p99"] and latency["runs"] == 3
    assert row["predictions_per_second"] == pytest.approx(1 / latency["median"])
    assert row["usd_per_million_predictions"] == pytest.approx(2000 * latency["median"])
    assert row["flops_per_second"] == pytest.approx(row["flops_per_prediction"] / latency["median"])
    assert (row["parameters"], row["best_batch"], row["sweep_stopped"]) == (row["parameter_bytes"] // 4, 1, "max_batch")


@pytest.mark.parametrize("flag", ["--input-tokens", "--output-tokens", "--runs", "--max-batch"])
def test_numbers_below_one_are_refused(flag, capsys):
    assert cli.main(["bench-model", "--model", "mini_student", flag, "0"]) == 2
    assert f"{flag} is 0" in capsys.readouterr().err
