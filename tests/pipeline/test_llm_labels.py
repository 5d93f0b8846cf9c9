"""The stage `llm_label` over real HTTP against the rehearsal server: within its reserve, resumable, billed by token."""

import dataclasses
import io
import json
import shutil

import pytest
from rich.console import Console

from distill_or_annotate.annotators.rehearsal import RehearsalServer
from distill_or_annotate.annotators.rehearsal_model import RehearsalModel
from distill_or_annotate.annotators.token_prices import token_prices
from distill_or_annotate.ledger import Attempt, Ledger
from distill_or_annotate.pipeline import llm_bills, llm_labels, programs, results, runner, telling, work
from distill_or_annotate.pipeline.billing import billing_of
from distill_or_annotate.pipeline.locks import folder_lock
from distill_or_annotate.pipeline.runner import Study
from distill_or_annotate.pipeline.store import Store
from distill_or_annotate.prices import load_book
from distill_or_annotate.scenarios import Scenario, expand_all

_SCENARIO = Scenario(
    name="asked",
    task="mini_cls",
    n_labels=50,
    additional_usd=(0.6,),
    strategies=("llm_annotate", "human_llm_annotate"),
    price_book="quickstart_scaled",
    annotate_gin="gin/experiments/mini_annotate.gin",
    llm_options={"shots": 4, "output_tokens": 16, "model": "rehearsed"},
)
_BOOK = load_book("quickstart_scaled")


@pytest.fixture
def server(monkeypatch):
    """Serves answers to the first sources of the pool; its prices are those of the paper's language model."""
    from distill_or_annotate.tasks import registry, variants

    sources = [row["source"] for row in variants.pool("mini_cls").rows[:40]]
    word = registry.get("mini_cls").labels[0]
    prices = {"standard": token_prices(_BOOK.base, "text-davinci-003")}
    model = RehearsalModel(dict.fromkeys(sources, word), prices)
    with RehearsalServer(model) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "play-money")
        yield running


def _study(folder, scenario=_SCENARIO, max_usd=None):
    folder.mkdir(exist_ok=True)
    ledger = Ledger(folder / "ledger.jsonl", max_usd=max_usd)
    store = Store(folder / "stages", ledger.path)
    return Study(scenario, expand_all(scenario, _BOOK), billing_of(scenario, _BOOK), ledger, store, folder)


@pytest.fixture
def untrained(monkeypatch):
    """Trains and scores nothing: the labels are what is looked at."""
    evaluation = {"metric": "accuracy", "score": 50.0, "stderr": 1.0, "floors": {}, "parts": {}, "n_examples": 9}
    evaluation["degenerate"] = {"flagged": False}

    def evaluate(stage, stages, folder, stages_dir):
        (folder / results.EVALUATION).write_text(json.dumps(evaluation))

    monkeypatch.setattr(work, "_run", lambda *_: None)
    monkeypatch.setattr(work, "_evaluate", evaluate)


def _asked(study):
    return next(stage for stage in study.stages if stage.kind == "llm_label")


def test_labels_are_bought_once_for_both_students_and_billed_by_their_tokens(tmp_path, server, untrained):
    study = _study(tmp_path / "run", max_usd=20)
    assert runner.run(study, Console(file=io.StringIO())).is_whole
    stage, invoice_usd = _asked(study), server.model.invoice_usd()
    assert stage.n_unlabeled == 13 and set(server.model.n_billed().values()) == {1}
    (row,) = [row for row in study.ledger.rows() if row["kind"] == "api"]
    assert row["usd"] == pytest.approx(invoice_usd) and row["source"] == "measured"
    assert 0 < invoice_usd <= sum(charge.usd for charge in stage.charges), "within the price of the book"
    lines = (study.store.folder / stage.name / programs.LLM_LABELS).read_text().splitlines()
    assert len(lines) == 13
    rows = [json.loads(line) for line in (study.run_dir / "results.jsonl").read_text().splitlines()]
    assert {row["strategy"] for row in rows} == {"llm_annotate", "human_llm_annotate"}
    assert all(row["llm_labels"]["n_labelled"] == 13 and row["llm_labels"]["model"] == "rehearsed" for row in rows)
    runner.run(study, Console(file=io.StringIO()))
    assert server.model.invoice_usd() == invoice_usd, "nothing is bought twice"


