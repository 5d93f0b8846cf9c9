"""Every table and figure of the paper is a scenario that parses in each form, binds nothing in vain and has a price."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from distill_or_annotate import cli, paper
from distill_or_annotate.pipeline import catalogue, gin_files, study
from distill_or_annotate.scenarios import all_cells, expand_all

_ROOT = Path(__file__).parents[2]
_FILES = sorted((_ROOT / "gin" / "experiments" / "paper").glob("*.gin"))
_NAMES = [path.stem for path in _FILES]
_SERVED = [(form, task) for form, tasks in catalogue.FORMS.items() for task in tasks]


def _is_served(name, form, task):
    try:
        catalogue.check_served(name, (form, task))
    except ValueError:
        return False
    return True


def _read(name, form, task):
    scenario, _ = study.read(name, [f"FORM={form}", f"TASK={task}"])
    return scenario, study.prices(scenario)


def test_every_table_and_figure_with_models_of_its_own_is_there():
    tables = {f"table{number}" for number in (2, 3, 4, 6, 9, 10, 11)}
    assert set(_NAMES) == tables | {f"figure{number}" for number in range(2, 8)}


def test_the_forms_serve_the_tasks_that_are_listed():
    overlays = {path.stem for path in (_ROOT / "gin" / "forms").glob("*.gin")}
    assert overlays == {"xxl", "mini", *(f"mini_{task}" for task in catalogue.FORMS["mini"])}
    assert catalogue.FORMS["xxl"] == paper.task_names()


@pytest.mark.parametrize(
    ("name", "form", "task"),
    [(name, form, task) for name in _NAMES for form, task in _SERVED if _is_served(name, form, task)],
)
def test_a_scenario_parses_binds_no_macro_in_vain_and_has_stages_and_dollars(name, form, task):
    scenario, book = _read(name, form, task)
    assert scenario.name == f"{name}_{form}_{task}"
    assert study.unread_macros(name, {"FORM": form, "TASK": task}) == []
    stages = expand_all(scenario, book)
    assert any(cell.affordable for _, cell in all_cells(scenario, book))
    assert sum(charge.quantity * charge.unit_price_usd for stage in stages for charge in stage.charges) > 0
    for stage in stages:
        assert not stage.gin_file or (_ROOT / stage.gin_file).is_file()
        assert not stage.task_gin or (_ROOT / stage.task_gin).is_file()


@pytest.mark.parametrize("form", ["xxl", "mini"])
@pytest.mark.parametrize("name", _NAMES)
def test_a_dry_run_prints_stages_and_dollars_and_leaves_nothing(name, form, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    task = "wlp"
    assert cli.main(["run", name, "--set", f"FORM={form}", "--set", f"TASK={task}", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "label" in printed and "finetune-" in printed and re.search(r"\$\d", printed)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", _FILES, ids=_NAMES)
def test_a_header_says_what_is_asked_and_what_an_answer_would_mean(path):
    about = catalogue.header(path.read_text(encoding="utf-8"))
    kind, number = re.fullmatch(r"(table|figure)(\d+)", path.stem).groups()
    assert about["title"].startswith(f"{kind.capitalize()} {number}: ")
    assert "?" in about["question"] and about["a_result_means"]
    task = "fever" if path.stem == "table10" else "mini"
    assert about["command"] == f"doa run {path.stem} --set FORM=mini --set TASK={task}"


def test_a_macro_that_nothing_reads_is_found(tmp_path):
    path = tmp_path / "study.gin"
    path.write_text((_ROOT / "gin/experiments/paper/table2.gin").read_text().replace("N = @", "NN = 3\nN = @", 1))
    assert study.unread_macros(str(path), {}) == ["NN"]


@pytest.mark.parametrize("table", ["table2", "table11"])
@pytest.mark.parametrize("task", paper.task_names())
def test_cells_of_the_paper_s_tables_have_its_counts(table, task):
    scenario, book = _read(table, "xxl", task)
    blocks = [block for block in paper.facts()[table]["rows"] if block["task"] == task]
    found = {(single.n_labels, cell.strategy, cell.additional_usd): cell for single, cell in all_cells(scenario, book)}
    for block in blocks:
        for column, usd in enumerate(block["additional_usd"]):
            annotated, distilled = (found[block["n_labels"], name, usd] for name in ("annotate", "distill"))
            assert annotated.n_labels - block["n_labels"] == block["extra_labels"][column]
            thousands = None if distilled.n_unlabeled is None else distilled.n_unlabeled // 1000
            assert (thousands, distilled.gpu_hours) == (block["unlabeled_k"][column], block["gpu_hours"][column])


def test_tables_and_figures_share_their_stages():
    def names(*scenarios):
        return {stage.name for name in scenarios for stage in expand_all(*_read(name, "mini", "mini"))}

    apart = len(names("table2")) + len(names("figure2"))
    assert len(names("table2", "figure2")) < apart
    quickstart, _ = study.read("quickstart")
    teacher = {stage.name for stage in expand_all(quickstart) if stage.kind == "finetune"}
    assert teacher <= names("table2"), "the quickstart's teacher is one of Table 2's"


def test_a_wrong_form_or_task_is_refused_with_those_that_there_are():
    with pytest.raises(FileNotFoundError, match="no form 'xl'; allowed: mini, xxl"):
        study.read("table2", ["FORM=xl"])
    with pytest.raises(
        FileNotFoundError, match="does not serve 'multipit_id'; allowed: fever, mini, stanceosaurus, wlp"
    ):
        study.read("table2", ["TASK=multipit_id"])
    with pytest.raises(ValueError, match="did you mean multipit_id") as refused:
        study.read("table2", ["FORM=xxl", "TASK=multipit_i"])
    assert "configurable" not in str(refused.value)


def test_a_macro_of_the_command_line_is_set_and_a_wrong_one_names_near_ones():
    assert study.read("table2", ["N=(30, 60)"])[0].n_labels == (30, 60)
    with pytest.raises(ValueError, match="near: FORM"):
        study.read("table2", ["FROM=xxl"])


@pytest.mark.parametrize("spelt", ["mode=fair", "MODE=fair"])
def test_the_paper_s_models_are_trained_in_the_paper_s_way_in_paper_mode_alone(spelt):
    paper_mode, _ = study.read("table3", ["FORM=xxl", "TASK=wlp"])
    fair_mode, _ = study.read("table3", ["FORM=xxl", "TASK=wlp", spelt])
    assert (paper_mode.mode, paper_mode.reads, fair_mode.mode, fair_mode.reads) == ("paper", "wlp_paper", "fair", "wlp")
    for kind in ("finetune", "annotate", "distill", "general_distill"):
        of = [gin_files.includes(one.gin_file(kind), "gin/runs/paper_training.gin") for one in (paper_mode, fair_mode)]
        assert of == [True, False], kind
    assert fair_mode.macros == {} and paper_mode.macros["annotate"] == {"LEARNING_RATE": 3e-5}


def test_bare_names_are_found_in_both_folders():
    assert gin_files.locate("table2").parent.name == "paper" and gin_files.locate("smoke").parent.name == "experiments"


_PARSE = """
import copy, sys
from pathlib import Path
import gin
from distill_or_annotate.pipeline import program as programs_of, programs, study
from distill_or_annotate.pipeline.gin_files import search_paths
from distill_or_annotate.scenarios import expand_all
from t5x import gin_utils

