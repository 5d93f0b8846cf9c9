"""The walk over a study: what the cap leaves out, what others finished, what a stop leaves. Training is faked."""

import dataclasses
import io
import json
import subprocess
import sys
import time

import pytest
from rich.console import Console

from distill_or_annotate.ledger import CapReached, Ledger
from distill_or_annotate.pipeline import gates, runner, single_stage, telling, work
from distill_or_annotate.pipeline.billing import Billing, billing_of
from distill_or_annotate.pipeline.deadline import Deadline, ReserveReached
from distill_or_annotate.pipeline.progress import StudyProgress
from distill_or_annotate.pipeline.runner import Study
from distill_or_annotate.pipeline.store import Store, stages_folder
from distill_or_annotate.prices import load_book
from distill_or_annotate.scenarios import Scenario, expand_all

_SCENARIO = Scenario(
    name="walked",
    task="mini",
    n_labels=40,
    additional_usd=(0, 3),
    max_unlabeled=60,
    price_book="quickstart_scaled",
    teacher_gin="gin/experiments/mini_teacher.gin",
    capture_gin="gin/experiments/mini_capture.gin",
    distill_gin="gin/experiments/mini_distill.gin",
    annotate_gin="gin/experiments/mini_annotate.gin",
)
_DEVICE = load_book("cloud").entry("device_hour/v5e")


@pytest.fixture
def done(monkeypatch):
    """Names of the stages whose work was done, in order; work takes no time."""
    names = []
    monkeypatch.setattr(gates, "check_vocabulary", lambda *_: None)
    monkeypatch.setattr(work, "do", lambda stage, *_: names.append(stage.name))
    return names


def _study(folder, max_usd=None, stages_dir=None, scenario=_SCENARIO, billing=None, name="run"):
    run_dir = folder / name
    run_dir.mkdir(exist_ok=True)
    ledger = Ledger(run_dir / "ledger.jsonl", max_usd=max_usd)
    book = scenario.book()
    store = Store(stages_folder(run_dir, stages_dir), ledger.path)
    return Study(scenario, expand_all(scenario, book), billing or billing_of(scenario, book), ledger, store, run_dir)


def _console():
    return Console(file=io.StringIO(), width=300)


def _kinds(names):
    return [name.split("-")[0] for name in names]


def test_a_run_reaches_every_stage_once_and_pays_what_was_planned(tmp_path, done):
    study, console = _study(tmp_path), _console()
    outcome = runner.run(study, console)
    assert outcome.is_whole and outcome.reached == [stage.name for stage in study.stages]
    assert "label" not in _kinds(done) and len(set(done)) == len(done) == len(study.stages) - 2
    planned = sum(study.billing.planned_usd(stage) for stage in study.stages)
    assert study.ledger.totals().scenario_usd == pytest.approx(planned)
    assert study.ledger.totals().reserved_scenario_usd == 0
    runner.run(study, console)
    assert len(set(done)) == len(done)


def test_what_does_not_fit_is_left_out_with_what_needs_it_and_all_else_is_done(tmp_path, done):
    study = _study(tmp_path, max_usd=12)
    outcome = runner.run(study, _console())
    assert _kinds(outcome.refused) == ["label"] and _kinds(outcome.waiting) == ["annotate", "evaluate"]
    assert len(outcome.reached) == len(study.stages) - 3 and "distill" in _kinds(done)
    assert study.ledger.totals().scenario_usd <= 12
    told = telling.stopped_short(study, outcome, "doa run walked")
    assert "\n" not in told and told.startswith("Stopped at the cap of $12.00: $11.26 are spent, 8 of 11 stages done.")
    raised = float(told.rsplit(" --max-usd ", 1)[1])
    again = _study(tmp_path, max_usd=raised)
    assert runner.run(again, _console()).is_whole, "the cap that the message names is enough"
    assert len(set(done)) == len(done), "nothing was done twice"
    assert raised - 0.02 < again.ledger.totals().scenario_usd <= raised


def test_a_teacher_that_does_not_fit_takes_capture_and_distillation_with_it(tmp_path, done):
    outcome = runner.run(_study(tmp_path, max_usd=10.5), _console())
    assert "finetune" in _kinds(outcome.refused)
    assert _kinds(done) == ["annotate", "evaluate"], "the student on the labels at hand costs nothing more"


