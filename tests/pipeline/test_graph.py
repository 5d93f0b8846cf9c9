"""The picture of a study's stages, and the rules that Snakemake gets: the same graph, the same bytes."""

import ast
import dataclasses
import importlib.util
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from distill_or_annotate.ledger import Ledger
from distill_or_annotate.pipeline import graph, workflow
from distill_or_annotate.pipeline.billing import billing_of
from distill_or_annotate.pipeline.runner import Study, needs
from distill_or_annotate.pipeline.store import Store
from distill_or_annotate.scenarios import Scenario, expand_all

_SCENARIO = Scenario(
    name="drawn",
    task="mini",
    n_labels=(40, 80),
    additional_usd=(0, 3),
    max_unlabeled=60,
    price_book="quickstart_scaled",
    teacher_gin="gin/experiments/mini_teacher.gin",
    capture_gin="gin/experiments/mini_capture.gin",
    distill_gin="gin/experiments/mini_distill.gin",
    annotate_gin="gin/experiments/mini_annotate.gin",
)
_SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def study(tmp_path):
    return _study(tmp_path)


def _study(folder, scenario=_SCENARIO, **ledger):
    book = scenario.book()
    books = Ledger(folder / "ledger.jsonl", **ledger)
    store = Store(folder / "stages", books.path)
    return Study(scenario, expand_all(scenario, book), billing_of(scenario, book), books, store, folder)


def test_every_stage_is_a_box_with_its_dollars_left_of_all_that_need_it(study):
    root = ElementTree.fromstring(graph.svg(study))
    boxes = {group.find(f"{_SVG}title").text: group.find(f"{_SVG}rect") for group in root.findall(f"{_SVG}g")}
    assert set(boxes) == {stage.name for stage in study.stages}
    left = {name: int(box.get("x")) for name, box in boxes.items()}
    for stage in study.stages:
        assert all(left[name] < left[stage.name] for name in needs(stage, study.stages))
    places = [(box.get("x"), box.get("y")) for box in boxes.values()]
    assert len(set(places)) == len(places)
    width, height = int(root.get("width")), int(root.get("height"))
    assert all(int(box.get("x")) + int(box.get("width")) <= width for box in boxes.values())
    assert all(int(box.get("y")) + int(box.get("height")) <= height for box in boxes.values())
    text = "".join(root.itertext())
    assert "$10.40" in text and f"{len(study.stages)} stages, 0 finished" in text


def test_the_same_study_gives_the_same_bytes_and_a_finished_stage_is_filled(study, tmp_path):
    before = graph.svg(study)
    assert graph.svg(_study(tmp_path)) == before
    (tmp_path / "stages" / study.stages[0].name).mkdir(parents=True)
    study.store.finish(study.stages[0].name)
    assert "1 finished" in graph.svg(study) and graph.svg(study).count('fill="#e8f1e4"') == 1


def test_what_is_needed_through_others_is_drawn_once(study):
    n_needed = sum(len(needs(stage, study.stages)) for stage in study.stages)
    assert 0 < graph.svg(study).count('class="edge"') < n_needed


def test_a_name_with_markup_is_escaped(study):
    stages = [dataclasses.replace(stage, model="<b>&") for stage in study.stages]
    assert "<b>" not in graph.svg(dataclasses.replace(study, stages=stages))


def _has_snakemake():
    return importlib.util.find_spec("snakemake") is not None


_FAKE_DOA = """
import pathlib, sys, time
words = dict(zip(sys.argv[1::2], sys.argv[2::2]))
folder = pathlib.Path(words["--folder"])
(folder / "began").open("a").write(f"{words['--stage']} {time.time()}\\n")
time.sleep(0.3)
if words["--stage"].startswith(words["--fail"]):
    print("stage failed: no such luck")
    sys.exit(3)
(folder / "ended").open("a").write(f"{words['--stage']} {time.time()}\\n")
"""


def _snakemake(study, folder, fail="nothing"):
    """Runs a study's Snakefile, two stages at a time, with a script that stands for doa."""
    script = folder / "a script.py"
    script.write_text(_FAKE_DOA)
    words = [sys.executable, str(script), "--folder", str(folder), "--fail", fail]
    (folder / "Snakefile").write_text(workflow.snakefile(study, words, folder, Path.cwd()))
    command = [sys.executable, "-m", "snakemake", "-s", str(folder / "Snakefile"), "--directory", str(folder)]
    done = subprocess.run([*command, "--jobs", "2", "--keep-going"], capture_output=True, text=True, check=False)
    times = {
        kind: {line.split()[0]: float(line.split()[1]) for line in (folder / kind).read_text().splitlines()}
        for kind in ("began", "ended")
    }
    return done, times


