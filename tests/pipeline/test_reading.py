"""What the pipeline makes of a command line and of gin files, before anything heavy starts."""

import json
import shlex
import subprocess
import sys

import pytest

import t5x
from distill_or_annotate import cli
from distill_or_annotate.pipeline import evaluation, gin_files, study
from distill_or_annotate.pipeline.locks import FolderBusyError, folder_lock
from distill_or_annotate.pipeline.program import Program
from distill_or_annotate.pipeline.programs import program, resuming
from distill_or_annotate.prices import load_book
from distill_or_annotate.scenarios import expand
from distill_or_annotate.tasks import registry


def test_a_program_spells_a_command_that_the_shell_reads_back(monkeypatch):
    monkeypatch.chdir(gin_files.home())
    macros = {"MODEL_DIR": "/tmp/it's here", "TASK": "mini", "N": 3, "RATE": 0.5, "FN": "@shipped.checkpoint()"}
    made = Program("t5x.train", ("a b.gin", "task.gin"), macros)
    words = shlex.split(made.command())
    assert words[:5] == ["python", "-m", "t5x.train", "--gin_file=a b.gin", "--gin_file=task.gin"]
    assert words[5:] == [f"--gin.{binding.replace(' = ', '=', 1)}" for binding in made.bindings()]
    assert "--gin.TASK='mini'" in words and "--gin.FN=@shipped.checkpoint()" in words


def test_a_command_names_the_folders_that_t5x_would_not_look_in_by_itself(tmp_path, monkeypatch):
    def words():
        return shlex.split(Program("t5x.train", ("a.gin",)).command())

    (tmp_path / "my_tasks").mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_tasks" / "a.gin").touch()
    with gin_files.user_files(tmp_path / "my_tasks" / "study.gin"):
        assert words()[3] == f"--gin_search_paths=.,{tmp_path}/my_tasks"
    (tmp_path / "a.gin").touch()
    with gin_files.user_files(tmp_path / "my_tasks" / "study.gin"):
        assert words()[3:] == ["--gin_file=a.gin"], "our runtime knows the packaged files"
    monkeypatch.setattr(t5x, "__runtime__", "upstream")
    assert words()[3] == f"--gin_search_paths=.,{gin_files.home()}"


def test_a_scenario_finds_its_own_files_from_any_folder_and_leaves_the_paths_as_they_were(tmp_path, monkeypatch):
    mine = tmp_path / "home" / "my_tasks"
    mine.mkdir(parents=True)
    (mine / "task.gin").write_text("A = 1\n")
    monkeypatch.chdir(tmp_path)
    before = sys.path[:]
    with gin_files.user_files(mine / "study.gin"):
        assert gin_files.find("my_tasks/task.gin").samefile(mine / "task.gin")
        assert gin_files.find("task.gin") is not None and sys.path[: len(before)] == before
        assert str(tmp_path / "home") in sys.path[len(before) :]
    assert sys.path == before and gin_files.find("task.gin") is None


