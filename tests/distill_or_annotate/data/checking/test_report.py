"""From rows to report: severities and remedies, the stable keys of the JSON, tables and page of the same facts."""

import io
import json

import pytest
from rich.console import Console

from distill_or_annotate.data.checking.findings import SEVERITIES, findings_of, summary, worst
from distill_or_annotate.data.checking.inputs import SplitRows
from distill_or_annotate.data.checking.page import page
from distill_or_annotate.data.checking.report import check, n_units
from distill_or_annotate.data.checking.text import print_report
from distill_or_annotate.tasks.spec import TaskSpec


class Letters:
    """A vocabulary of one letter a token."""

    unk_id = 0

    def encode(self, text):
        return [ord(letter) for letter in text]


def _no_vocabulary():
    raise FileNotFoundError("vocab.model is [gone]")


def _spec(**changes):
    values = {"name": "colours", "version": 1, "rows": lambda split: [], "vocabulary": Letters, "input_tokens": 40}
    return TaskSpec(**(values | {"target_tokens": 8, "metric": "accuracy", "labels": ("RED", "BLUE")} | changes))


def _rows(*pairs):
    return [{"source": source, "target": target} for source, target in pairs]


TRAIN = _rows(("the sky", "BLUE"), ("a rose", "RED"), ("a rose", "RED"), ("the sea", "BLUE"), ("the sea", "RED"))
TEST = _rows(("The Sky", "BLUE"), ("@ann's hat", "RAD"), ("R&amp;D is long " + 9 * "long ", "RED"))
POOL = _rows(("a rose", ""), ("the SKY", ""), ("snow", ""))
SPLITS = [SplitRows("train", TRAIN, "a"), SplitRows("test", TEST, "b"), SplitRows("unlabeled", POOL, "c")]


def _found(report):
    return {(finding.check, finding.split): finding for finding in reversed(findings_of(report))}


def test_each_fault_is_found_with_its_severity_and_a_remedy():
    report = check(_spec(), SPLITS)
    found = _found(report)
    severities = {
        ("repeated", "train"): "look", ("agreement", "train"): "look", ("agreement", "test"): "ok",
        ("labels", "test"): "fix", ("lengths", "test"): "fix", ("privacy", "test"): "look",
        ("characters", "test"): "look", ("overlap", "train/test"): "fix", ("overlap", "train/unlabeled"): "ok",
        ("overlap", "test/unlabeled"): "look",
    }  # fmt: skip
    assert {key: found[key].severity for key in severities} == severities
    assert "at most 80.00 accuracy" in found["agreement", "train"].message
    assert "'RAD' (1 row, nearest 'RED')" in found["labels", "test"].message
    assert "1 source in both (33.3% of train, 33.3% of test; 1 with the same target)" in (
        found["overlap", "train/test"].message
    )
    assert all(finding.remedy for finding in findings_of(report) if finding.severity != "ok")


def test_findings_stand_gravest_first_and_are_summed_up():
    findings = findings_of(check(_spec(), SPLITS))
    ranks = [SEVERITIES.index(finding.severity) for finding in findings]
    assert ranks == sorted(ranks, reverse=True) and worst(findings) == "fix" and worst([]) == "ok"
    assert summary(findings).startswith(f"{ranks.count(2)} to fix, {ranks.count(1)} to look at")
    clean = check(_spec(), [SplitRows("train", _rows(("the sky", "BLUE"), ("a rose", "RED")), "a")])
    assert summary(findings_of(clean)) == "Nothing to mend and nothing to look at."


def test_words_are_called_words_everywhere():
    report = check(_spec(vocabulary=_no_vocabulary), SPLITS)
    findings = findings_of(report)
    assert "WORDS, NOT TOKENS" in _found(report)["lengths", "train"].message
    printed = io.StringIO()
    print_report(report, findings, Console(file=printed, width=160))
    assert printed.getvalue().count("WORDS, NOT TOKENS") >= 3 and "vocab.model is [gone]" in printed.getvalue()
    html = page(report, findings)
    assert "LENGTHS ARE IN WORDS, NOT TOKENS" in html and "vocab.model is [gone]" in html


def test_the_same_rows_twice_are_no_leak_but_forbid_choosing():
    report = check(_spec(), [SplitRows("validation", TEST, "a"), SplitRows("test", TEST, "a")])
    finding = _found(report)["overlap", "validation/test"]
    assert (finding.severity, finding.message) == ("look", "the same rows") and "Choose no checkpoint" in finding.remedy


def test_skipped_rows_and_sizes_that_differ_from_the_paper_are_said():
    report = check(_spec(name="stanceosaurus"), [SplitRows("test", TEST, "a", n_skipped=2)], own_splits=False)
    found = _found(report)
    assert found["rows", "test"].severity == "fix" and "2 malformed rows" in found["rows", "test"].message
    assert found["paper", "test"].message == "PARTIAL: 3 rows are 0.1% of the paper's 4,750 (test, Table 5)"
    assert found["paper", "train"].message == "not here; the paper's 12,130 (train, Table 5)"


def test_the_json_has_its_documented_keys():
    document = json.loads(json.dumps(check(_spec(), SPLITS).as_dict()))
    assert list(document) == ["schema", "task", "metric", "mode", "own_splits", "splits", "overlaps"]
    assert list(document["splits"]) == ["train", "validation", "test", "unlabeled"]
    train = document["splits"]["train"]
    assert list(train) == [
        "paper", "origin", "n_skipped", "counts", "ceiling", "labels", "lengths", "privacy", "characters",
        "n_near_duplicates",
    ]  # fmt: skip
    assert train["counts"]["n_sources"] == 3 and train["ceiling"]["score"] == pytest.approx(80.0)
    assert train["privacy"]["handle"] == {"n_rows": 0, "n_distinct": 0, "examples": []}
    assert document["splits"]["validation"]["counts"] is None
    assert document["splits"]["unlabeled"]["ceiling"] is None


def test_the_page_needs_nothing_else_and_shows_data_as_text():
    bad = _rows(("<script>alert(1)</script>", "RED"), ("[bold]x", "BLUE"))
    report = check(_spec(), [SplitRows("train", bad, "<a>"), SplitRows("test", bad[:1], "b")])
    findings = findings_of(report)
    html = page(report, findings)
    assert "<script" not in html and "&lt;script&gt;" in html and html.count("data:image/png;base64,") == 6
    assert "http://" not in html and "https://" not in html and page(report, findings) == html
    printed = io.StringIO()
    print_report(report, findings, Console(file=printed, width=200))
    assert "<script>alert(1)</script>" in printed.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"metric": "entity_f1", "labels": ("RED",)},
        {"metric": "token_f1", "labels": ()},
        {"metric": "chrf_ibleu", "labels": ()},
        {"metric": "macro_f1", "labels": tuple(f"label {i}" for i in range(60)), "mode": "paper"},
    ],
)
def test_every_kind_of_task_can_be_checked_and_shown(changes):
    report = check(_spec(**changes), SPLITS)
    assert page(report, findings_of(report)).endswith("</html>\n")
    print_report(report, findings_of(report), Console(file=io.StringIO(), width=80))


def test_progress_reaches_its_end():
    told = []
    check(_spec(), SPLITS, advance=lambda title, n_rows: told.append((title, n_rows)))
    assert sum(n_rows for _, n_rows in told) == n_units(SPLITS)
    assert told[0] == ("train: counts", 0) and told[-1][0] == "unlabeled: lengths"
