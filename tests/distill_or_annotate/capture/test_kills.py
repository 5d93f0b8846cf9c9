"""A real capture, killed three times, ends with every example once."""

import runpy
from pathlib import Path

import pytest

_BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "capture_kills.py"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_capture_that_is_killed_ends_with_every_example_once(tmp_path):
    kill_and_count = runpy.run_path(str(_BENCHMARK))["kill_and_count"]
    found = kill_and_count(tmp_path, kills=3, n_examples=160, seed=1)
    assert any(whole > 0 for whole in found["whole_shards_at_kill"]), "no kill fell behind the first shard"
    assert found["examples"] == 160 and found["each_once"]
    assert found["damages"] == [] and found["scratch_files"] == 0 and found["predictions"] == 160