def test_what_an_interrupted_stage_spent_is_in_the_books_once(tmp_path, server, untrained, monkeypatch):
    study = _study(tmp_path / "run")
    whole = llm_labels.label

    def broken(*args):
        whole(*args)
        raise ValueError("the line went dead")

    monkeypatch.setattr(llm_labels, "label", broken)
    with pytest.raises(work.StageError, match="the line went dead"):
        runner.run(study, Console(file=io.StringIO()))
    invoice_usd = server.model.invoice_usd()
    assert study.ledger.totals().usd["quickstart_scaled"]["api"] == pytest.approx(invoice_usd)
    monkeypatch.setattr(llm_labels, "label", whole)
    assert runner.run(study, Console(file=io.StringIO())).is_whole
    assert server.model.invoice_usd() == invoice_usd, "an answered item is never sent again"
    assert study.ledger.totals().usd["quickstart_scaled"]["api"] == pytest.approx(invoice_usd)


def test_under_a_cap_of_just_the_reserve_a_failure_is_told_and_the_rest_is_still_affordable(
    tmp_path, server, untrained, monkeypatch
):
    study = _study(tmp_path / "run")
    others = sum(
        charge.usd for stage in study.stages if stage.kind != "llm_label" for charge in study.billing.charges(stage)
    )
    labels = sum(stage.n_labels for stage in study.stages if stage.kind == "label") * _BOOK.label("mini_cls").usd
    cap_usd = others + labels + sum(charge.usd for charge in _asked(study).charges) + 1e-6
    study = dataclasses.replace(study, ledger=Ledger(study.ledger.path, max_usd=cap_usd))
    whole = llm_labels.label

    def broken(*args):
        whole(*args)
        raise ValueError("the line went dead")

    monkeypatch.setattr(llm_labels, "label", broken)
    for _ in range(2):
        with pytest.raises(work.StageError, match="the line went dead"):
            runner.run(study, Console(file=io.StringIO()))
    monkeypatch.setattr(llm_labels, "label", whole)
    assert runner.run(study, Console(file=io.StringIO())).is_whole
    assert study.ledger.totals().usd["quickstart_scaled"]["api"] == pytest.approx(server.model.invoice_usd())


def test_what_a_killed_process_had_spent_enters_the_books_before_anything_else_does(
    tmp_path, server, untrained, monkeypatch
):
    study, whole = _study(tmp_path / "run"), llm_labels.label

    def killed(*args):
        whole(*args)
        raise ValueError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(llm_labels, "label", killed)
        patched.setattr(llm_bills, "settle", lambda *_, **__: None)  # a killed process settles nothing
        patched.setattr(Attempt, "settle", lambda *_, **__: {})
        with pytest.raises(work.StageError):
            runner.run(study, Console(file=io.StringIO()))
    assert "api" not in study.ledger.totals().usd["quickstart_scaled"]
    for _ in range(2):
        runner.reconcile(study)
        assert study.ledger.totals().usd["quickstart_scaled"]["api"] == pytest.approx(server.model.invoice_usd())


def test_while_another_process_is_at_the_books_nothing_is_settled_by_the_book_s_price(
    tmp_path, server, untrained, monkeypatch
):
    study, stage = _study(tmp_path / "run"), None
    with monkeypatch.context() as patched:
        patched.setattr(llm_bills, "settle", lambda *_, **__: None)
        patched.setattr(Attempt, "settle", lambda *_, **__: {})  # killed between its end mark and its settlement
        runner.run(study, Console(file=io.StringIO()))
    stage = _asked(study)
    monkeypatch.setattr("distill_or_annotate.ledger.ledger.is_alive", lambda *_: False)
    with folder_lock(study.store.folder / stage.name):
        runner.reconcile(study)
    assert "api" not in study.ledger.totals().usd["quickstart_scaled"]
    runner.reconcile(study)
    assert _api_usd(study) == pytest.approx(server.model.invoice_usd())


