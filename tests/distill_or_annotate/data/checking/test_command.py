"""`doa data check` from its command line, on the embedded task and on files written here."""

import argparse
import json

import pytest

from distill_or_annotate import cli
from distill_or_annotate.data.checking import command as check_command
from distill_or_annotate.data.checking.inputs import CheckInputError, from_files, paper_name, split_of


def _write(path, *pairs):
    path.write_text("".join(json.dumps({"source": s, "target": t}) + "\n" for s, t in pairs))
    return str(path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("data/fever_dev_all.part60.json", "validation"),
        ("wlp_train_all.json", "train"),
        ("nq_unlabeled_all_100k.json", "unlabeled"),
        ("test-set.json", "test"),
    ],
)
def test_the_split_is_told_by_the_files_name(name, expected):
    assert split_of(name) == (expected, name)


def test_the_split_can_be_written_before_the_file():
    assert split_of("validation=wlp_train_all.json") == ("validation", "wlp_train_all.json")
    with pytest.raises(CheckInputError, match=r"'trian' is not one of train, validation, test, unlabeled"):
        split_of("trian=x.json")
    with pytest.raises(CheckInputError, match=r"Write SPLIT=FILE, such as train=rows.json"):
        split_of("rows.json")


def test_files_of_one_split_stand_together_and_bad_rows_are_counted(tmp_path):
    one, two = (_write(tmp_path / f"x_train_{i}.json", (f"source {i}", "YES")) for i in "ab")
    with open(two, "a") as file:
        file.write("{broken\n")
    with pytest.raises(ValueError, match=r"x_train_b.json, line 2"):
        from_files([one, two])
    (split,) = from_files([one, two], on_bad_row="skip")
    assert (split.name, len(split.rows), split.n_skipped) == ("train", 2, 1)
    assert split.origin == "x_train_a.json, x_train_b.json"


def test_the_papers_tasks_are_known_in_each_of_their_names():
    assert [paper_name(name) for name in ("wlp", "wlp_paper", "wlp_pooled", "wlp_mini")] == ["wlp", "wlp", "wlp", None]


def test_an_embedded_task_is_checked_in_tokens(tmp_path, capsys):
    target = tmp_path / "mini.html"
    assert cli.main(["data", "check", "mini", "--json", "--page", str(target)]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["task"] == "mini" and document["splits"]["train"]["lengths"]["unit"] == "tokens"
    assert {finding["severity"] for finding in document["findings"]} <= {"ok", "look", "fix"}
    assert str(target) in err and target.read_text().endswith("</html>\n")


def test_files_are_checked_against_a_tasks_labels(tmp_path, capsys):
    file = _write(tmp_path / "my_test.json", ("one", "nonsense"), ("two", "nonsense"))
    assert cli.main(["data", "check", "mini_cls", "--from", file]) == 0
    out, _ = capsys.readouterr()
    assert "unknown label" in " ".join(out.split()) and "mini_cls: rows" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["wpl"], "task 'wpl' is not registered"),
        (["mini", "--from", "absent_train.json"], "absent_train.json"),
        (["mini", "--page", "no/such/folder/x.html"], "its folder does not exist"),
    ],
)
def test_unusable_input_is_one_line_and_status_2(words, message, capsys):
    assert cli.main(["data", "check", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("doa data check: ") and message in error and "Traceback" not in error


def test_help_ends_with_an_example(capsys):
    parser = argparse.ArgumentParser(epilog=f"example: {check_command.EXAMPLE}")
    check_command.add_arguments(parser)
    with pytest.raises(SystemExit):
        cli.main(["data", "check", "--help"])
    assert capsys.readouterr().out.rstrip().endswith(f"example: {check_command.EXAMPLE}")
