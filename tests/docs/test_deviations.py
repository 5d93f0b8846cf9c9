"""The tables of docs/deviations.md say what the figures they name say."""

import json
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs" / "deviations.md").read_text(encoding="utf-8")
_ROWS = {
    "both students at a thirtieth of the rate": "learning_rate",
    "the annotated student alone at that rate": "annotate_rate",
    "both students searched on dev (three rates)": "search",
    "both students searched on dev (`SEARCH=fixed`: three rates by two lengths)": "fixed_search",
    "the loss over every position, pads included": "padding",
    "no gold labels among the teacher's": "gold",
    "the pool holds the labelled sources": "pool",
    "the paper's optimizer, clipping and schedule, at the best of three rates": "training",
    "the task's name before each source": "prefix",
    "the paper's metric": "metrics",
    "the paper's metric for entities": "metrics",
}
# The title above a table, the figures it names, and the scenario in them.
_TABLES = {
    "**Real data**": ("deviations_real.json", "real_multipit_id"),
    "**Stanceosaurus**": ("deviations_stances.json", "real_stanceosaurus"),
    "**Embedded task**": ("deviations_mini.json", "quickstart"),
    "**Embedded classification**": ("deviations_mini.json", "quickstart_cls"),
}


def _table(title):
    """Difference to its cells."""
    lines = re.search(rf"{re.escape(title)}.*?\n\n((?:\|[^\n]*\n)+)", _PAGE, re.DOTALL)[1].splitlines()[2:]
    return {cells[0]: cells[1:] for cells in ([c.strip() for c in line.strip("|").split("|")] for line in lines)}


def _told(cells, strategy):
    """As the page writes it: nothing where a row leaves the strategy alone, one number where no seed moved."""
    own = sorted((c for c in cells if c["strategy"] == strategy), key=lambda c: c["additional_usd"])
    if all(c["difference"] == c["stderr"] == 0 for c in own):
        return ""
    return " and ".join(f"{c['difference']:+.1f} ± {c['stderr']:.1f}" for c in own)


def _lead(cells):
    at = {(c["strategy"], c["additional_usd"]): c for c in cells}
    usd = max(usd for strategy, usd in at if strategy == "distill")
    if ("annotate", usd) not in at:
        return ""  # other dollars
    leads = [at["distill", usd][mode] - at["annotate", usd][mode] for mode in ("fair", "changed")]
    return f"{leads[0]:.1f} → {leads[1]:.1f}"


@pytest.mark.parametrize("title", list(_TABLES))
def test_each_cell_is_what_was_measured(title):
    name, scenario = _TABLES[title]
    assert f"(results/{name})" in _PAGE
    report = json.loads((_ROOT / "docs" / "results" / name).read_text(encoding="utf-8"))
    measured = {row["row"]: row["cells"] for row in report["rows"] if row["scenario"] == scenario}
    table = _table(title)
    assert {_ROWS[difference] for difference in table} == set(measured)
    for difference, (annotate, distill, lead) in table.items():
        cells = measured[_ROWS[difference]]
        assert annotate in (_told(cells, "annotate"), "0.0"), difference
        assert distill in (_told(cells, "distill"), "0.0"), difference
        assert "0.0" not in (annotate, distill) or _told(cells, "annotate") == _told(cells, "distill") == ""
        assert lead == _lead(cells), difference


def test_what_the_metrics_make_of_fixed_answers_is_what_their_comparison_holds():
    page = (_ROOT / "docs" / "results" / "evaluate_agreement.md").read_text(encoding="utf-8")
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:2] == "| "]
    held = {tuple(cells[:3]): float(cells[5]) for cells in lines if cells[-1] == "yes"}
    sets = {"self-BLEU": "multipit_gen, pairs", "one answer": "natural_questions, NQ-open"}
    kinds = {"damaged": "damaged", "copied": "copied", "for all": "constant", "gold": "gold"}
    rows = re.search(r"\*\*Natural Questions and.*?\n\n((?:\|[^\n]*\n)+)", _PAGE, re.DOTALL)[1].splitlines()[2:]
    of = None
    for difference, answers, *scores in ([cell.strip() for cell in row.strip("|").split("|")] for row in rows):
        of = next((name for start, name in sets.items() if difference.startswith(start)), of)
        kind = next(kind for word, kind in kinds.items() if word in answers)
        assert scores == [f"{held[of, mode, kind]:.1f}" for mode in ("fair", "paper")], answers
    assert len(rows) == 7
