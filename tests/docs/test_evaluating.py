"""docs/evaluating.md: its commands run as they stand there, and it names every floor, field and part."""

import json
import re
import shlex
from pathlib import Path

import pytest

from distill_or_annotate import cli
from distill_or_annotate.metrics import similarity
from distill_or_annotate.metrics.evaluation import Scorer, evaluate
from distill_or_annotate.metrics.generation import sentence_bleu
from distill_or_annotate.tasks import scoring

_PAGE = (Path(__file__).parents[2] / "docs" / "evaluating.md").read_text(encoding="utf-8")
_COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", _PAGE, re.DOTALL) for line in block.splitlines() if line
]
_ROWS = {
    "fever": [{"source": f"claim {i}", "target": ("SUPPORTS", "REFUTES")[i % 2]} for i in range(20)],
    "wlp": [{"source": f"Mix tube {i}", "target": f"Mix [Action] tube {i} [Location]"} for i in range(20)],
    "stanceosaurus": [
        {"source": f"{('no', 'yes')[i % 2]} {i}", "target": ("Refuting", "Supporting")[i % 2]} for i in range(20)
    ],
}


def test_there_are_commands_of_both_modes():
    assert len(_COMMANDS) >= 3 and {"--mode fair", "--mode paper"} <= set(re.findall(r"--mode \w+", _PAGE))


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_command_runs_as_it_stands(command, tmp_path, monkeypatch, capsys):
    words = shlex.split(command)
    assert words[:2] == ["doa", "evaluate"]
    monkeypatch.chdir(tmp_path)
    rows = _ROWS[words[words.index("--task") + 1]]
    lines = [json.dumps({**row, "prediction": row["target"]}) + "\n" for row in rows]
    Path("predictions.jsonl").write_text("".join(lines))
    # Labels that say nothing, so that the floor learns nothing and --strict has nothing to say.
    taught = [{"source": "x", "target": row["target"]} for row in rows]
    Path("stanceosaurus_train_all.json").write_text("".join(json.dumps(row) + "\n" for row in taught))
    assert cli.main(words[1:]) == 0, capsys.readouterr().err
    assert "100.0" in capsys.readouterr().out


def test_every_field_and_floor_of_an_answer_is_explained():
    named = set(re.findall(r"`([A-Za-z_:]+)`", _PAGE))
    for task, rows in _ROWS.items():
        found = scoring.PUBLISHED[task]
        result = evaluate(Scorer(found.metric, found.labels), rows, [row["target"] for row in rows], rows)
        assert set(result) <= named
        assert set(result["degenerate"]) <= named
        assert {floor.split(":")[0] for floor in result["floors"]} <= named


def test_the_page_says_what_a_short_copy_is_worth_in_both_modes():
    said = re.search(r"A copy of `(.+?)` has\s+a self-BLEU of (\d) in fair mode and of (\d) in paper mode", _PAGE)
    assert said, "the page must say what fair mode makes of sentences under four tokens"
    copy, fair, paper = said[1], int(said[2]), int(said[3])
    assert sentence_bleu(copy, copy) == pytest.approx(fair)
    assert sentence_bleu(copy, copy, effective_order=False) == paper != fair


def test_the_encoders_at_hand_are_named():
    assert f"`{similarity.DEFAULT}` (default)" in _PAGE and f"`{similarity.REFERENCE}`" in _PAGE
    assert f"layer {similarity.REFERENCE_LAYER}" in _PAGE and similarity.VARIABLE in _PAGE
