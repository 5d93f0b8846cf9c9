"""From official files to a folder that TFDS and SeqIO read, whole or not at all, and the same each time."""

import json
import os
import signal
import subprocess
import sys

import pytest

from distill_or_annotate import cli
from distill_or_annotate.data.building import folder as build_folder
from distill_or_annotate.data.building import writing as build
from distill_or_annotate.preprocess import built

ANSWERS = [["Ada Löffel", "A. Löffel"], ["1901"], ["Bent"], ["Tin", "tin"]]
QUESTIONS = [{"question": f"question {n}", "answer": ANSWERS[n % 4]} for n in range(60)]
QUERIES = "1\tquestion 3\n2\tdefine spoon\n3\tDefine  Spoon?\n4\twhy tin\n"


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in QUESTIONS]
    (tmp_path / "open.jsonl").write_text("".join(lines), encoding="utf-8")
    (tmp_path / "open.train.jsonl").write_text("".join(lines[10:]), encoding="utf-8")
    (tmp_path / "open.dev.jsonl").write_text("".join(lines[:10]), encoding="utf-8")
    (tmp_path / "queries.tsv").write_text(QUERIES, encoding="utf-8")
    (tmp_path / "own.txt").write_text("question 3?\ndefine spoon?\n", encoding="utf-8")
    return tmp_path


def _doa(*words):
    return cli.main(["data", "build", "natural_questions", *words, "--output", "out"])


