"""A user's book gives only the prices to change; the rest is a shipped book's, and says so."""

import dataclasses
import datetime

import pytest

from distill_or_annotate.costs import cost_cell, finetune_cost
from distill_or_annotate.prices import PriceBookError, age_warning, load_book
from distill_or_annotate.scenarios import Scenario
from distill_or_annotate.scenarios.cells import cells

LABEL = 'id = "label/wlp"\nusd = 0.5\nunit = "label"'
HOUR = 'id = "gpu_hour/a40"\nusd = 3.75\nunit = "GPU-hour"'
REST = 'date = 2026-11-01\nsource = "our own bill"\nprovenance = "published"\n'


def _write(tmp_path, *entries, head='[books.mine]\nextends = "paper"\n'):
    path = tmp_path / "mine.toml"
    path.write_text(head + "".join(f"[[books.mine.entries]]\n{entry}\n{REST}" for entry in entries))
    return path


def test_what_is_not_given_is_the_shipped_books_and_names_it(tmp_path):
    book, paper = load_book("mine", _write(tmp_path, LABEL)), load_book("paper")
    assert book.label("wlp").usd == 0.5 and book.label("wlp").inherited_from == ""
    kept = book.label("fever")
    assert (kept.usd, kept.date, kept.inherited_from) == (0.129, paper.label("fever").date, "paper")
    # A ledger's rows name the book that a scenario runs under.
    assert {entry.book for entry in book.entries.values()} == {"mine"}
    assert cost_cell(book, "wlp", 5000, 200).n_unlabeled == cost_cell(paper, "wlp", 5000, 200).n_unlabeled
    assert cost_cell(book, "wlp", 5000, 200).extra_labels == 400


def test_another_price_of_an_hour_reprices_the_hours_that_were_inherited(tmp_path):
    book, paper = load_book("mine", _write(tmp_path, HOUR)), load_book("paper")
    for task, n_labels in (("wlp", 5000), ("fever", 1000), ("wlp", 3000)):
        assert finetune_cost(book, task, n_labels).usd == pytest.approx(2 * finetune_cost(paper, task, n_labels).usd)
    entry = book.distill_per_1k("wlp", 5000)
    assert entry.usd == pytest.approx(8.7) and entry.provenance == "estimated"
    assert entry.date == datetime.date(2026, 11, 1) and "2.32 A40-hours (Table 6)" in entry.source
    assert book.label("wlp").usd == 0.26


def test_a_book_may_extend_the_shipped_one_of_its_own_name(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'[books.paper]\nextends = "paper"\n[[books.paper.entries]]\n{LABEL}\n{REST}')
    book = load_book("paper", path)
    assert (book.label("wlp").usd, book.label("fever").usd) == (0.5, 0.129)
    assert load_book("paper").label("wlp").usd == 0.26


def test_several_books_are_extended_and_the_first_wins(tmp_path):
    book = load_book("mine", _write(tmp_path, head='[books.mine]\nextends = ["cloud", "paper"]\n'))
    assert book.entry("device_hour/v5e").inherited_from == "cloud"
    assert book.gpu_hour().inherited_from == "paper"
    assert book.factor("power/h100_80gb").inherited_from == "cloud"


def test_a_scaled_book_of_ones_own_may_stand_on_a_shipped_one(tmp_path):
    path = _write(tmp_path, LABEL, head='[books.mine]\nbase = "current"\nbase_task = "wlp"\nscale = 0.1\n')
    assert finetune_cost(load_book("mine", path), "wlp", 500).usd == pytest.approx(6.6114)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ('extends = "papr"', "extends is 'papr'; did you mean 'paper'"),
        ("extends = 3", "not of the form of a book"),
        ('extends = "wlp_scaled"', "whose dollars are scaled. Fix: set base"),
        ('extends = "paper"\ndrop = ["label/wpl"]', "drop names 'label/wpl', which none"),
        ('extends = "paper"\ndrop = "label/wlp"', "must be a list"),
        ('extend = "paper"', "unknown field 'extend'; did you mean 'extends'"),
        ('base = "papr"', "base is 'papr'; did you mean 'paper'"),
        ("title = 3", "title is 3; it must be a text"),
        ("finetune_rounding_usd = -1.0", "finetune_rounding_usd is -1.0"),
    ],
)
def test_what_cannot_be_extended_is_refused_by_name(tmp_path, head, message):
    with pytest.raises(PriceBookError, match=rf"mine\.toml: .*{message}"):
        load_book("mine", _write(tmp_path, LABEL, head=f"[books.mine]\n{head}\n"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('id = "finetune/wlp/500"', "n_labels is None; a fine-tuning run has the id finetune/TASK/N"),
        ('id = "finetune/wlp/500"\nn_labels = 50', "n_labels is 50; a fine-tuning run"),
        ('id = "finetune/wlp"\nn_labels = 50', "n_labels is 50; a fine-tuning run"),
        ('id = "distill/wlp/x"\nmax_n_labels = 0', "max_n_labels is 0; it must be a whole number"),
        ('id = "label/wlp"\nnote = 3', "note is 3"),
    ],
)
def test_runs_without_their_labels_are_refused(tmp_path, fields, message):
    with pytest.raises(PriceBookError, match=rf"mine\.toml: .*{message}"):
        load_book("mine", _write(tmp_path, f'{fields}\nusd = 3.0\nunit = "run"'))