def test_a_stage_finished_by_another_run_is_charged_here_and_takes_no_time(tmp_path, done):
    store = tmp_path / "store"
    first = _study(tmp_path, stages_dir=store, name="first")
    runner.run(first, _console())
    n_done = len(done)
    second = _study(tmp_path, stages_dir=store, name="second")
    outcome = runner.run(second, _console())
    assert len(done) == n_done and len(outcome.shared) == len(second.stages)
    assert second.ledger.totals().scenario_usd == pytest.approx(first.ledger.totals().scenario_usd)
    assert second.ledger.totals().device_seconds == 0
    assert telling.sharing(second, outcome).startswith("11 of 11 stages were finished by other runs that share ")
    assert telling.sharing(first, runner.run(first, _console())) == "", "its own stages are not shared ones"


def test_shared_stages_count_against_the_cap_too(tmp_path, done):
    store = tmp_path / "store"
    runner.run(_study(tmp_path, stages_dir=store, name="first"), _console())
    outcome = runner.run(_study(tmp_path, max_usd=12, stages_dir=store, name="second"), _console())
    assert _kinds(outcome.refused) == ["label"] and _kinds(outcome.waiting) == ["annotate", "evaluate"]


def test_a_store_of_other_data_is_refused(tmp_path):
    store = Store(tmp_path / "store", tmp_path / "ledger.jsonl")
    store.claim({"mini/train": "aa"})
    store.claim({"mini/train": "aa", "wlp/train": "bb"})
    with pytest.raises(ValueError, match=r"made of other data \(mini/train changed since\).*--stages-dir"):
        store.claim({"mini/train": "cc"})


def test_the_stage_store_is_the_run_s_own_unless_one_is_named(tmp_path, monkeypatch):
    assert stages_folder(tmp_path, None) == tmp_path / "stages"
    monkeypatch.setenv("DOA_STAGES_DIR", "/elsewhere")
    assert str(stages_folder(tmp_path, None)) == "/elsewhere"
    assert stages_folder(tmp_path, tmp_path / "mine") == tmp_path / "mine"


def test_a_failed_stage_is_wasted_and_ends_the_walk(tmp_path, done, monkeypatch):
    def fail(stage, *_):
        raise work.StageError(stage.name, "failed: ValueError: no")

    monkeypatch.setattr(work, "do", fail)
    study = _study(tmp_path)
    with pytest.raises(work.StageError, match=r"^stage finetune-\w+ failed: ValueError: no") as failed:
        runner.run(study, _console())
    assert failed.value.stage.startswith("finetune-")
    assert study.ledger.rows()[-1]["wasted"] and study.ledger.totals().reserved_scenario_usd == 0


def test_a_mesh_bills_measured_time_and_the_rates_are_its_limit(tmp_path, done, monkeypatch):
    limits = {}
    monkeypatch.setattr(work, "do", lambda stage, *args: limits.update({stage.kind: args[4].seconds}))
    billing = Billing(_SCENARIO.book(), _DEVICE, 8)
    study = _study(tmp_path, billing=billing)
    assert runner.run(study, _console()).is_whole
    teacher = next(stage for stage in study.stages if stage.kind == "finetune")
    usd_per_second = 8 * _DEVICE.usd / 3600
    assert limits["finetune"] == pytest.approx(study.billing.planned_usd(teacher) / usd_per_second, abs=1)
    assert limits["capture"] == limits["annotate"] == limits["evaluate"] == float("inf"), "no rate, and no cap"
    totals = study.ledger.totals()
    assert set(totals.usd) == {"quickstart_scaled", "cloud", "local"}
    assert set(totals.usd["quickstart_scaled"]) == {"label"}, "rates are not billed on top"
    assert 0 < totals.book_usd("cloud") < 1


