"""`doa prices` lists what is priced, how old it is and where it comes from."""

import datetime
import json

import pytest

from distill_or_annotate import cli
from distill_or_annotate.prices import load_book, load_books

MINE = """
[books.mine]
extends = "paper"

[[books.mine.entries]]
id = "label/wlp"
usd = 0.31
unit = "label"
date = 2024-05-01
source = "our invoices"
provenance = "published"
"""


def _json(capsys, *words):
    assert cli.main(["prices", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_without_a_book_every_book_is_named(capsys):
    assert cli.main(["prices"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in load_books())


def test_json_without_a_book_has_every_price_of_all(capsys):
    entries = _json(capsys)
    assert {entry["book"] for entry in entries} == set(load_books())
    assert len(entries) == sum(len(book.entries) + len(book.factors) for book in load_books().values())


def test_each_price_has_date_source_provenance_and_age(capsys):
    entries = _json(capsys, "current")
    for entry in entries:
        assert entry["source"] and entry["provenance"] in ("published", "inferred", "estimated", "assumption")
        age = (datetime.date.today() - datetime.date.fromisoformat(entry["date"])).days
        assert entry["age_days"] == age and entry["stale"] == (age > 365)
        assert ("usd" in entry) != ("value" in entry)
    kinds = {entry["id"].split("/")[0] for entry in entries}
    assert kinds >= {"label", "gpu_hour", "device_hour", "api", "electricity", "carbon", "power"}


def test_the_table_holds_the_same_and_warns_of_old_ones(capsys):
    assert cli.main(["prices", "current"]) == 0
    said = capsys.readouterr()
    for text in ("api/gpt-6-luna/batch_output", "$0.26", "2023-07-09", "EIA", "(kg CO2e/kWh)"):
        assert text in said.out
    assert said.err.startswith("warning: ") and "more than a year old" in said.err and len(said.err.splitlines()) == 1


def test_a_kind_is_picked_out(capsys):
    ids = [entry["id"] for entry in _json(capsys, "current", "--kind", "api/gpt-6-sol")]
    assert sorted(ids) == [
        f"api/gpt-6-sol/{t}" for t in ("batch_input", "batch_output", "cached_input", "input", "output")
    ]


def test_a_users_file_changes_what_it_names(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    entries = {entry["id"]: entry for entry in _json(capsys, "mine", "--prices", str(path))}
    assert entries["label/wlp"]["usd"] == 0.31 and entries["label/wlp"]["inherited_from"] == ""
    assert entries["label/wlp"]["stale"] and entries["label/fever"]["inherited_from"] == "paper"
    assert len(entries) == len(load_book("paper").entries)


def test_a_label_is_derived(capsys):
    assert cli.main(["prices", "label", "--task", "wlp", "--annotators", "3", "--adjudication", "0.2"]) == 0
    shown = capsys.readouterr().out
    for text in ("$0.832 (estimated)", "0.44 * 0.5976 = 0.26", "ner_share = 0.5976", "one more for 20%"):
        assert text in shown


def test_a_label_as_json_with_another_input(capsys):
    price = _json(capsys, "label", "--task", "multipit_gen", "--input", "paraphrases=40")
    assert price["usd"] == pytest.approx(0.5) and price["provenance"] == "estimated"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["papr"], "there is no book 'papr'; did you mean paper"),
        (["current", "--kind", "labels"], "kind: received 'labels'; allowed: api"),
        (["current", "--task", "wlp"], "--task belongs to `doa prices label`"),
        (["label", "--kind", "api"], "--kind belongs to `doa prices [BOOK]`"),
        (["label"], "--task is missing. Fix: doa prices label --task wlp"),
        (["label", "--task", "wpl"], "did you mean wlp"),
        (["label", "--task", "wlp", "--annotators", "0"], "annotators: received 0"),
        (["label", "--task", "wlp", "--adjudication", "20"], "adjudication: received 20.0"),
        (["label", "--task", "wlp", "--input", "ner_share"], "must be NAME=NUMBER"),
        (["--prices", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_what_cannot_be_answered_is_one_line_and_status_2(words, message, capsys, monkeypatch):
    monkeypatch.delenv("DOA_DEBUG", raising=False)
    assert cli.main(["prices", *words]) == 2
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and said.err.startswith("doa prices: ")
    assert len(said.err.splitlines()) == 1
