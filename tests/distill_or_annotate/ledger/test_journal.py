"""The journal survives writes cut short at any byte, and refuses files changed by hand."""

import json
import subprocess
import sys
import threading

import pytest

from distill_or_annotate.ledger.journal import Journal, JournalError, read_journal

ROWS = [{"status": "settled", "n": 1, "note": "zwölf"}, {"status": "settled", "n": 2}]


def _append(path, *rows):
    with Journal(path).transaction() as transaction:
        transaction.append(rows)


def test_rows_come_back_in_order(tmp_path):
    path = tmp_path / "ledger.jsonl"
    _append(path, *ROWS)
    assert read_journal(path).rows == ROWS
    assert path.read_text().count("\n") == 2


def test_a_missing_file_is_an_empty_journal(tmp_path):
    assert read_journal(tmp_path / "none.jsonl").rows == []


def test_a_write_cut_at_any_byte_loses_only_its_own_row(tmp_path):
    path = tmp_path / "ledger.jsonl"
    _append(path, ROWS[0])
    first = path.read_bytes()
    _append(path, ROWS[1])
    whole = path.read_bytes()
    for cut in range(len(first), len(whole)):
        path.write_bytes(whole[:cut])
        # A row that lacks its line end alone is whole: an object cut earlier lacks its bracket.
        survives = cut == len(whole) - 1
        before = read_journal(path)
        assert before.rows == (ROWS if survives else ROWS[:1])
        assert len(before.torn) == (0 if survives or cut == len(first) else 1)
        _append(path, {"status": "settled", "n": 3})
        after = read_journal(path)
        assert after.rows == [*before.rows, {"status": "settled", "n": 3}]
        assert after.torn == before.torn
        assert path.read_bytes().startswith(whole[:cut]), "the journal is only ever appended to"


def test_a_repair_cut_short_is_repaired_in_turn(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(json.dumps(ROWS[0]).encode() + b'\n{"n": 2, "st\n{"status": "rep')
    assert len(read_journal(path).torn) == 2
    _append(path, ROWS[1])
    assert read_journal(path).rows == ROWS
    assert len(read_journal(path).torn) == 2


def test_a_broken_middle_is_refused_with_file_and_line(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"n": 1}\noops\n{"n": 2}\n')
    with pytest.raises(JournalError, match=r"ledger\.jsonl:2"):
        read_journal(path)


def test_a_number_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        _append(tmp_path / "ledger.jsonl", {"usd": float("nan")})


def test_threads_take_turns(tmp_path):
    path = tmp_path / "ledger.jsonl"

    def count_up():
        for _ in range(10):
            with Journal(path).transaction() as transaction:
                transaction.append([{"n": len(transaction.rows)}])

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [row["n"] for row in read_journal(path).rows] == list(range(40))


def test_processes_take_turns(tmp_path):
    path = tmp_path / "ledger.jsonl"
    program = (
        "import sys, pathlib\n"
        "from distill_or_annotate.ledger.journal import Journal\n"
        "for _ in range(15):\n"
        "    with Journal(pathlib.Path(sys.argv[1])).transaction() as t:\n"
        "        t.append([{'n': len(t.rows)}])\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    assert [row["n"] for row in read_journal(path).rows] == list(range(45))