def test_another_study_pays_what_the_labels_cost_when_it_shares_them(tmp_path, server, untrained):
    first = _study(tmp_path / "first")
    runner.run(first, Console(file=io.StringIO()))
    second = dataclasses.replace(_study(tmp_path / "second"), store=Store(first.store.folder, tmp_path / "other"))
    assert runner.run(second, Console(file=io.StringIO())).is_whole
    api = [study.ledger.totals().usd["quickstart_scaled"]["api"] for study in (first, second)]
    assert api[0] == pytest.approx(api[1]) == pytest.approx(server.model.invoice_usd())


@pytest.fixture
def interrupted(monkeypatch):
    """Runs a study whose labels are all bought, and whose stage then fails."""
    whole = llm_labels.label

    def run(study):
        def broken(*args):
            whole(*args)
            raise ValueError("the line went dead")

        with monkeypatch.context() as patched:
            patched.setattr(llm_labels, "label", broken)
            with pytest.raises(work.StageError, match="the line went dead"):
                runner.run(study, Console(file=io.StringIO()))

    return run


def _api_usd(study):
    return study.ledger.totals().usd["quickstart_scaled"]["api"]


def test_labels_that_are_bought_again_in_a_new_folder_are_paid_for_again(tmp_path, server, untrained):
    study = _study(tmp_path / "run")
    runner.run(study, Console(file=io.StringIO()))
    shutil.rmtree(study.store.folder / _asked(study).name)
    assert study.owed(_asked(study))[0].usd == pytest.approx(_asked(study).charges[0].usd), "all of it is reserved"
    runner.run(study, Console(file=io.StringIO()))
    assert _api_usd(study) == pytest.approx(server.model.invoice_usd())


def test_what_another_run_finished_is_owed_less_what_was_spent_on_it_before(tmp_path, server, untrained, interrupted):
    first = _study(tmp_path / "first")
    interrupted(first)
    shared = Store(first.store.folder, tmp_path / "other")
    second = dataclasses.replace(_study(tmp_path / "second"), store=shared)
    assert runner.run(second, Console(file=io.StringIO())).is_whole
    assert runner.run(first, Console(file=io.StringIO())).is_whole
    assert _api_usd(first) == pytest.approx(_api_usd(second)) == pytest.approx(server.model.invoice_usd())


def test_a_study_with_nothing_reserved_is_not_billed_for_another_s_requests(tmp_path, server, untrained, interrupted):
    first = _study(tmp_path / "first")
    shared = Store(first.store.folder, tmp_path / "other")
    second = dataclasses.replace(_study(tmp_path / "second"), store=shared)
    interrupted(second)
    stage = _asked(first)
    first.ledger.open_attempt(stage.name, charges=first.owed(stage)).settle(wasted=True)
    runner.reconcile(first)
    assert "api" not in first.ledger.totals().usd.get("quickstart_scaled", {})
    assert _api_usd(second) == pytest.approx(server.model.invoice_usd())


def test_items_that_were_refused_unbilled_are_asked_for_when_the_stage_goes_on(
    tmp_path, server, untrained, monkeypatch
):
    study = _study(tmp_path / "run")
    monkeypatch.setattr(server.model, "_faults", {"refused": 1.0})
    with pytest.raises(work.StageError, match="no label was bought"):
        runner.run(study, Console(file=io.StringIO()))
    monkeypatch.setattr(server.model, "_faults", {})
    assert runner.run(study, Console(file=io.StringIO())).is_whole
    told = llm_labels.summary(study.store.folder / _asked(study).name)
    assert told["n_labelled"] == 13 and not told["set_aside"]


