"""`doa paper costs` prints the 66 cells as a list, and what they rest on."""

import json
import resource
import subprocess
import sys

import pytest

from distill_or_annotate import cli, paper


def _printed():
    """The cells as facts.json prints them, read here without the code under test."""
    facts = json.loads((paper.facts.__globals__["_FACTS_PATH"]).read_text())
    for table in ("table2", "table11"):
        for row in facts[table]["rows"]:
            for i, usd in enumerate(row["additional_usd"]):
                if usd:
                    key = (table, row["task"], row["n_labels"], usd)
                    yield key, tuple(row[name][i] for name in ("extra_labels", "gpu_hours", "unlabeled_k"))


def test_json_is_a_list_of_66_cells_that_match_in_all_three_columns(capsys):
    assert cli.main(["paper", "costs", "--json"]) == 0
    said = capsys.readouterr()
    cells = json.loads(said.out)
    assert isinstance(cells, list) and len(cells) == 66
    computed = {
        (c["table"], c["task"], c["n_labels"], c["additional_usd"]): (
            c["extra_labels"],
            c["gpu_hours"],
            c["unlabeled_k"],
        )
        for c in cells
    }
    assert computed == dict(_printed())
    assert {cell["provenance"] for cell in cells} == {"published", "inferred", "contradicted"}
    assert all(cell["price_entries"] for cell in cells)
    assert "66 of 66 cells match" in said.err
    assert "12 follow from published prices alone, 4 contradict Table 6, 50 need inferred" in said.err


def test_the_table_shows_both_and_the_counts_and_the_assumptions(capsys):
    assert cli.main(["paper", "costs"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for text in ("1,923 | 1,923", "N/A | N/A", "12 follow", "11.25 e", "67.50 p", "footnote 1", "Section 2.1"):
        assert text in shown
    assert "differs" not in shown


def test_another_book_shows_what_would_change_and_does_not_fail(capsys):
    assert cli.main(["paper", "costs", "--json", "--book", "current"]) == 0
    said = capsys.readouterr()
    assert not all(cell["matches"] for cell in json.loads(said.out))
    assert "62 estimated" in said.err


def test_a_price_that_breaks_a_cell_is_an_exit_status(tmp_path, capsys):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[books.paper]\nextends = "paper"\n[[books.paper.entries]]\nid = "label/wlp"\nusd = 0.27\nunit = "label"\n'
        'date = 2026-11-01\nsource = "me"\nprovenance = "assumption"\n'
    )
    assert cli.main(["paper", "costs", "--prices", str(path)]) == 1
    assert "(differs)" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["paper", "costs", "--book", "papr"], ["paper", "costs", "--book", "local"]])
def test_books_that_price_no_study_are_refused(words, capsys):
    assert cli.main(words) == 2
    assert capsys.readouterr().err.startswith("doa paper costs: ")


@pytest.mark.parametrize(
    "words", [["paper", "costs", "--json"], ["prices", "current"], ["prices", "label", "--task", "wlp"]]
)
def test_the_commands_answer_within_a_second_and_import_no_accelerator_stack(words):
    code = (
        "import sys; from distill_or_annotate import cli; status = cli.main(sys.argv[1:])\n"
        "heavy = [n for n in ('jax', 'tensorflow', 'seqio', 'flax', 'matplotlib') if n in sys.modules]\n"
        "sys.exit(f'heavy: {heavy}' if heavy else status)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    # Processor time, which other work on the machine hardly changes; it is about 0.2 seconds.
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1
