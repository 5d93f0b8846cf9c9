"""docs/prices.md: its commands run and print what it shows, its file is read, and its table of ranges is the code's."""

import re
import shlex
from pathlib import Path

import pytest

from distill_or_annotate import cli
from distill_or_annotate.prices import PriceBookError, load_book, load_books, units

_PAGE = (Path(__file__).parents[2] / "docs" / "prices.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"```\n(.*?)```", _PAGE, re.DOTALL)
_SHOWN = [block[2:].split("\n", 1) for block in _BLOCKS if block.startswith("$ ")]
_PLAIN = [line.split("#")[0].strip() for b in _BLOCKS if not b.startswith("$ ") for line in b.splitlines() if line]
(_TOML,) = re.findall(r"```toml\n(.*?)```", _PAGE, re.DOTALL)


@pytest.fixture(autouse=True)
def _in_a_folder_with_the_pages_file(tmp_path, monkeypatch):
    (tmp_path / "ours.toml").write_text(_TOML)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("command", "shown"), _SHOWN, ids=[command[:30] for command, _ in _SHOWN])
def test_commands_print_what_the_page_shows(command, shown, capsys):
    assert cli.main(shlex.split(command)[1:]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for line in shown.splitlines():
        assert " ".join(line.split()) in printed, line


@pytest.mark.parametrize("command", _PLAIN)
def test_the_other_commands_run(command, capsys):
    assert cli.main(shlex.split(command)[1:]) == 0
    assert capsys.readouterr().out


def test_every_book_of_the_table_is_there_and_none_is_missing():
    named = {name for row in re.findall(r"^\| (`.*?) \|", _PAGE, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)}
    assert named & set(load_books()) == {name for name in load_books() if not name.endswith("scaled_current")}


def test_the_placeholder_is_refused_in_the_words_of_the_page(tmp_path):
    (message,) = re.findall(r"^    (price entry .*)$", _PAGE, re.MULTILINE)
    (tmp_path / "bad.toml").write_text(_TOML.replace("0.70", "700.0"))
    with pytest.raises(PriceBookError) as refused:
        load_book("ours", tmp_path / "bad.toml")
    assert str(refused.value).endswith(message)


def test_the_ranges_are_those_of_the_code():
    rows = re.findall(r"^\| (`.*?) \| ([\d.,]+) \| ([\d.,]+) \|$", _PAGE, re.MULTILINE)
    told = {
        unit: tuple(float(bound.replace(",", "")) for bound in bounds)
        for names, *bounds in rows
        for unit in re.findall(r"`(.*?)`", names)
    }
    assert told == units.RANGES
    for unit, bounds in units.FACTOR_RANGES.items():
        low, high = re.search(rf"`{re.escape(unit)}` from\s+([\d.]+)\s+to\s+([\d.]*\d)", _PAGE).groups()
        assert (float(low), float(high)) == bounds