def test_of_a_stage_that_is_paid_in_part_the_rest_is_what_is_missing(tmp_path, server, untrained, interrupted):
    study = _study(tmp_path / "run")
    interrupted(study)
    stage, paid_usd = _asked(study), server.model.invoice_usd()
    rest_usd = telling._unpaid_usd(study, [stage], study.ledger.rows())
    assert rest_usd == pytest.approx(stage.charges[0].usd - paid_usd)
    capped = Ledger(study.ledger.path, max_usd=study.ledger.totals().scenario_usd + rest_usd + 1e-6)
    capped.check(stage.name, study.owed(stage))


def test_a_reserve_that_is_too_small_ends_with_the_labels_that_it_bought(tmp_path, server, untrained):
    study = _study(tmp_path / "run")
    stage = _asked(study)
    small = dataclasses.replace(stage.charges[0], quantity=1.3)
    stages = [dataclasses.replace(s, charges=(small,)) if s.name == stage.name else s for s in study.stages]
    study = dataclasses.replace(study, stages=stages)
    assert runner.run(study, Console(file=io.StringIO())).is_whole
    told = llm_labels.summary(study.store.folder / stage.name)
    assert 0 < told["n_labelled"] < 13 and told["stopped_at_cap"]
    assert server.model.invoice_usd() <= small.usd


def test_the_student_s_program_reads_the_labels_and_for_one_strategy_the_gold(tmp_path):
    for stage in expand_all(_SCENARIO, _BOOK):
        if stage.kind in _SCENARIO.strategies:
            program = programs.program(stage, tmp_path)
            assert program.gin_files[-1] == "gin/runs/llm_labels.gin"
            human = stage.kind == "human_llm_annotate"
            assert program.macros["GOLD"] == ("mini_cls_n50_s0" if human else None)
            assert program.macros["N_EXAMPLES"] == 13 + (50 if human else 0)
            assert program.macros["LLM_LABELS"].startswith(str(tmp_path / "llm_label-"))


def test_floors_learn_from_the_labels_that_the_model_had_and_not_from_those_in_the_prompts(tmp_path):
    from distill_or_annotate.tasks import registry, variants

    stages = expand_all(_SCENARIO, _BOOK)
    asked = next(stage for stage in stages if stage.kind == "llm_label")
    word = registry.get("mini_cls").labels[0]
    sources = [row["source"] for row in variants.pool("mini_cls").rows[: asked.n_unlabeled]][:9]
    (tmp_path / asked.name).mkdir()
    lines = [json.dumps({"prediction": word, "inputs": {"inputs_pretokenized": source}}) + "\n" for source in sources]
    (tmp_path / asked.name / programs.LLM_LABELS).write_text("".join(lines))
    known = {}
    for stage in stages:
        if stage.kind == "evaluate":
            trained = stage.depends_on[0].split("-")[0]
            known[trained] = registry.rows(variants.variant(programs.known_labels(stage, stages, tmp_path)), "train")
    people = registry.rows(variants.labelled("mini_cls", 50, 0), "train")
    assert known["llm_annotate"] == [{"source": source, "target": word} for source in sources]
    assert len(known["human_llm_annotate"]) == 50 + 9
    assert {row["source"] for row in known["human_llm_annotate"]} == {*sources, *(row["source"] for row in people)}


def test_without_a_key_the_study_is_refused(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    stages = expand_all(_SCENARIO, _BOOK)
    with pytest.raises(ValueError, match=r"labels from rehearsed, and it cannot be asked.*Nothing was spent"):
        llm_labels.check_endpoint(_SCENARIO, stages, lambda name: False)
    llm_labels.check_endpoint(_SCENARIO, stages, lambda name: True)
    llm_labels.check_endpoint(_SCENARIO, stages[-1:], lambda name: False)  # a job of another stage needs no key
    without = dataclasses.replace(_SCENARIO, strategies=("annotate",))
    llm_labels.check_endpoint(without, expand_all(without, _BOOK), lambda name: False)
