"""An hour's price is the caller's or a real one of the books, and never a guess about an accelerator."""

import json
import subprocess
import sys

import pytest

from distill_or_annotate import prices
from distill_or_annotate.serving.bench_prices import HourlyPrice, hourly_price


def test_dollars_for_a_million():
    assert HourlyPrice(3.6, "x", "y").usd_per_million(per_second=100) == pytest.approx(10)


def test_the_price_given_is_the_price():
    assert hourly_price(1.25, None, "gpu").usd == 1.25


@pytest.mark.parametrize("name", ["a100_40gb", "A100_40GB", "gpu_hour/a100_40gb"])
def test_a_name_of_the_book_with_its_source_and_day(name):
    entry = prices.load_book("paper").entry("gpu_hour/a100_40gb")
    found = hourly_price(None, name, "gpu")
    assert found.usd == entry.usd and found.name == "a100_40gb"
    assert entry.source in found.source and str(entry.date) in found.source


def test_a_cpu_is_assumed_to_be_the_book_s_and_an_accelerator_is_not():
    assumed = hourly_price(None, None, "cpu")
    assert assumed.usd == prices.load_book("local").entry("device_hour/local_cpu").usd
    assert "assumption" in assumed.source
    assert hourly_price(None, None, "gpu") is None


def test_a_misspelt_name_gets_near_ones():
    with pytest.raises(ValueError, match=r"'a10_40gb'.*did you mean .*a100_40gb.*--device-usd-per-hour"):
        hourly_price(None, "a10_40gb", "cpu")


@pytest.mark.parametrize("usd", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_price_is_refused(usd):
    with pytest.raises(ValueError, match="--device-usd-per-hour is"):
        hourly_price(usd, None, "cpu")


def test_two_prices_are_refused():
    with pytest.raises(ValueError, match="both name a price"):
        hourly_price(1.0, "a40", "cpu")


def test_prices_need_no_accelerator_stack():
    code = (
        "import json, sys; from distill_or_annotate.serving import bench_prices, bench_command\n"
        "print(json.dumps([n for n in ('jax', 'flax', 't5x', 'tensorflow') if n in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