def _bytes(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_files_with_splits_in_their_names_round_trip_with_a_pool(files, capsys):
    assert _doa("--from", "open.train.jsonl", "open.dev.jsonl", "queries.tsv") == 0
    assert built.splits("natural_questions", "out") == ("train", "validation", "unlabeled")
    dev = built.read_split("natural_questions", "validation", "out")
    assert dev[0] == {"source": "question 0?", "target": "Ada Löffel", "targets": ["Ada Löffel", "A. Löffel"]}
    assert dev[1] == {"source": "question 1?", "target": "1901"} and len(dev) == 10
    pool = built.read_split("natural_questions", "unlabeled", "out")
    assert [row["source"] for row in pool] == ["define spoon?", "why tin?"]
    made = built.provenance("natural_questions", "out")
    assert made["left_out"]["unlabeled"] == {"source of validation or test": 1, "repeated source": 1}
    assert [(entry["file"], entry["split"], entry["form"]) for entry in made["inputs"]] == [
        ("open.train.jsonl", "train", "nq_open"),
        ("open.dev.jsonl", "validation", "nq_open"),
        ("queries.tsv", "unlabeled", "msmarco"),
    ]
    assert all(len(entry["sha256"]) == 64 and entry["size_bytes"] for entry in made["inputs"])
    assert "CC BY-SA 3.0" in made["licence"] and "Kwiatkowski" in made["citation"]
    assert made["command"].startswith("doa data build natural_questions --from open.train.jsonl")
    out = capsys.readouterr().out
    assert "\nvalidation    10 " in out and "source of validation or test" in out
    assert out.splitlines()[-1] == os.path.join("out", "natural_questions", "1.0.0")


def test_tfds_and_seqio_read_the_folder(files):
    import seqio
    import tensorflow_datasets as tfds

    assert _doa("--from", "open.train.jsonl", "open.dev.jsonl") == 0
    builder = tfds.builder_from_directory("out/natural_questions/1.0.0")
    assert builder.info.splits["train"].num_examples == 50 and builder.info.features["targets"] is not None
    source = seqio.TfdsDataSource("natural_questions:1.0.0", tfds_data_dir="out")
    assert source.num_input_examples("validation") == 10
    example = next(iter(source.get_dataset("validation", shuffle=False).as_numpy_iterator()))
    assert example["targets"].tolist() == ["Ada Löffel".encode(), "A. Löffel".encode()]


def test_one_file_is_split_by_hash_and_each_run_gives_the_same_bytes(files, capsys):
    assert _doa("--from", "open.jsonl", "--split", "50/25/25", "--split-seed", "7") == 0
    first = _bytes(files / "out/natural_questions/1.0.0")
    sources = [row["source"] for split in ("train", "validation", "test") for row in
               built.read_split("natural_questions", split, "out")]  # fmt: skip
    assert len(sources) == len(set(sources)) == 60
    assert _doa("--from", "open.jsonl", "--split", "50/25/25", "--split-seed", "7", "--force") == 0
    again = _bytes(files / "out/natural_questions/1.0.0")
    again["provenance.json"] = again["provenance.json"].replace(b" --force", b"")
    assert again == first
    capsys.readouterr()
    assert _doa("--from", "open.jsonl", "--split", "50/25/25", "--split-seed", "7") == 0
    assert capsys.readouterr().out.startswith("built already from the same files with the same settings")


def test_other_files_need_force(files, capsys):
    assert _doa("--test", "open.dev.jsonl") == 0
    before = _bytes(files / "out/natural_questions/1.0.0")
    assert _doa("--test", "open.jsonl") == 2
    assert "was built from other files or with other settings. Give --force" in capsys.readouterr().err
    assert _bytes(files / "out/natural_questions/1.0.0") == before
    assert _doa("--test", "open.jsonl", "--force") == 0
    assert len(built.read_split("natural_questions", "test", "out")) == 60


def test_a_pool_of_ones_own_with_evaluation_sources_is_refused_with_the_count(files, capsys):
    words = ("--validation", "open.dev.jsonl", "--unlabeled", "own.txt")
    assert _doa(*words) == 2
    assert "own.txt) contains 1 sources of validation or test" in capsys.readouterr().err
    assert not (files / "out").exists()
    assert _doa(*words, "--exclude-evaluation-sources") == 0
    assert [row["source"] for row in built.read_split("natural_questions", "unlabeled", "out")] == ["define spoon?"]


def test_malformed_rows_stop_or_are_counted(files, capsys):
    with open("open.dev.jsonl", "a", encoding="utf-8") as file:
        file.write('{"question": "why", "answer": 7}\n')
    assert _doa("--from", "open.dev.jsonl") == 2
    said = capsys.readouterr().err
    assert "open.dev.jsonl, line 11, field 'answer'" in said and "--on-bad-row skip" in said
    assert _doa("--from", "open.dev.jsonl", "--on-bad-row", "skip") == 0
    assert "malformed (--on-bad-row skip)     1" in capsys.readouterr().out
    assert built.provenance("natural_questions", "out")["skipped"]["rows"] == 1


def test_sources_shared_by_given_splits_are_told(files, capsys):
    assert _doa("--train", "open.jsonl", "--test", "open.dev.jsonl") == 0
    assert "note: 10 sources of train are also in validation or test" in capsys.readouterr().out


def test_files_without_usable_rows_say_what_became_of_them(tmp_path):
    thread = {"claim": "c", "root_tweet": {"text": "", "stance": "Querying", "children": [{"text": "[DELETED]"}]}}
    (tmp_path / "a.json").write_text(json.dumps([thread]), encoding="utf-8")
    request = build.Request("stanceosaurus", [str(tmp_path / "a.json")], output=str(tmp_path / "out"))
    with pytest.raises(build.BuildError, match=r"2 tweet text blank or deleted.*add_text_back\.py"):
        build.build(request)
    assert not (tmp_path / "out").exists()


KILLED = """
import os, signal, sys
from distill_or_annotate.data.building import folder as build_folder
from distill_or_annotate.preprocess import built
rows = [{"source": f"s{n}", "target": "t"} for n in range(5000)]
build_folder.write(built.folder("nq", sys.argv[1]), {"train": rows}, {}, lambda n: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_kill_leaves_the_old_folder_whole_and_the_next_build_clears_up(tmp_path):
    folder = built.folder("nq", tmp_path)
    build_folder.write(folder, {"test": [{"source": "a", "target": "b"}]}, {})
    before = _bytes(folder)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(folder.parent.glob(".unfinished-*"))) == 1
    assert _bytes(folder) == before
    build_folder.write(folder, {"train": [{"source": "a", "target": "b"}]}, {})
    assert built.splits("nq", tmp_path) == ("train",)
    assert sorted(path.name for path in folder.parent.iterdir()) == [".lock", "1.0.0"]


def test_splits_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(ValueError, match="split 'test' has no rows"):
        build_folder.write(tmp_path / "nq" / "1.0.0", {"test": []}, {})
    with pytest.raises(ValueError, match="split: 'dev' is not one of"):
        build_folder.write(tmp_path / "nq" / "1.0.0", {"dev": [{"source": "a", "target": "b"}]}, {})