def test_a_distillation_pays_its_part_of_the_capture_from_its_budget(tmp_path):
    study = _study(tmp_path, billing=Billing(_SCENARIO.book(), _DEVICE, 8))
    stage = next(stage for stage in study.stages if stage.kind == "distill")
    capture = next(name for name in stage.depends_on if name.startswith("capture"))
    whole = study.billing.budget_seconds(stage, study.by_name, {})
    assert study.billing.budget_seconds(stage, study.by_name, {capture: 80.0}) == pytest.approx(whole - 10)
    assert study.billing.budget_seconds(stage, study.by_name, {capture: 80.0, stage.name: 160.0}) == pytest.approx(
        whole - 30
    )
    assert study.billing.budget_seconds(stage, study.by_name, {capture: 1e9}) == 0


def _stopping_at(kinds, saved=True):
    def do(stage, _scenario, _stages, stages_dir, *_):
        if stage.kind in kinds:
            if saved:
                (stages_dir / stage.name / "model" / "checkpoint_5").mkdir(parents=True)
            raise ReserveReached
        time.sleep(0.01)

    return do


def test_a_budget_that_is_used_up_ends_the_training_and_the_model_is_taken_as_it_stands(tmp_path, done, monkeypatch):
    evaluated = []
    monkeypatch.setattr(work, "do", _stopping_at(("finetune",)))
    monkeypatch.setattr(work, "evaluate_as_it_stands", lambda stage, _: evaluated.append(stage.kind))
    study = _study(tmp_path, billing=Billing(_SCENARIO.book(), _DEVICE))
    assert runner.run(study, _console()).is_whole
    assert evaluated == ["finetune"]
    mark = next(study.store.folder.glob("finetune-*/done.json"))
    assert json.loads(mark.read_text())["stopped_by"] == "device time"


def test_a_stage_without_a_rate_stops_at_the_cap_and_goes_on_under_a_higher_one(tmp_path, done, monkeypatch):
    monkeypatch.setattr(work, "do", _stopping_at(("annotate",)))
    scenario = dataclasses.replace(_SCENARIO, strategies=("annotate",), additional_usd=(0,))
    billing = Billing(scenario.book(), _DEVICE)
    study = _study(tmp_path, max_usd=11, scenario=scenario, billing=billing)
    outcome = runner.run(study, _console())
    assert _kinds(outcome.stopped) == ["annotate"] and _kinds(outcome.waiting) == ["evaluate"]
    reserve = next(row for row in study.ledger.rows() if row["status"] == "reserved")
    assert reserve["usd"] == pytest.approx(0.6, abs=1e-3), "all that the labels left"
    settled = study.ledger.rows()[-1]
    assert not settled["wasted"] and settled["note"] == "stopped at its reserve; what it had done is saved"
    told = telling.stopped_short(study, outcome, "doa run walked")
    assert "Stopped at its reserve, to go on from its last checkpoint: annotate-" in told and told.endswith("(or more)")
    monkeypatch.setattr(work, "do", lambda *_: None)
    assert runner.run(_study(tmp_path, max_usd=20, scenario=scenario, billing=billing), _console()).is_whole


def test_a_stop_that_saved_nothing_is_wasted(tmp_path, done, monkeypatch):
    monkeypatch.setattr(work, "do", _stopping_at(("annotate",), saved=False))
    scenario = dataclasses.replace(_SCENARIO, strategies=("annotate",), additional_usd=(0,))
    study = _study(tmp_path, max_usd=11, scenario=scenario, billing=Billing(scenario.book(), _DEVICE))
    assert _kinds(runner.run(study, _console()).stopped) == ["annotate"]
    settled = study.ledger.rows()[-1]
    assert settled["wasted"] and settled["note"] == "stopped at its reserve; nothing was saved"


def test_one_stage_alone_asks_for_those_it_needs_and_names_near_ones(tmp_path, done):
    study = _study(tmp_path)
    capture = next(stage for stage in study.stages if stage.kind == "capture")
    with pytest.raises(ValueError, match=rf"--stage {capture.name} needs finetune-\w+, annotate-\w+, not finished yet"):
        single_stage.find(study, capture.name)
    with pytest.raises(ValueError, match=f"no stage '{capture.name}x'; near: {capture.name}"):
        single_stage.find(study, capture.name + "x")
    for stage in study.stages:
        assert single_stage.run(study, single_stage.find(study, stage.name), _console(), "doa run walked") == 0
    assert runner.run(study, _console(), start=()).is_whole
    assert study.ledger.totals().duplicates == ()


