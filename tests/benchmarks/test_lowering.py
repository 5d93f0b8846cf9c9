"""The benchmark of tracing and lowering, at a size that says nothing: its report is complete and adds up."""

import json
import os
import subprocess
import sys
from pathlib import Path

_SCRIPT = Path(__file__).parents[2] / "benchmarks" / "lowering.py"


def test_a_report_names_the_work_and_holds_the_ratio_of_its_medians(tmp_path):
    output = tmp_path / "report.json"
    words = [sys.executable, str(_SCRIPT), "--size", "tiny", "--rounds", "1", "--output", str(output)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=400, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(output.read_text(encoding="utf-8"))
    assert json.loads(done.stdout) == report
    assert report["size"]["name"] == "tiny" and report["rounds"] == 1
    assert report["parameters"]["scanned"] == report["parameters"]["unscanned"] > 500_000
    assert report["median_seconds"].keys() == {"state_shapes", "trace_and_lower"}
    for what, seconds in report["median_seconds"].items():
        assert min(seconds.values()) > 0
        assert abs(report["ratio"][what] - seconds["unscanned"] / seconds["scanned"]) < 0.1
