"""What a task tells a served model: prefix, label words, lengths and vocabulary."""

import json
import sys

import pytest

from distill_or_annotate import cli
from distill_or_annotate.serving import task_facts
from distill_or_annotate.tasks.mini import vocabulary

_TASK = f'''
"""A task of somebody's own."""
from distill_or_annotate.tasks import registry
from distill_or_annotate.tasks.spec import TaskSpec
from distill_or_annotate.tasks.vocabularies import LazyVocabulary

registry.register(
    TaskSpec("served_moods", version=1, rows=lambda split: [], input_tokens=6, target_tokens=3, metric="accuracy",
             vocabulary=lambda: LazyVocabulary({str(vocabulary.PATH)!r}), labels=("harsh", "gentle"), prefix="now ")
)
'''


@pytest.fixture
def own_task(tmp_path, monkeypatch):
    (tmp_path / "served_moods.py").write_text(_TASK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    return "served_moods"


def test_only_label_words_are_labels():
    assert task_facts.facts("mini_cls") == task_facts.TaskFacts("mini_cls", "", ("gentle", "harsh"), 20, 20)
    # Entity types are no answers.
    assert task_facts.facts("mini_n100_s0").labels == ()
    assert task_facts.vocabulary_file("mini") == vocabulary.PATH


def test_what_our_tasks_say_is_kept_until_a_file_of_theirs_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path))
    first = task_facts.facts("mini_cls")
    (kept,) = (tmp_path / "task_facts").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(task_facts, "_spec", None)
        assert task_facts.facts("mini_cls") == first
    kept.write_text('{"name": "mini_cls"}')
    assert task_facts.facts("mini_cls") == first and json.loads(kept.read_text())["labels"] == ["gentle", "harsh"]
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("# changed\n")
    monkeypatch.setattr(task_facts.tasks, "__file__", str(tmp_path / "tasks" / "__init__.py"))
    assert task_facts._kept_file("mini_cls") != kept


def test_a_task_of_ones_own_is_never_kept(own_task, tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path / "cache"))
    for module in (own_task, None):  # without its module once it is registered
        assert task_facts.facts(own_task, module).prefix == "now "
    assert not (tmp_path / "cache").exists()


def test_what_is_missing_is_named():
    with pytest.raises(task_facts.TaskError, match=r"task 'mimi' is not registered\. Near names: mini"):
        task_facts.facts("mimi")
    with pytest.raises(task_facts.TaskError, match=r"module 'no_such_folder\.task' of task 'x' cannot be imported"):
        task_facts.facts("x", "no_such_folder.task")


def test_a_vocabulary_that_is_nowhere_is_named(monkeypatch):
    monkeypatch.setenv("DOA_T5_VOCAB", "/nowhere/t5.model")
    with pytest.raises(
        task_facts.TaskError, match=r"/nowhere/t5\.model of task 'fever' is no file\. Fix: --vocabulary"
    ):
        task_facts.vocabulary_file("fever")


def test_a_task_of_ones_own_gives_prefix_labels_and_lengths(own_task, hugging_face, tmp_path, capsys):
    (tmp_path / "in.txt").write_text("some tulol\nsome tulol with the fully dorous lurcap\n")
    (tmp_path / "prefixed.txt").write_text("now some tulol\nnow some tulol with the fully dorous lurcap\n")
    words = ["predict", "--model", str(hugging_face), "--scores", "--input"]
    assert cli.main([*words, "in.txt", "--task", own_task, "--task-module", own_task]) == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert "1 inputs were cut to 6 tokens" in captured.err
    assert cli.main([*words, "prefixed.txt", "--labels", "harsh,gentle", "--max-input-tokens", "6"]) == 0
    by_hand = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for row, expected in zip(rows, by_hand, strict=True):
        assert row["prediction"] == expected["prediction"] and row["scores"] == expected["scores"]
