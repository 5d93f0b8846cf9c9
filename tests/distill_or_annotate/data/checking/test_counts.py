"""Rows, sources and Table 5, on rows whose counts can be seen."""

import pytest

from distill_or_annotate.data.checking import counts as check_counts

ROWS = [
    {"source": "Mix well.", "target": "Mix [Action]"},
    {"source": "mix  WELL.", "target": "Mix  [Action] "},
    {"source": "Mix well.", "target": ""},
    {"source": "Spin.", "target": "Spin [Action]", "targets": ["Spin [Action]", "Spin. [Action]"]},
]


def test_repetitions_and_disagreements_are_counted_by_source_key():
    counts = check_counts.count(ROWS)
    assert (counts.n_rows, counts.n_exact_sources, counts.n_sources) == (4, 3, 2)
    # The second row repeats the first but for case and spacing; the third disagrees with both.
    assert (counts.n_repeated_rows, counts.n_sources_with_several_targets, counts.n_rows_of_those) == (1, 1, 3)
    assert (counts.n_empty_targets, counts.n_rows_with_several_answers) == (1, 1)


@pytest.mark.parametrize(
    ("n_rows", "verdict", "share"),
    [(11966, "equal", 1.0), (5983, "fewer", 0.5), (14271, "more", 14271 / 11966), (0, "missing", 0.0)],
)
def test_sizes_are_held_against_table_5(n_rows, verdict, share):
    size = check_counts.against_paper("wlp", {"train": n_rows})["train"]
    assert (size.n_paper_rows, size.paper_split, size.verdict) == (11966, "train", verdict)
    assert size.share() == pytest.approx(share)


def test_a_task_that_the_paper_lacks_has_no_expectation():
    sizes = check_counts.against_paper(None, {"train": 3})
    assert {size.verdict for size in sizes.values()} == {"not in the paper"} and sizes["train"].share() is None


def test_where_the_paper_has_no_test_files_and_task_splits_differ():
    files = check_counts.against_paper("fever", {"validation": 10444, "test": 5})
    assert (files["validation"].verdict, files["test"].verdict) == ("equal", "not published")
    # Fair mode scores dev as `test`, and holds validation out of train: together they are the training file.
    fair = check_counts.against_paper("fever", {"train": 99966, "validation": 5000, "test": 10444}, own_splits=True)
    assert [fair[split].verdict for split in ("train", "validation", "test")] == ["equal", "not published", "equal"]
    # Paper mode's validation is dev as well.
    paper = check_counts.against_paper("fever", {"train": 104966, "validation": 10444, "test": 10444}, own_splits=True)
    assert [paper[split].verdict for split in ("train", "validation", "test")] == ["equal"] * 3
