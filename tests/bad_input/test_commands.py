"""What a person sees who gives `doa data build` or `doa task add` a broken file: one line, and exit status 2."""

import json
import os
import re
import subprocess
import sys

import pytest
from damage import damaged
from valid_files import ALL

from distill_or_annotate import cli

CLAIMS = [{"source": f"Tea {i} is hot.", "target": ("SUPPORTS", "REFUTES")[i % 2]} for i in range(12)]
PAIRS = "sentence1,sentence2,label\nRain fell .,It rained .,1\nThe cat sat .,A cat slept .,0\n"
REVIEWS = [(f"the soup number {i} was fine", ("good", "bad")[i % 2]) for i in range(60)]
BUILD = ("data", "build")
ADD = ("task", "add", "reviews", "--text-col", "text", "--label-col", "label")


def _lines(rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _changed(rows, place, **fields):
    return [row if i != place else {**row, **fields} for i, row in enumerate(rows)]


def _without(rows, place, field):
    return [row if i != place else {key: row[key] for key in row if key != field} for i, row in enumerate(rows)]


def _csv(rows, header="text,label") -> bytes:
    return (header + "\n" + "".join(f"{text},{label}\n" for text, label in rows)).encode()


def _row(place, text, label):
    return [*REVIEWS[:place], (text, label), *REVIEWS[place + 1 :]]


# Name -> words of the command, files by name, what the one line on stderr must hold (regular expressions).
BUILDS = {
    "field missing": (
        ("fever", "--train", "a.json"), {"a.json": _lines(_without(CLAIMS, 1, "target"))},
        (r"a\.json, line 2, field 'target': missing; the row has \['source'\]", "--on-bad-row skip"),
    ),
    "no JSON": (
        ("fever", "--train", "a.json"), {"a.json": _lines(CLAIMS[:4]) + b'{"source": "Te\n' + _lines(CLAIMS[4:])},
        (r"a\.json, line 5, field 'json': not JSON",),
    ),
    "field of another kind": (
        ("natural_questions", "--train", "a.jsonl"),
        {"a.jsonl": _lines([{"question": "who", "answer": ["Ann"]}, {"question": "who", "answer": "Ann"}])},
        (r"a\.jsonl, line 2, field 'answer': a list of strings is needed, received str",),
    ),
    "unknown label": (
        ("fever", "--train", "a.json"), {"a.json": _lines(_changed(CLAIMS, 2, target="SUPORTS"))},
        (r"a\.json, line 3, field 'target': unknown label 'SUPORTS'", r"did you mean 'SUPPORTS'"),
    ),
    "unknown entity type": (
        ("wlp", "--train", "p.txt"), {"p.txt": b"Mix\tB-Action\nit\tO\n\nStop\tB-Acton\n"},
        (r"p\.txt, line 4, field 'tag': unknown label 'Acton'", r"did you mean 'Action'"),
    ),
    "empty target": (
        ("fever", "--train", "a.json"), {"a.json": _lines(_changed(CLAIMS, 0, target=" "))},
        (r"a\.json, line 1, field 'target': empty",),
    ),
    "empty source": (
        ("wlp", "--train", "a.json"), {"a.json": _lines([{"source": "", "target": "Mix [Action]"}])},
        (r"a\.json, line 1, field 'source': empty",),
    ),
    "mixed encodings": (
        ("fever", "--train", "a.json"),
        {"a.json": _lines(CLAIMS[:2]) + '{"source": "Thé", "target": "REFUTES"}\n'.encode("cp1252")},
        (r"a\.json, line 3, field 'encoding': field 'source' holds what UTF-8 cannot carry",),
    ),
    "UTF-16": (
        ("wlp", "--train", "a.json", "--unlabeled", "pool.txt"),
        {"a.json": _lines([{"source": "Mix.", "target": ""}]), "pool.txt": "Stir it.\n".encode("utf-16-le")},
        (r"pool\.txt, line 1, field 'encoding': field 'text' holds zero bytes",),
    ),
    "column missing": (
        ("multipit_id", "--train", "a.csv", "--form", "multipit"),
        {"a.csv": PAIRS.replace("label", "labels").encode()},
        (r"a\.csv, line 1, field 'header': no column 'label' \(near: labels\)", r"the header has"),
    ),
    "row of another width": (
        ("multipit_id", "--train", "a.csv"), {"a.csv": PAIRS.encode() + b"Hail fell .,It hailed .\n"},
        (r"a\.csv, line 4, field 'csv': 3 cells are needed, received 2",),
    ),
    "evaluation sources in the pool": (
        ("fever", "--train", "a.json", "--test", "b.json", "--unlabeled", "pool.jsonl"),
        {"a.json": _lines(CLAIMS[:6]), "b.json": _lines(CLAIMS[6:]),
         "pool.jsonl": _lines({"text": row["source"].upper()} for row in CLAIMS[4:9])},
        (r"the pool \(pool\.jsonl\) contains 3 sources of validation or test", "--exclude-evaluation-sources"),
    ),
    "empty file": (("fever", "--train", "a.json"), {"a.json": b""}, (r"a\.json: no form of 'fever' fits",)),
    "no such file": (("fever", "--train", "nowhere.json"), {}, (r"nowhere\.json does not exist",)),
    "file given twice": (
        ("fever", "--train", "a.json", "--test", "a.json"), {"a.json": _lines(CLAIMS)}, (r"a\.json is given twice",),
    ),
    "unknown task": (("fevr", "--train", "a.json"), {"a.json": _lines(CLAIMS)}, (r"'fevr'.*did you mean fever",)),
    "unknown form": (
        ("fever", "--train", "a.json", "--form", "kit"), {"a.json": _lines(CLAIMS)},
        (r"form 'kit'.*did you mean kilt",),
    ),
    "all rows skipped": (
        ("fever", "--train", "a.json", "--on-bad-row", "skip", "--form", "released"),
        {"a.json": _lines(_without(CLAIMS[:1], 0, "target"))},
        (r"no usable row for train \(1 skipped, the first in a\.json, line 1",),
    ),
}  # fmt: skip

ADDS = {
    "cell missing": (
        (), {"train.csv": _csv(REVIEWS[:3]) + b"fine\n" + _csv(REVIEWS[3:])[11:]},
        (r"train\.csv: 1 of 61 rows cannot be used \(line 5: it has 1 cells, the header 2\)", "--on-bad-row skip"),
    ),
    "empty target": (
        (), {"train.csv": _csv(_row(1, "so so", ""))},
        (r"train\.csv: 1 of 60 rows cannot be used \(line 3: the cell of 'label' is empty\)",),
    ),
    "empty source": (
        (), {"train.csv": _csv(_row(0, " ", "good"))}, (r"line 2: the cell of 'text' is empty",),
    ),
    "column missing": (
        (), {"train.csv": _csv(REVIEWS, "text,labels")},
        (r"train\.csv: no column 'label' in its header; did you mean 'labels'\? It has: 'text', 'labels'",),
    ),
    "mixed encodings": (
        (), {"train.csv": _csv(_row(4, "crème", "good")) + "thé,bad\n".encode("cp1252")},
        (r"train\.csv mixes encodings: 1 lines are not UTF-8 \(lines 62\), 1 others",),
    ),
    "other encoding": (
        (), {"train.csv": _csv(REVIEWS) + "thé,bad\n".encode("cp1252")},
        (r"train\.csv is not UTF-8 \(lines 62\)", "--encoding cp1252"),
    ),
    "quote left open": (
        (), {"train.csv": _csv(_row(2, '"so so', "good"))}, (r"train\.csv, line 4: no CSV from here on",),
    ),
    "no JSON": (
        ("--train", "train.jsonl"), {"train.jsonl": _lines({"text": t, "label": l} for t, l in REVIEWS) + b"{\n"},
        (r"train\.jsonl: 1 of 61 rows cannot be used \(line 61: it is not JSON",),
    ),
    "no Parquet": (
        ("--train", "train.parquet"), {"train.parquet": b"PAR1" + bytes(50)}, (r"train\.parquet cannot be read as",),
    ),
    "unknown labels": (
        ("--test", "test.csv"), {"test.csv": _csv([("new soup", "goood"), ("old soup", "goood"), ("x", "bad")])},
        (r"test\.csv \(test\): labels that no training row has: 'goood' \(2 rows, nearest 'good'\)",),
    ),
    "evaluation sources in the pool": (
        ("--test", "test.csv", "--unlabeled", "pool.txt"),
        {"test.csv": _csv([(f"soup {i}", "good") for i in range(8)]), "pool.txt": b"Soup 1\nsoup  2\nanother\n"},
        (r"2 of 3 sources are in validation or test, such as 'Soup 1'", "--exclude-evaluation-sources"),
    ),
    "name of a published task": (("NAME", "fever"), {}, (r"name: a task 'fever' comes with us\. Fix",)),
    "name that is there": (
        ("NAME", "reviews"), {"my_tasks/reviews.py": b"mine"}, (r"name: .*reviews\.py is there already",),
    ),
    "unknown metric": (
        ("--metric", "acuracy"), {}, (r"metric: received 'acuracy'; did you mean accuracy",),
    ),
    "no such file": (("--train", "nowhere.csv"), {}, (r"nowhere\.csv",)),
}  # fmt: skip


def _refused(argv, files, patterns, tmp_path, monkeypatch, capsys):
    """Runs a command in a folder with some files; checks what it says and that it leaves the folder as it was."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DOA_DEBUG", raising=False)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert cli.main(argv) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.endswith("\n")
    (line,) = said.err.splitlines()
    assert line.startswith(f"doa {argv[0]} {argv[1]}: ") and len(line) < 2000
    assert not [pattern for pattern in patterns if not re.search(pattern, line)], line
    left = {os.path.relpath(path, tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(files)


@pytest.mark.parametrize("case", BUILDS)
def test_data_build_says_what_is_wrong_and_writes_nothing(case, tmp_path, monkeypatch, capsys):
    words, files, patterns = BUILDS[case]
    _refused([*BUILD, *words, "--output", "out"], files, patterns, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("case", ADDS)
def test_task_add_says_what_is_wrong_and_writes_nothing(case, tmp_path, monkeypatch, capsys):
    words, files, patterns = ADDS[case]
    argv = list(ADD)
    if words[:1] == ("NAME",):
        argv[2], words = words[1], ()
    if "--train" not in words:
        words, files = ("--train", "train.csv", *words), {"train.csv": _csv(REVIEWS), **files}
    _refused([*argv, *words], files, patterns, tmp_path, monkeypatch, capsys)


def test_in_a_shell_the_exit_status_is_2_and_no_traceback_is_seen(tmp_path):
    (tmp_path / "a.json").write_bytes(_lines(_without(CLAIMS, 3, "source")))
    command = [sys.executable, "-m", "distill_or_annotate", *BUILD, "fever", "--train", "a.json", "--output", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("doa data build: a.json, line 4, field 'source': missing")
    assert len(done.stderr.splitlines()) == 1


def test_skipped_rows_are_counted_where_the_data_is_built(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rows = _changed(_without(CLAIMS, 3, "source"), 5, target="perhaps")
    (tmp_path / "a.json").write_bytes(_lines(rows) + b"\xff\n")
    assert cli.main([*BUILD, "fever", "--train", "a.json", "--output", "out", "--on-bad-row", "skip"]) == 0
    assert "malformed (--on-bad-row skip)     3" in capsys.readouterr().out
    made = json.loads((tmp_path / "out/fever/1.0.0/provenance.json").read_text(encoding="utf-8"))
    assert made["skipped"]["rows"] == 3 and made["splits"]["train"]["rows"] == len(CLAIMS) - 2
    assert [line for line in ("line 4", "line 6", "line 13") if line in "".join(made["skipped"]["first"])]


def test_skipped_rows_are_counted_where_a_task_is_added(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_bytes(_csv(_row(4, "so so", "")))
    assert cli.main([*ADD, "--train", "train.csv", "--on-bad-row", "skip"]) == 0
    assert "1 rows of train.csv left out (the first, line 6: the cell of 'label' is empty)" in capsys.readouterr().out


OWN = [file for file in ALL if file.form in ("own CSV", "own TSV", "own JSON lines", "own Parquet")]


def test_task_add_answers_damaged_tables_with_a_task_or_one_line(tmp_path, monkeypatch, capsys):
    seen = set()
    for seed in range(40):
        file = OWN[seed % len(OWN)]
        (tmp_path / str(seed)).mkdir()
        monkeypatch.chdir(tmp_path / str(seed))
        (tmp_path / str(seed) / file.name).write_bytes(damaged(file.content, seed))
        status = cli.main([*ADD, "--train", file.name, "--on-bad-row", ("stop", "skip")[seed // len(OWN) % 2]])
        seen.add(status)
        said = capsys.readouterr().err
        assert status == 0 or (status == 2 and len(said.splitlines()) == 1), f"seed {seed}: {said}"
        assert (tmp_path / str(seed) / "my_tasks").exists() == (status == 0), f"seed {seed}"
    assert seen == {0, 2}
