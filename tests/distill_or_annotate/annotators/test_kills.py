"""`doa annotate` killed and started again: each item labelled once, and the books above the invoice."""

import importlib.util
from pathlib import Path

_BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "annotate_kills.py"


def test_three_kills_lose_no_label_and_no_dollar():
    spec = importlib.util.spec_from_file_location("annotate_kills", _BENCHMARK)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    found = bench.measure(3, 80, seed=1, delay_seconds=0.01)
    assert found["n_kills"] >= 2
    assert found["n_labelled_once"] == 80 and found["n_set_aside"] == 0 and found["n_paid_answers_of_one_item"] == 1
    assert found["unconfirmed_usd"] > 0 and found["law_holds"]
    assert found["settled_usd"] <= found["invoice_usd"] <= found["settled_usd"] + found["unconfirmed_usd"]