def test_dropped_prices_are_gone(tmp_path):
    head = '[books.mine]\nextends = "paper"\ndrop = ["finetune/wlp", "label/fever"]\n'
    book = load_book("mine", _write(tmp_path, head=head))
    with pytest.raises(PriceBookError, match="prices no fine-tuning of task 'wlp'"):
        book.finetune_points("wlp")
    with pytest.raises(PriceBookError, match="label/fever"):
        book.label("fever")


def test_the_current_book_prices_every_study_that_the_papers_does():
    paper, current = load_book("paper"), load_book("current")
    for task in ("wlp", "stanceosaurus", "fever", "multipit_id", "multipit_gen", "natural_questions"):
        for n_labels in (100, 500, 1000, 5000, 10_000):
            ours, theirs = cost_cell(current, task, n_labels, 150), cost_cell(paper, task, n_labels, 150)
            # Labels are carried over; an hour costs two percent less.
            assert ours.extra_labels == theirs.extra_labels
            assert ours.n_unlabeled == pytest.approx(theirs.n_unlabeled, rel=0.25)
            assert ours.provenance["n_unlabeled"] == "estimated"
    assert current.label("wlp").inherited_from == "paper" and current.label("wlp").date.year == 2023
    for kind in ("api/gpt-6-luna/cached_input", "device_hour/v5e_spot", "electricity/us"):
        assert current.entry(kind).usd > 0
    assert 0.2 < current.factor("carbon/us").value < 0.6


def test_spot_is_cheaper_than_on_demand_and_batch_and_cache_than_plain_input():
    book = load_book("current")
    for key, entry in book.entries.items():
        if key.endswith("_spot"):
            assert entry.usd < 0.6 * book.entry(key.removesuffix("_spot")).usd, key
        if key.endswith("/input"):
            model = key.removesuffix("/input")
            if f"{model}/batch_input" in book.entries:
                assert book.entry(f"{model}/batch_input").usd == pytest.approx(entry.usd / 2)
                assert book.entry(f"{model}/cached_input").usd < entry.usd


def test_what_is_more_than_a_year_old_is_counted_in_one_sentence():
    entries = load_book("current").entries.values()
    said = age_warning(entries, datetime.date(2026, 11, 21))
    assert said.startswith(f"6 of {len(entries)} prices of current are more than a year old, the oldest of 2023-07-09")
    assert age_warning(load_book("local").entries.values(), datetime.date(2026, 12, 1)) == ""


def test_a_factor_that_is_missing_is_named():
    with pytest.raises(PriceBookError, match="no factor 'carbon/uss'; did you mean carbon/us"):
        load_book("current").factor("carbon/uss")
    with pytest.raises(PriceBookError, match="it has: none"):
        load_book("paper").factor("carbon/us")


@pytest.mark.parametrize(
    ("paper", "current", "task", "n_labels", "additional_usd"),
    [
        ("paper", "current", "wlp", 5000, (100.0, 200.0)),
        ("quickstart_scaled", "quickstart_scaled_current", "mini", 100, (2.0, 4.0)),
        ("wlp_scaled", "wlp_scaled_current", "wlp_mini", 1000, (20.0, 40.0)),
    ],
)
def test_one_study_runs_under_the_papers_prices_and_under_todays(paper, current, task, n_labels, additional_usd):
    study = Scenario(name="study", task=task, n_labels=n_labels, additional_usd=additional_usd, price_book=paper)
    then, now = cells(study), cells(dataclasses.replace(study, price_book=current))
    for old, new in zip(then, now, strict=True):
        assert (old.strategy, old.additional_usd) == (new.strategy, new.additional_usd)
        if old.strategy == "annotate":
            assert old.n_labels == new.n_labels
        else:
            # An hour costs two percent less, so a little more is distilled.
            assert 1 < new.n_unlabeled / old.n_unlabeled < 1.25
            assert new.provenance == "estimated"