def test_one_stage_alone_ends_with_its_own_status_at_the_cap(tmp_path, done):
    study, console = _study(tmp_path, max_usd=1), _console()
    assert single_stage.run(study, study.stages[0], console, "doa run walked") == 3
    assert "costs up to $10.40, and of the cap of $1.00 $0.00 are spent" in console.file.getvalue()


def test_a_stage_waits_for_a_running_one_that_may_give_its_reserve_back(tmp_path, done, monkeypatch):
    monkeypatch.setattr(runner, "_POLL_SECONDS", 0.01)
    study = _study(tmp_path, max_usd=20, billing=Billing(_SCENARIO.book(), _DEVICE))
    other = study.ledger.open_attempt("annotate-elsewhere", price=_DEVICE, reserve_seconds=None)
    real = Ledger.open_attempt
    tries = []

    def counted(ledger, *args, **kwargs):
        tries.append(args)
        if len(tries) == 3:
            other.settle(seconds=1)
        return real(ledger, *args, **kwargs)

    monkeypatch.setattr(Ledger, "open_attempt", counted)
    student = next(stage for stage in study.stages if stage.kind == "annotate")
    with StudyProgress(_console(), study.stages, study.billing, study.store) as progress:
        runner.run_stage(study, student, progress)
    assert len(tries) == 3 and study.store.is_finished(student.name)
    assert study.ledger.totals().scenario_usd < 20


def test_a_refusal_that_nothing_can_change_does_not_wait(tmp_path, done):
    study = _study(tmp_path, max_usd=0.1)
    teacher = next(stage for stage in study.stages if stage.kind == "finetune")
    with StudyProgress(_console(), study.stages, study.billing, study.store) as progress, pytest.raises(CapReached):
        runner.run_stage(study, teacher, progress)


def test_progress_tells_time_and_dollars_that_are_left(tmp_path, done):
    console = _console()
    runner.run(_study(tmp_path), console)
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "[1/11] label: 40 from 0 ..."
    assert lines[1].endswith(" s; 5 stages of unknown length, $3.72 left")
    assert lines[-1].startswith("[11/11] ") and not lines[-1].endswith("left")


@pytest.mark.parametrize("listens", [False, True])
def test_a_deadline_ends_work_whether_or_not_it_listens(listens):
    import signal

    started, heard = time.monotonic(), []
    with pytest.raises(ReserveReached), Deadline(0.3) as deadline:
        if listens:
            # As T5X does: note the signal, finish the step, save, leave with 143.
            signal.signal(signal.SIGTERM, lambda *_: heard.append(time.monotonic() - started))
            while not heard:
                time.sleep(0.005)
            raise SystemExit(143)
        time.sleep(5)
    assert deadline.reached and time.monotonic() - started < 1
    assert not heard or 0.2 < heard[0] < 0.29, "told before the end, with time to save"


def test_work_that_listens_and_never_ends_is_ended_at_the_reserve():
    import signal

    started = time.monotonic()
    with pytest.raises(ReserveReached), Deadline(0.3):
        signal.signal(signal.SIGTERM, lambda *_: None)
        time.sleep(0.28)
        time.sleep(5)
    assert 0.25 < time.monotonic() - started < 1


_STUBBORN = """
import sys, time
from distill_or_annotate.pipeline.deadline import Deadline, ReserveReached
with Deadline(0.5, lambda: print("settled", time.monotonic() - started)):
    started = time.monotonic()
    while time.monotonic() - started < 5:
        try:
            time.sleep(5 - time.monotonic() + started)
        except ReserveReached:
            pass
"""


def test_work_that_nothing_ends_ends_with_its_process_after_a_last_deed():
    done = subprocess.run([sys.executable, "-c", _STUBBORN], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    word, seconds = done.stdout.split()
    assert word == "settled" and 0.4 < float(seconds) < 1.5


def test_a_deadline_that_is_not_reached_leaves_no_trace():
    import signal

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    with Deadline(100):
        pass
    with pytest.raises(SystemExit), Deadline(float("inf")):
        signal.raise_signal(signal.SIGTERM)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)) == before
