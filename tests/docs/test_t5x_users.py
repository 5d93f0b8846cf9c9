"""docs/t5x_users.md: its trial runs from beginning to end on hand-written rows, and what it shows is what there is."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "t5x_users.md").read_text(encoding="utf-8")
_GIN = _ROOT / "gin" / "experiments" / "t5x_finetune_wlp.gin"

_STEPS = (
    "Add {n} ml of {thing} to the {place}.|Add [Action] {n} ml [Amount] {thing} [Reagent] {place} [Location]",
    "Incubate the {thing} for {n} min on ice.|Incubate [Action] {thing} [Reagent] {n} min [Time] ice [Location]",
    "Spin at {n} rpm, then discard the {thing}.|Spin [Action] {n} rpm [Speed] discard [Action] {thing} [Reagent]",
    "Wash the {place} twice with {thing}.|Wash [Action] {place} [Location] twice [Numerical] {thing} [Reagent]",
    "This step is optional.|",
)
_THINGS = ("lysis buffer", "ethanol", "supernatant", "agarose", "cell suspension")
_PLACES = ("tube", "column", "plate")


def _rows(start, count):
    for i in range(start, start + count):
        text = _STEPS[i % len(_STEPS)].format(n=i + 1, thing=_THINGS[i % 4 + i % 2], place=_PLACES[i % 3])
        source, target = text.split("|")
        yield {"source": source, "target": target}


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """The user's folder after the trial."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "data").mkdir()
    for start, count, split in ((0, 120, "train"), (200, 8, "dev"), (300, 8, "test")):
        lines = "".join(json.dumps(row) + "\n" for row in _rows(start, count))
        (folder / "data" / f"wlp_{split}_all.json").write_text(lines)
    (block,) = re.findall(r"```bash\n(.*?)```", _PAGE, re.DOTALL)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "DOA_T5_VOCAB"},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DOA_DATA_DIR": str(folder / "data"),
        "DOA_CACHE_DIR": str(folder / "cache"),
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_trial_leaves_what_the_page_says(followed):
    folder, _ = followed
    for name in ("checkpoint_5/state", "config.gin", "model-info.txt", "train", "training_eval/wlp"):
        assert (folder / "finetuned" / name).exists(), name
    (scores,) = (folder / "finetuned/inference_eval/wlp-metrics.jsonl").read_text().splitlines()
    assert json.loads(scores)["step"] == 5 and 0 <= json.loads(scores)["entity_f1"] <= 100
    (tested,) = (folder / "scores/inference_eval/wlp-metrics.jsonl").read_text().splitlines()
    assert "entity_f1" in json.loads(tested)
    predicted = (folder / "predictions/wlp-predict.jsonl-00000-of-00001").read_text().splitlines()
    asked = [json.loads(line)["inputs"]["inputs_pretokenized"] for line in predicted]
    assert asked == [row["source"] for row in _rows(300, 8)]


@pytest.mark.timeout(900)
def test_fine_tuning_starts_from_the_checkpoint_that_was_given(followed):
    folder, said = followed
    assert re.search(r"Restoring .*pretrained/checkpoint_2\.", said)
    assert sorted(path.name for path in (folder / "finetuned").glob("checkpoint_*")) == ["checkpoint_5"]


def test_the_file_on_the_page_is_the_file():
    body = re.sub(r"\A(#.*\n)+", "", _GIN.read_text(encoding="utf-8"))
    assert f"```\n{body}```" in _PAGE


def test_the_file_sets_only_macros_that_upstreams_files_document():
    set_here = set(re.findall(r"^([A-Z_]+) =", _GIN.read_text(encoding="utf-8"), re.M))
    runtime = _ROOT / "runtime" / "t5x"
    files = [runtime / "examples/t5/t5_1_1/base.gin", runtime / "configs/runs/finetune.gin"]
    headers = " ".join(re.match(r"(#.*\n)+", path.read_text(encoding="utf-8"))[0] for path in files)
    assert set_here == {name for name in set_here if re.search(rf"\b{name}\b", headers)}
    assert "MIXTURE_OR_TASK_NAME" in set_here and not re.search(r"^[a-z].*=", _GIN.read_text(encoding="utf-8"), re.M)


def test_every_flag_of_the_page_exists():
    source = "".join(path.read_text() for path in (_ROOT / "runtime/t5x/train.py", _ROOT / "runtime/t5x/gin_utils.py"))
    source += (_ROOT / "distill_or_annotate/trainer/compile_only.py").read_text()
    flags = set(re.findall(r"--([a-z][\w-]+)", _PAGE)) - {"gin"}
    assert (
        len(flags) > 8
        and [flag for flag in sorted(flags) if f'"{flag}"' not in source and f'"--{flag}"' not in source] == []
    )