def test_a_configuration_that_was_left_locked_does_not_keep_a_scenario_from_being_read():
    script = (
        "import gin; gin.finalize(); from distill_or_annotate.pipeline import study; print(study.read('smoke')[0].name)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["smoke"]


def test_the_task_s_gin_file_stands_after_every_stage_s_own(tmp_path):
    scenario, _ = study.read("smoke", ["task_gin=gin/tasks/wlp_mini.gin"])
    for stage in expand(scenario):
        made = program(stage, tmp_path)
        assert made is None or made.gin_files == (stage.gin_file, "gin/tasks/wlp_mini.gin")


@pytest.mark.parametrize(
    ("module", "text", "message"),
    [
        ("broken_task", "x = = 1", "'broken_task' cannot be imported .SyntaxError"),
        ("nowhere.task", "", "'nowhere.task' cannot be imported .ModuleNotFoundError"),
        ("empty_task", "", "Scenario.task: task 'mine' is not registered"),
    ],
)
def test_a_task_s_module_that_does_not_serve_is_refused_in_words(module, text, message, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{module}.py").write_text(text)
    scenario, _ = study.read("smoke", ["task=mine", f"task_module={module}"])
    with pytest.raises(ValueError, match=message):
        study.import_task(scenario)


def test_prices_of_one_s_own_are_found_beside_the_scenario_and_missed_in_words(tmp_path):
    book = "[books.mine]\ntitle = 'Mine'\n"
    (tmp_path / "mine.toml").write_text(book)
    scenario, _ = study.read("smoke", ["price_book=mine", "prices=mine.toml"])
    with gin_files.user_files(tmp_path / "study.gin"):
        assert study.prices(scenario).title == "Mine"
    with pytest.raises(FileNotFoundError, match=r"there is no 'mine.toml'"):
        study.prices(scenario)


def test_an_override_reaches_the_scenario_and_a_wrong_one_names_near_fields():
    scenario, text = study.read("smoke", ["data_seed=4", "mode=paper"])
    assert (scenario.data_seed, scenario.mode) == (4, "paper") and "# data_seed = 4" in text
    with pytest.raises(ValueError, match="near: data_seed"):
        study.read("smoke", ["dataseed=4"])


@pytest.mark.parametrize("line", ["scenarios.Scenari.name = 'x'", "from distill_or_annotate import nothing", "x = = 1"])
def test_a_file_that_is_no_scenario_is_refused_in_words(line, tmp_path, capsys):
    header = "from __gin__ import dynamic_registration\nfrom distill_or_annotate import scenarios\n"
    (tmp_path / "study.gin").write_text(f"{header}{line}\n")
    assert cli.main(["run", str(tmp_path / "study.gin"), "--dry-run"]) == 2
    assert "cannot be read as a scenario" in capsys.readouterr().err


def test_a_packaged_scenario_is_read_from_any_folder_without_a_complaint(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert study.read("quickstart_cls")[0].task == "mini_cls"
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_reading_one_scenario_leaves_nothing_for_the_next():
    first, _ = study.read("quickstart")
    second, _ = study.read("smoke")
    assert first.name == "quickstart" and second.name == "smoke" and study.read("quickstart")[0] == first


def test_an_unknown_scenario_names_near_ones():
    with pytest.raises(FileNotFoundError, match="near: quickstart"):
        gin_files.locate("quickstrat")


@pytest.mark.parametrize(
    ("model", "folder"),
    [("bert_base", "checkpoints/bert-base-uncased"), ("minilm", None), ("mini_student", None), ("no_such", None)],
)
def test_an_encoders_folder_is_the_one_that_its_gin_file_names(model, folder):
    assert gin_files.encoder_folder(model) == folder


def test_a_users_own_encoder_is_read_before_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gin" / "models").mkdir(parents=True)
    (tmp_path / "gin" / "models" / "bert_base.gin").write_text('ENCODER = "/weights/bert"  # a copy\n')
    assert gin_files.encoder_folder("bert_base") == "/weights/bert"


def test_a_digest_follows_includes_and_ignores_comments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inner.gin").write_text("A = 1\n")
    (tmp_path / "outer.gin").write_text("include 'inner.gin'\nB = 2\n")
    before = gin_files.digest("outer.gin")
    (tmp_path / "outer.gin").write_text("# why\ninclude 'inner.gin'\nB = 2  # because\n")
    assert gin_files.digest("outer.gin") == before
    (tmp_path / "inner.gin").write_text("A = 3\n")
    assert gin_files.digest("outer.gin") != before


def test_a_student_on_a_store_reads_what_the_capture_writes(tmp_path):
    made = {stage.kind: program(stage, tmp_path) for stage in expand(study.read("smoke")[0])}
    assert made["distill"].macros["STORE"] == made["capture"].macros["INFER_OUTPUT_DIR"]
    assert "TEACHER_PATH" not in made["distill"].macros


def test_every_stage_reads_what_an_earlier_one_writes(tmp_path):
    scenario, _ = study.read("smoke", ["distill_gin=gin/experiments/mini_distill.gin"])
    stages = expand(scenario, load_book(scenario.price_book))
    by_kind = {stage.kind: stage for stage in stages}
    made = {kind: program(stage, tmp_path) for kind, stage in by_kind.items()}
    assert made["label"] is None and made["evaluate"] is None
    assert made["capture"].macros["CHECKPOINT_PATH"] == made["finetune"].macros["MODEL_DIR"]
    assert made["distill"].macros["TEACHER_PATH"] == made["finetune"].macros["MODEL_DIR"]
    assert made["distill"].macros["PREDICTIONS"].startswith(made["capture"].macros["INFER_OUTPUT_DIR"])
    assert made["finetune"].macros["MAX_STEPS"] == 6, "macros of the scenario come on top"


def test_a_stage_that_left_a_checkpoint_evaluates_before_it_trains(tmp_path):
    fresh = Program("t5x.train", ("a.gin",), {})
    assert resuming(fresh, tmp_path) is fresh
    (tmp_path / "model" / "checkpoint_3.orbax-checkpoint-tmp-0").mkdir(parents=True)
    assert resuming(fresh, tmp_path) is fresh, "one that was being written is none"
    (tmp_path / "model" / "checkpoint_3").mkdir()
    assert resuming(fresh, tmp_path).macros == {"train.run_eval_before_training": True}


def test_a_busy_folder_names_the_process_that_holds_it(tmp_path):
    code = (
        "import sys, time, pathlib\nfrom distill_or_annotate.pipeline.locks import folder_lock\n"
        "with folder_lock(pathlib.Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline().strip() == "held"
        with pytest.raises(FolderBusyError, match=str(holder.pid)), folder_lock(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    with folder_lock(tmp_path):  # the kernel freed it with the process
        assert (tmp_path / ".lock").exists()


def test_help_names_every_command_with_an_example(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("run", "report", "cost", "convert"))
    for name in ("run", "cost", "report", "convert"):
        with pytest.raises(SystemExit):
            cli.main([name, "--help"])
        assert f"example: doa {name}" in " ".join(capsys.readouterr().out.split())


def test_a_run_folder_of_another_scenario_is_refused(tmp_path, capsys):
    (tmp_path / "manifest.json").write_text('{"scenario": {"name": "other"}}')
    assert cli.main(["run", "smoke", "--run-dir", str(tmp_path)]) == 2
    assert "another scenario" in capsys.readouterr().err


def test_a_run_folder_whose_data_changed_is_refused(tmp_path, capsys):
    scenario, _ = study.read("smoke")
    content = {"scenario": scenario.as_dict(), "data": {"mini/train": "0" * 64}}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    assert cli.main(["run", "smoke", "--run-dir", str(tmp_path)]) == 2
    assert "other data (mini/train changed since)" in capsys.readouterr().err
    assert not (tmp_path / "stages").exists()


def test_an_interrupt_is_one_line_that_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "read", interrupted)
    assert cli.main(["run", "smoke"]) == 130
    assert "same command goes on" in capsys.readouterr().err


def test_a_study_in_paper_mode_is_scored_with_the_papers_metric_whatever_its_task_is_registered_with(tmp_path):
    folder = tmp_path / "model" / "inference_eval"
    folder.mkdir(parents=True)
    answers = [
        {"input": {"inputs_pretokenized": row["source"]}, "prediction": row["target"]}
        for row in registry.rows("mini", "test")
    ]
    (folder / "mini-6.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers), encoding="utf-8")
    modes = {}
    for mode in ("fair", "paper"):
        scenario, _ = study.read("quickstart", [f"mode={mode}"])
        (own,) = {stage.mode for stage in expand(scenario) if stage.kind == "evaluate"}
        modes[mode] = evaluation.evaluate(tmp_path, scenario.reads, None, mode=own)["mode"]
    assert modes == {"fair": "fair", "paper": "paper"}


def test_decoded_examples_are_read_whole_whatever_characters_they_hold(tmp_path):
    folder = tmp_path / "model" / "inference_eval"
    folder.mkdir(parents=True)
    rows = registry.rows("mini", "test")
    answers = [{"input": {"inputs_pretokenized": row["source"]}, "prediction": "a\u2028b"} for row in rows]
    text = "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers)
    (folder / "mini-6.jsonl").write_text(text, encoding="utf-8")
    assert evaluation.evaluate(tmp_path, "mini", None)["predictions"][0]["prediction"] == "a\u2028b"
