"""Pools and the files of labels."""

import json
import pathlib

import pytest

from distill_or_annotate.annotators import items
from distill_or_annotate.annotators.items import PoolError


def test_the_same_text_is_one_item_in_any_pool():
    found = items.items_of(["b", "a", "b"])
    assert [item.source for item in found] == ["b", "a"]
    assert items.items_of(["a"])[0] == found[1]


def test_pools_are_json_lines_or_text(tmp_path):
    lines, text = tmp_path / "pool.jsonl", tmp_path / "pool.txt"
    lines.write_text('{"source": "Mix .", "target": "secret"}\n\n{"source": "Spin\\u2028it ."}\n')
    text.write_text("Mix .\n\nSpin it .\n")
    assert items.read_sources(lines) == ["Mix .", "Spin\u2028it ."]
    assert items.read_sources(text) == ["Mix .", "Spin it ."]
    assert items.read_sources(text, 1) == ["Mix ."]


def test_a_file_that_is_read_is_not_written_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pool, link, other = (pathlib.Path(name) for name in ("pool.jsonl", "link.jsonl", "other.jsonl"))
    pool.write_text("x")
    link.symlink_to(pool)
    other.hardlink_to(pool)
    for out in (pool, tmp_path / "pool.jsonl", pathlib.Path("../") / tmp_path.name / "pool.jsonl", link, other):
        with pytest.raises(PoolError, match=r"--out: .* is the file of --pool \(pool.jsonl\).* Fix: another --out"):
            items.check_out((tmp_path / "books", out), {"--gold": None, "--pool": pool})
    items.check_out((tmp_path / "books",), {"--pool": pool, "--gold": tmp_path / "none"})


@pytest.mark.parametrize("name", ["pool.jsonl", "pool.txt"])
def test_a_byte_order_mark_is_no_part_of_the_first_item(tmp_path, name):
    path = tmp_path / name
    path.write_text('{"source": "Mix ."}\n' if name.endswith("l") else "Mix .\n", encoding="utf-8-sig")
    assert items.read_sources(path) == ["Mix ."]


@pytest.mark.parametrize("name", ["pool.jsonl", "pool.txt"])
def test_a_pool_that_is_not_utf_8_is_named(tmp_path, name):
    (tmp_path / name).write_bytes("Mix at 5 \u00b5l .\n".encode("latin-1"))
    with pytest.raises(PoolError, match=rf"--pool: .*{name} is not UTF-8 .* Fix: save it as UTF-8"):
        items.read_sources(tmp_path / name)


@pytest.mark.parametrize("line", ['{"text": "x"}', "[1]", "no json", '{"source": 3}', '{"source": "\\ud800"}'])
def test_a_line_of_another_form_is_named(tmp_path, line):
    path = tmp_path / "pool.jsonl"
    path.write_text(f'{{"source": "fine"}}\n{line}\n')
    with pytest.raises(PoolError, match="line 2"):
        items.read_sources(path)


def test_the_gold_label_of_a_pool_stays_out_of_the_labels():
    item = items.items_of(["Mix ."])[0]
    line = json.loads(items.label_line(item, {"answer": "Mix [Action]", "usd": 0.1, "confidence": 0.5}))
    assert line == {
        "source": "Mix .", "prediction": "Mix [Action]", "inputs": {"inputs_pretokenized": "Mix ."}, "confidence": 0.5,
        "usd": 0.1,
    }  # fmt: skip
