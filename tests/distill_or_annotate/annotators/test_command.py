"""`doa annotate` from the command line to its files and its exit status."""

import json

import pytest

from distill_or_annotate import cli
from distill_or_annotate.annotators.endpoint import KEY_VARIABLE
from distill_or_annotate.ledger.cap import usd_text

BOOK = """
[books.rehearsal]
title = "play money"
description = "for rehearsals"
"""
ENTRY = """
[[books.rehearsal.entries]]
id = "api/rehearsal/{}"
usd = {}
unit = "1000000 tokens"
date = 2026-11-21
source = "play money"
provenance = "assumption"
"""


@pytest.fixture
def words(tmp_path, rows, monkeypatch):
    """The words of a labelling of 60 sentences, but for its cap and address."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prices = {"input": 1.0, "cached_input": 0.1, "output": 2.0, "batch_input": 0.5, "batch_output": 1.0}
    (tmp_path / "prices.toml").write_text(BOOK + "".join(ENTRY.format(*each) for each in prices.items()))
    return [
        "annotate", "--task", "wlp", "--pool", "gold.jsonl", "--shot-file", "gold.jsonl", "--shots", "4", "--shot-pool",
        "20", "--model", "rehearsal", "--price-book", "rehearsal", "--prices", "prices.toml",
        "--backoff-seconds", "0.01", "--poll-seconds", "0.02",
    ]  # fmt: skip


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_pool_is_labelled_with_its_books_beside_it(words, serve, rows, tmp_path, capsys):
    server = serve(rows)
    status = cli.main([*words, "--max-usd", "1", "--base-url", server.url, "--gold", "gold.jsonl", "--logprobs"])
    printed = capsys.readouterr()
    assert status == 0 and len(_lines(tmp_path / "gold_labels.jsonl")) == 60
    assert "60 of 60 items labelled, 0 set aside, 0 left." in printed.out
    assert "Agreement on 60 of 60 gold rows: accuracy 100.0%, entity F1 100.0, calibration error" in printed.out
    assert "60 items: about $" in printed.err
    assert (tmp_path / "gold_labels.jsonl.ledger.jsonl").exists()


def test_the_cap_ends_it_with_status_3_and_the_same_words_with_a_higher_one_go_on(words, serve, rows, capsys):
    server = serve(rows)
    words = [*words, "--base-url", server.url]
    assert cli.main([*words, "--max-usd", "0.01"]) == 3
    printed = capsys.readouterr()
    assert (
        "Stopped at the cap of $0.01" in printed.err and "To go on: the same command with --max-usd 0.02" in printed.err
    )
    assert 0 < server.n_requests < 60
    assert cli.main([*words, "--max-usd", "1"]) == 0
    assert server.n_requests == 60


def test_an_estimate_sends_nothing_and_bounds_the_bill(words, serve, rows, capsys, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE)
    assert cli.main([*words, "--estimate", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    monkeypatch.setenv(KEY_VARIABLE, "any")
    server = serve(rows)
    assert cli.main([*words, "--max-usd", "1", "--base-url", server.url, "--json"]) == 0
    money = json.loads(capsys.readouterr().out)["balance"]
    assert money["input_tokens"] <= told["input_tokens"] <= told["most_input_tokens"]
    assert money["settled_usd"] == pytest.approx(server.model.invoice_usd())
    assert money["settled_usd"] <= told["usd"] <= told["most_usd"]


def test_an_estimate_counts_what_is_left(words, serve, rows, tmp_path, capsys):
    server = serve(rows, faults={"outside": 0.1})
    done = [*words, "--limit", "25", "--max-usd", "1", "--base-url", server.url, "--out", "labels.jsonl", "--json"]
    assert cli.main(done) == 0
    summary = json.loads(capsys.readouterr().out)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    words = [*words, "--out", "labels.jsonl", "--estimate"]
    assert 0 < summary["n_set_aside"] < 25
    for change, n_left in (
        ([], 35),
        (["--retry-set-aside"], 35 + summary["n_set_aside"]),
        (["--limit", "25"], 0),
        (["--seed", "1"], 60),  # another labelling
        (["--out", "elsewhere/labels.jsonl"], 60),
    ):
        assert cli.main([*words, *change, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["n_items"] == n_left and (told["usd"] > 0) == (n_left > 0)
    assert cli.main(words) == 0
    assert capsys.readouterr().out.startswith("35 items left of 60: about $")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files and server.n_requests == 25


@pytest.mark.parametrize(
    ("gold", "told"),
    [
        (None, "wrong.jsonl"),
        ('{"source": "claim 1"}', "wrong.jsonl, line 1, field 'target'"),
        ('{"source": "another claim", "target": "REFUTES"}', "none of the 1 sources of wrong.jsonl is in the pool"),
        ('{"source": "claim 1", "target": "PERHAPS"}', "'PERHAPS' is not among the labels"),
    ],
)
def test_a_gold_sample_that_cannot_be_used_is_refused_before_anything_is_sent(
    words, serve, tmp_path, capsys, gold, told
):
    claims = [{"source": f"claim {i}", "target": "SUPPORTS"} for i in range(30)]
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(claim) + "\n" for claim in claims))
    if gold:
        (tmp_path / "wrong.jsonl").write_text(gold + "\n")
    server = serve(claims)
    words = [*words, "--task", "fever", "--max-usd", "1", "--base-url", server.url, "--gold", "wrong.jsonl"]
    assert cli.main(words) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert server.n_requests == 0 and not (tmp_path / "gold_labels.jsonl.ledger.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--out", "gold.jsonl"], "--out: gold.jsonl is the file of --pool"),
        (["--out", "gold.jsonl", "--simulate", "group.toml"], "--out: gold.jsonl is the file of --pool"),
        (["--out", "sample.jsonl", "--gold", "sample.jsonl"], "--out: sample.jsonl is the file of --gold"),
        (["--out", "x", "--shot-file", "x.ledger.jsonl"], "--out: x.ledger.jsonl is the file of --shot-file"),
        (["--out", "group.toml", "--simulate", "group.toml"], "--out: group.toml is the file of --simulate"),
        (["--out", "prices.toml"], "--out: prices.toml is the file of --prices"),
    ],
)
def test_what_is_read_is_not_written_over(words, serve, rows, tmp_path, capsys, change, told):
    (tmp_path / "sample.jsonl").write_text(json.dumps(rows[0]) + "\n")
    (tmp_path / "group.toml").write_text("usd_per_judgement = 0.1\naccuracy = 1.0\n")
    before, server = {path: path.read_bytes() for path in tmp_path.iterdir()}, serve(rows)
    assert cli.main([*words, "--max-usd", "1", "--base-url", server.url, *change]) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert server.n_requests == 0 and {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_batches_cost_the_batch_tiers_price(words, serve, rows, capsys):
    server = serve(rows)
    assert (
        cli.main([*words, "--max-usd", "1", "--base-url", server.url, "--batch", "--batch-size", "40", "--json"]) == 0
    )
    money = json.loads(capsys.readouterr().out)["balance"]
    assert len(server.batches) == 2 and money["settled_usd"] == pytest.approx(server.model.invoice_usd())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--max-usd", "-1"], "max_usd: received -1"),
        (["--model", "rehearsed"], "did you mean rehearsal"),
        (["--shots", "21"], "--shot-pool 20"),
        (["--pool", "nowhere.jsonl"], "nowhere.jsonl"),
        (["--concurrency", "0"], "concurrency: received 0"),
        (["--invoice-usd", "3"], "--invoice-usd: received 3.0"),
        (["--limit", "-1"], "--limit: received -1; it must be at least 1"),
        (["--limit", "0"], "--limit: received 0"),
        (["--max-output-tokens", "0"], "--max-output-tokens: received 0; it must be at least 1"),
        (["--temperature", "nan"], "--temperature: received nan"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(words, serve, rows, capsys, change, told):
    status = cli.main([*words, "--max-usd", "1", "--base-url", serve(rows).url, *change])
    printed = capsys.readouterr().err.splitlines()[-1]
    assert status == 2 and told in printed


def test_the_dollars_of_a_label_count_the_labels_of_earlier_pools(words, serve, rows, capsys):
    words = [*words, "--base-url", serve(rows).url, "--out", "labels.jsonl", "--max-usd", "1"]
    assert cli.main([*words, "--json"]) == 0
    usd = json.loads(capsys.readouterr().out)["balance"]["settled_usd"] / 60
    assert cli.main([*words, "--limit", "6"]) == 0
    assert f"{usd_text(usd)} settled for each label of the 60 in these books." in capsys.readouterr().out


def test_another_temperature_is_another_labelling(words, serve, rows, capsys):
    server = serve(rows)
    words = [*words, "--base-url", server.url, "--max-usd", "1", "--limit", "5"]
    assert cli.main([*words, "--temperature", "0"]) == 0
    assert cli.main([*words, "--temperature", "0.0"]) == 0
    assert cli.main([*words, "--temperature", "1"]) == 2
    assert "another temperature (0.0, now 1.0). Fix: give that, or another --out" in capsys.readouterr().err
    assert cli.main([*words, "--estimate"]) == 0
    assert capsys.readouterr().out.startswith("5 items: about")


def test_books_that_do_not_say_the_temperature_go_on(words, serve, rows, tmp_path):
    server = serve(rows)
    words = [*words, "--base-url", server.url, "--max-usd", "1"]
    assert cli.main([*words, "--limit", "5"]) == 0
    books = tmp_path / "gold_labels.jsonl.ledger.jsonl"
    header, rest = books.read_text().split("\n", 1)
    header = {name: value for name, value in json.loads(header).items() if name != "temperature"}
    books.write_text(f"{json.dumps(header)}\n{rest}")
    assert cli.main([*words, "--temperature", "1"]) == 0 and server.n_requests == 60


def test_another_address_is_warned_of(words, serve, rows, capsys):
    words = [*words, "--max-usd", "1"]
    first, second = serve(rows).url, serve(rows).url
    for url, limit in ((first, "5"), (first, "6"), (second, "7")):
        assert cli.main([*words, "--limit", limit, "--base-url", url]) == 0
        told = f"warning: the labels in gold_labels.jsonl were begun at {first}; these go to another address."
        assert (told in capsys.readouterr().err) == (url == second)


@pytest.mark.parametrize("missing", ["--max-usd", "--model", "--pool"])
def test_there_is_no_spending_without_a_cap(words, capsys, missing):
    words = [*words, "--max-usd", "1"]
    place = words.index(missing)
    assert cli.main(words[:place] + words[place + 2 :]) == 2
    assert f"{missing} is missing" in capsys.readouterr().err


def test_a_missing_key_is_asked_for_before_anything_is_sent(words, capsys, monkeypatch):
    monkeypatch.delenv(KEY_VARIABLE)
    assert cli.main([*words, "--max-usd", "1"]) == 2
    assert "OPENAI_API_KEY is not set" in capsys.readouterr().err


def test_simulated_annotators_label_in_place_of_a_model(words, tmp_path, rows, capsys):
    (tmp_path / "group.toml").write_text(
        "n_annotators = 3\nusd_per_judgement = 0.26\naccuracy = 0.9\nbatch_size = 20\n[spans]\nmissed = 0.1\n"
    )
    assert cli.main([*words, "--simulate", "group.toml", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["usd"] == pytest.approx(60 * 3 * 0.26) and told["provenance"] == "assumed"
    assert 80 < told["agreement"]["entity_f1"] <= 100
    found = _lines(tmp_path / "gold_simulated.jsonl")
    assert [line["source"] for line in found] == [row["source"] for row in rows] and len(found[0]["votes"]) == 3
    assert cli.main([*words, "--simulate", "group.toml", "--max-usd", "20"]) == 3
    assert len(_lines(tmp_path / "gold_simulated.jsonl")) == 20


@pytest.mark.parametrize("max_usd", ["nan", "-1", "inf"])
def test_simulated_annotators_take_no_cap_that_is_none(words, tmp_path, capsys, max_usd):
    (tmp_path / "group.toml").write_text("usd_per_judgement = 0.26\naccuracy = 0.9\n")
    assert cli.main([*words, "--simulate", "group.toml", "--max-usd", max_usd]) == 2
    assert "max_usd: received" in capsys.readouterr().err and not (tmp_path / "gold_simulated.jsonl").exists()


def test_noise_of_spans_needs_a_task_with_entities(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gold.jsonl").write_text('{"source": "a", "target": "REFUTES"}\n')
    (tmp_path / "group.toml").write_text("usd_per_judgement = 0.1\naccuracy = 0.9\n[spans]\nmissed = 0.1\n")
    assert cli.main(["annotate", "--task", "fever", "--pool", "gold.jsonl", "--simulate", "group.toml"]) == 2
    assert "group.toml: [spans] has no effect, since fever has no entities" in capsys.readouterr().err


def test_of_a_repeated_source_one_label_is_bought_and_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    gold = [
        {"source": name, "target": label} for name, label in (("a", "REFUTES"), ("b", "REFUTES"), ("a", "SUPPORTS"))
    ]
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    (tmp_path / "group.toml").write_text("usd_per_judgement = 0.1\naccuracy = 1.0\n")
    words = ["annotate", "--task", "fever", "--pool", "gold.jsonl", "--simulate", "group.toml", "--json"]
    assert cli.main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["n_labelled"], told["n_repeated"], told["usd"]) == (2, 1, pytest.approx(0.2))
    assert told["agreement"]["accuracy"] == 100 and told["agreement"]["n_compared"] == 2
    assert [line["source"] for line in _lines(tmp_path / "gold_simulated.jsonl")] == ["a", "b"]
    assert cli.main([*words, "--max-usd", "0.1"]) == 3
    assert json.loads(capsys.readouterr().out)["agreement"]["n_compared"] == 1


def test_mistakes_are_fitted_to_votes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    gold = [{"source": f"claim {i}", "target": ("SUPPORTS", "REFUTES")[i % 2]} for i in range(200)]
    votes = [{"source": row["source"], "votes": [row["target"], "SUPPORTS"]} for row in gold]
    for name, lines in (("gold.jsonl", gold), ("votes.jsonl", votes)):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "group.toml").write_text('usd_per_judgement = 0.1\nvotes = "votes.jsonl"\n')
    assert cli.main(["annotate", "--task", "fever", "--pool", "gold.jsonl", "--simulate", "group.toml", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["provenance"] == "fitted" and "400 votes of up to 2 annotators on 200 items" in told["confusion"]
    # REFUTES is missed by every second vote, SUPPORTS by none.
    assert told["agreement"]["accuracy"] == pytest.approx(75, abs=6)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("usd_per_judgement = 0.1\nacuracy = 0.9\n", "did you mean accuracy"),
        ("accuracy = 0.9\n", "usd_per_judgement is missing"),
        ("usd_per_judgement = 0.1\n", "nothing says how they err"),
        ('usd_per_judgement = "x"\naccuracy = 0.9\n', "received 'x'; it must be a finite number of dollars"),
        ('usd_per_judgement = 0.1\naccuracy = "high"\n', "accuracy 'high'"),
        ("usd_per_judgement = nan\naccuracy = 0.9\n", "finite number of dollars"),
        ("usd = = 1\n", "no TOML"),
        ("usd_per_judgement = 0.1\naccuracy = true\n", "group.toml: accuracy True"),
        (
            "usd_per_judgement = 0.1\n[confusion]\nAction = {Unit = true}\n",
            "group.toml: confusion: Action = {Unit = True}",
        ),
        ("usd_per_judgement = 0.1\naccuracy = 0.9\nadjudicator_accuracy = 0.9\n", "adjudicator_accuracy has no effect"),
    ],
)
def test_a_file_of_annotators_that_cannot_be_used_is_refused(words, tmp_path, capsys, text, told):
    (tmp_path / "group.toml").write_text(text)
    assert cli.main([*words, "--simulate", "group.toml"]) == 2
    assert told in capsys.readouterr().err
