"""`doa list` and `doa show`: what each scenario asks for, what to expect, what a result would mean."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from distill_or_annotate import cli
from distill_or_annotate.pipeline import catalogue, gin_files

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def listing():
    return [entry.as_dict() for entry in catalogue.entries()]


def test_the_list_covers_every_scenario_that_is_packaged(listing):
    folder = _ROOT / "gin" / "experiments"
    files = {path.stem for path in folder.rglob("*.gin") if "scenarios.Scenario" in path.read_text()}
    assert {row["name"] for row in listing} == files and len(files) >= 18
    assert {row["form"] for row in listing if row["name"] == "table2"} == {"xxl", "mini"}


def test_each_entry_has_data_hours_dollars_and_a_command(listing):
    for row in listing:
        assert row["device_hours"] > 0 and row["scenario_usd"] > 0 and row["stages"] > 0
        assert row["command"].startswith(f"doa run {row['name']}")
        assert row["scenario_usd"] == pytest.approx(sum(row["scenario_usd_by_kind"].values()), abs=0.02)
        assert row["asks_llm"] == (row["name"] in ("figure6", "figure7"))


def test_dollars_buy_each_label_once():
    entry = catalogue.listed("table2", {"FORM": "xxl", "TASK": "wlp"})
    # The labels of N = 1,000 are the first of the 5,000; the largest budget buys 1,923 more.
    assert entry.usd_by_kind()["label"] == pytest.approx(6923 * 0.26)


def test_published_scores_are_the_paper_s(listing):
    rows = {(row["name"], row["form"], row["task"]): row for row in listing}
    published = rows["table2", "xxl", "wlp"]["expected"]["published"]
    assert {
        "source": "Table 2",
        "strategy": "distill",
        "n_labels": 5000,
        "additional_usd": 500,
        "n_unlabeled": None,
        "score": 72.5,
    } in published
    for name in ("table3", "table4", "table9", "table11", "figure2", "figure3"):
        assert rows[name, "xxl", "wlp"]["expected"]["published"], name
    (of_teacher,) = rows["table9", "xxl", "wlp"]["expected"]["published"]
    assert of_teacher["score"] == 74.4
    assert rows["table6", "xxl", "wlp"]["expected"]["published"] == []


def test_missing_data_are_named(tmp_path, monkeypatch):
    monkeypatch.delenv("DOA_DATA_DIR", raising=False)
    entry = catalogue.listed("table2", {"FORM": "xxl", "TASK": "fever"})
    needs, missing = catalogue.data_of(entry)
    assert "fever validation (DOA_DATA_DIR)" in needs and missing == needs
    (tmp_path / "fever_train_all.json").touch()
    monkeypatch.setenv("DOA_DATA_DIR", str(tmp_path))
    assert "fever train (DOA_DATA_DIR)" not in catalogue.data_of(entry)[1]
    assert catalogue.data_of(catalogue.listed("table2")) == ([], [])


def test_scores_of_ours_are_read_where_they_lie(tmp_path, monkeypatch, capsys):
    entry = catalogue.listed("table2")
    folder = tmp_path / "docs" / "results" / entry.scenario.name
    folder.mkdir(parents=True)
    row = {
        "teacher": "mini_teacher",
        "student": "mini_student",
        "strategy": "annotate",
        "n_labels": 20,
        "n_unlabeled": 0,
        "additional_usd": 0.0,
        "score": 12.3,
    }
    (folder / "results.jsonl").write_text(json.dumps(row) + "\n")
    real = gin_files.home()
    (tmp_path / "gin").symlink_to(real / "gin")
    monkeypatch.setattr(gin_files, "home", lambda: tmp_path)
    assert [found["score"] for found in entry.ours()] == [12.3]
    assert cli.main(["show", "table2"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.lstrip().startswith("20  annotate"))
    assert line.split()[-2:] == ["40.7", "12.3"]


def test_the_quickstart_s_scores_are_those_of_its_benchmark(listing):
    (row,) = [row for row in listing if row["name"] == "quickstart"]
    ours = [found for found in row["expected"]["ours"] if found["strategy"] == "distill"]
    measured = json.loads((_ROOT / "docs/results/bench_mini.json").read_text())["tasks"]["mini"]["cells"]
    scores = [found["score"] for found in ours if found["additional_usd"] == 20]
    assert scores == measured["distill +$20"]["scores"] and len({found["data_seed"] for found in ours}) == len(scores)


def test_show_explains_a_scenario_with_its_cells_and_the_published_numbers(capsys):
    assert cli.main(["show", "table2", "--set", "FORM=xxl", "--set", "TASK=wlp"]) == 0
    printed = capsys.readouterr().out
    text = " ".join(printed.split())
    assert "Question: given N labels" in text and "A result means: where distilling is ahead" in text
    assert "1,041.3 A40 GPU-hours" in text and "The paper's teacher: 72.4 at N = 1,000, 74.2 at N = 5,000." in text
    line = next(line for line in printed.splitlines() if "99,425 unlabeled" in line)
    assert line.split()[0] == "5,000" and line.split()[-1] == "72.5"
    assert "An engineer's time is free" in text


def test_show_takes_a_scenario_of_one_s_own(tmp_path, monkeypatch, capsys):
    text = (_ROOT / "gin/experiments/smoke.gin").read_text().replace("'smoke'", "'mine'")
    (tmp_path / "mine.gin").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["show", "mine.gin", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["name"] == "mine" and len(content["cells"]) == 4 and content["cells"][0]["initial_labels"] == 40


def test_a_wrong_form_or_task_is_refused_in_words(capsys):
    assert cli.main(["list", "--form", "xl"]) == 2
    assert "allowed: xxl, mini" in capsys.readouterr().err
    assert cli.main(["list", "--form", "mini", "--task", "multipit_id"]) == 2
    assert "allowed: fever, mini, stanceosaurus, wlp" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["table3", "figure4", "figure5"])
def test_a_study_of_two_sizes_is_refused_for_text_that_has_mini_models_of_one(name, capsys, tmp_path):
    words = ["--set", "FORM=mini", "--set", "TASK=fever"]
    for command in (["run", name, "--dry-run", "--run-dir", str(tmp_path), *words], ["show", name, *words]):
        assert cli.main(command) == 2
        assert f"TASK: received 'fever'; {name} needs mini models of two sizes" in capsys.readouterr().err
    served = {(entry.form, entry.task) for task in ("fever", "mini") for entry in catalogue.entries(None, task)
              if entry.name == name}  # fmt: skip
    assert ("xxl", "fever") in served and ("mini", "mini") in served and ("mini", "fever") not in served


def test_a_study_of_one_s_own_may_have_that_name(tmp_path, monkeypatch):
    (tmp_path / "table3.gin").write_text((_ROOT / "gin/experiments/paper/table3.gin").read_text())
    catalogue.check_served(str(tmp_path / "table3.gin"), ("mini", "fever"))


def test_studies_with_real_text_are_mini_ones():
    names = {form: {entry.name for entry in catalogue.entries(form)} for form in ("mini", "xxl")}
    assert {"real_fever", "quickstart"} <= names["mini"] and not {"real_fever", "quickstart"} & names["xxl"]


def test_the_folder_of_table_10_s_encoder_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for overrides, name in (
        ([], "distilbert-base-uncased"),
        (["compact=bert_base", "general_gin=gin/experiments/paper_bert_base_annotate.gin"], "bert-base-uncased"),
    ):
        entry = catalogue.listed("table10", {"FORM": "xxl", "TASK": "fever"}, overrides)
        assert f"checkpoints/{name}" in catalogue.data_of(entry)[1]


@pytest.mark.parametrize("words", [["list", "--json"], ["list"], ["show", "figure5"]])
def test_both_answer_without_the_heavy_libraries(words):
    code = (
        "import sys\nfrom distill_or_annotate import cli\n"
        f"status = cli.main({words!r})\n"
        "heavy = {'tensorflow', 'seqio', 'jax', 'flax', 't5x'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else status)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if words[-1] == "--json":
        assert len(json.loads(done.stdout)) > 40
