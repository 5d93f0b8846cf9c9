"""The figure draws what was measured, once, in order, and leaves worthless models out of its lines."""

import csv
import io

from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.reports import blocks_of, read_run
from distill_or_annotate.reports.pareto import DARK, csv_of, frontier_of, png_of, points_of

models = st.lists(st.tuples(st.integers(1, 50), st.integers(0, 50)), max_size=20)


@settings(deadline=None)
@given(models=models)
def test_nothing_on_the_frontier_is_dominated_and_everything_else_is(models):
    best = frontier_of(models)
    assert best == sorted(best) and len(set(best)) == len(best)
    for usd, score in models:
        beaten = any((u <= usd and s >= score) and (u, s) != (usd, score) for u, s in models)
        assert ((usd, score) in best) == (not beaten)


def test_degenerate_models_and_the_teacher_are_off_the_frontier(run_folder):
    (block,) = blocks_of(read_run(run_folder))
    points = {(point.strategy, point.score): point for point in points_of(block)}
    assert points["distill", 12.0].degenerate and not points["distill", 12.0].on_frontier
    assert not points["teacher", 66.0].on_frontier
    on = {key for key, point in points.items() if point.on_frontier}
    assert on == {("annotate", 31.2), ("annotate", 32.9), ("annotate", 36.4), ("distill", 49.5)}


def test_the_csv_holds_every_point_and_floor(run_folder):
    (block,) = blocks_of(read_run(run_folder))
    rows = list(csv.DictReader(io.StringIO(csv_of(block))))
    assert len(rows) == 7 + 1 + 3
    distilled = next(row for row in rows if row["strategy"] == "distill" and row["degenerate"] == "false")
    assert (float(distilled["total_usd"]), float(distilled["score"])) == (90.0, 49.5)
    assert [row["strategy"] for row in rows[-3:]] == ["floor:empty", "floor:constant", "floor:lookup"]


def test_the_same_block_gives_the_same_png_whatever_was_drawn_before(run_folder):
    import matplotlib

    (block,) = blocks_of(read_run(run_folder))
    first = png_of(block)
    assert first.startswith(b"\x89PNG") and len(first) > 10_000
    assert b"Software" not in first
    assert png_of(block, DARK) != first
    before = matplotlib.rcParams["font.size"]
    matplotlib.rcParams["font.size"] = 30
    try:
        assert png_of(block) == first
    finally:
        matplotlib.rcParams["font.size"] = before


def test_a_figure_of_one_point_or_of_none_can_be_drawn(write_run, rows):
    (one,) = blocks_of(read_run(write_run(rows[:1], name="one")))
    (none,) = blocks_of(read_run(write_run([], name="none")))
    assert png_of(one) != png_of(none)
    assert points_of(none) == []