seen = set()
for name in ("figure4", "figure5"):
    for form, task in (("xxl", "wlp"), ("mini", "mini")):
        scenario, _ = study.read(name, [f"FORM={form}", f"TASK={task}"])
        for stage in expand_all(scenario, study.prices(scenario)):
            made = programs.program(stage, Path("stages"))
            key = made and (made.gin_files, tuple(sorted(stage.macros.items())))
            if made is None or key in seen:
                continue
            seen.add(key)
            gin.clear_config()
            module, _ = programs_of._entry_point(made.module)
            with programs_of._standing_in_for_main(module):
                gin_utils.parse_gin_flags(search_paths(), list(made.gin_files), made.bindings())
                bound, read = gin_utils._macros()
                macros = {macro for macro in stage.macros if "." not in macro}
                assert macros <= read, (stage.name, macros - read)
                width = copy.deepcopy(gin.query_parameter("%MODEL")).module.config.emb_dim
                gin.clear_config()
            print(stage.kind, stage.model, width)
"""


def test_stages_of_models_of_other_sizes_are_configured_as_such():
    """One process for all: importing the entry points takes seconds."""
    done = subprocess.run([sys.executable, "-c", _PARSE], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {tuple(line.split()) for line in done.stdout.splitlines()}
    widths = {"small": 512, "base": 768, "large": 1024, "xl": 2048, "xxl": 4096}
    students = {
        (kind, f"t5_1_1_{size}", str(widths[size]))
        for kind in ("annotate", "distill")
        for size in ("small", "base", "large")
    }
    teachers = {
        (kind, f"t5_1_1_{size}", str(widths[size]))
        for kind in ("finetune", "capture")
        for size in ("large", "xl", "xxl")
    }
    minis = {
        (kind, f"mini_{size}", {"student": "64", "teacher": "160"}[size])
        for kind in ("finetune", "capture", "annotate", "distill")
        for size in ("student", "teacher")
    }
    assert found == students | teachers | minis