@pytest.mark.skipif(not _has_snakemake(), reason="the extra 'workflow' is not installed")
def test_snakemake_runs_each_stage_once_after_those_it_needs_two_at_a_time(study, tmp_path):
    done, times = _snakemake(study, tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(times["ended"]) == {stage.name for stage in study.stages}
    for stage in study.stages:
        assert all(times["ended"][name] <= times["began"][stage.name] for name in needs(stage, study.stages))
    spans = [(times["began"][name], times["ended"][name]) for name in times["ended"]]
    together = [sum(start <= moment < end for start, end in spans) for moment, _ in spans]
    assert max(together) == 2


@pytest.mark.skipif(not _has_snakemake(), reason="the extra 'workflow' is not installed")
def test_a_stage_that_fails_takes_along_only_what_needs_it(study, tmp_path):
    done, times = _snakemake(study, tmp_path, fail="capture")
    assert done.returncode != 0
    assert {name.split("-")[0] for name in times["ended"]} == {"label", "finetune", "annotate", "evaluate"}
    assert (
        "no such luck"
        in (tmp_path / "logs" / next(n for n in times["began"] if "capture" in n)).with_suffix(".txt").read_text()
    )


def test_rules_name_the_command_with_its_cap_from_the_folder_it_was_given_in(study):
    words = ["doa", "run", "my {study}.gin", "--max-usd", "5.0"]
    text = workflow.snakefile(study, words, Path("/runs/x"), Path("/home/a b"))
    rules = [line for line in text.splitlines() if line.startswith("    shell: ")]
    assert len(rules) == len(study.stages)
    shell = ast.literal_eval(rules[0].removeprefix("    shell: ")).replace("{{", "{").replace("}}", "}")
    assert "cd '/home/a b'; doa run 'my {study}.gin' --max-usd 5.0 --stage label-" in shell
    local = next(line for line in text.splitlines() if line.startswith("localrules: "))
    assert "label_" in local and "evaluate_" in local and "finetune_" not in local


def test_a_language_model_is_asked_from_here_and_its_labels_are_no_devices(tmp_path):
    asked = dataclasses.replace(_SCENARIO, task="mini_cls", additional_usd=(3,), strategies=("llm_annotate",))
    study = _study(tmp_path, asked)
    text = workflow.snakefile(study, ["doa", "run"], Path("/runs/x"), Path("/"))
    local = next(line for line in text.splitlines() if line.startswith("localrules: "))
    assert "llm_label_" in local and "llm_annotate_" not in local
    usd = sum(charge.usd for stage in study.stages for charge in stage.charges)
    drawn = "".join(ElementTree.fromstring(graph.svg(study)).itertext())
    assert usd > 0 and f" labels, ${usd:.2f} API labels, $0.00 devices" in drawn


def test_without_snakemake_or_its_plugin_the_message_says_what_to_install(study, monkeypatch):
    from distill_or_annotate.pipeline.workflow import handing

    real = handing.importlib.util.find_spec
    monkeypatch.setattr(handing.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(workflow.WorkflowError, match=r"pip install 'distill-or-annotate\[workflow\]'"):
        workflow.hand_over(study, [], ["doa"], 2, None)
    monkeypatch.setattr(handing.importlib.util, "find_spec", lambda name: real("os") if name == "snakemake" else None)
    with pytest.raises(workflow.WorkflowError, match=r"no executor 'slurm' here.*snakemake-executor-plugin-slurm"):
        workflow.hand_over(study, [], ["doa"], 2, "slurm")


@pytest.mark.skipif(not _has_snakemake(), reason="the extra 'workflow' is not installed")
def test_a_graph_that_is_done_starts_no_snakemake(study, monkeypatch):
    from distill_or_annotate.pipeline.workflow import handing

    monkeypatch.setattr(handing.subprocess, "run", lambda *_, **__: pytest.fail("nothing is left to run"))
    assert (
        workflow.hand_over(study, [stage.name for stage in study.stages], ["doa", "run"], 2, None) == workflow.Handed()
    )
