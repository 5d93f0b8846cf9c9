"""The report is a function of the run's files: complete, self-contained, the same bytes each time."""

import argparse
import html.parser
import random
import re

import pytest

from distill_or_annotate.reports import ReportError, build, command

VOID = {"meta", "img", "source", "br", "link"}


class _Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.tags, self.text = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def _files(folder):
    report = folder / "report"
    return {str(path.relative_to(report)): path.read_bytes() for path in sorted(report.rglob("*")) if path.is_file()}


def test_the_report_holds_page_tables_figure_and_its_data(run_folder):
    assert build(run_folder) == run_folder / "report" / "index.html"
    figures = {f"figures/pareto.{form}" for form in ("png", "svg", "csv")}
    assert set(_files(run_folder)) == {"index.html", "tables.md", "energy.csv"} | figures


def test_the_same_files_give_the_same_bytes(run_folder):
    build(run_folder)
    first = _files(run_folder)
    build(run_folder)
    assert _files(run_folder) == first


def test_the_order_of_results_does_not_matter(write_run, rows):
    straight = write_run(rows, name="straight", ledger=False)
    random.Random(0).shuffle(rows)
    shuffled = write_run(rows, name="shuffled", ledger=False)
    build(straight)
    build(shuffled)
    assert _files(straight) == _files(shuffled)


def test_another_score_gives_another_report(write_run, rows):
    first, second = write_run(rows, name="first", ledger=False), write_run(
        [{**row, "score": row["score"] + 0.1} for row in rows], name="second", ledger=False
    )  # fmt: skip
    build(first)
    build(second)
    old, new = _files(first), _files(second)
    assert all(old[name] != new[name] for name in old)


def test_the_page_is_well_formed_and_needs_nothing_else(run_folder):
    text = build(run_folder).read_text()
    page = _Page(text)
    assert page.open == []
    assert page.links and all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "script" not in page.tags and "http" not in re.sub(r"base64,[^\"]+", "", text)
    assert "viewport" in text and "prefers-color-scheme: dark" in text


def test_the_page_shows_answer_cells_money_assumptions_and_manifest(run_folder):
    shown = " ".join(_Page(build(run_folder).read_text()).text)
    labels_usd = 382 * 0.26
    for text in (
        "It depends on the budget: distilling at +$12.00",
        "49.5 ± 1.1",
        "12.0†",
        "N/A",
        "missing",
        "lookup 26.3",
        f"${labels_usd:,.2f}",
        f"${labels_usd + 4.05:,.2f}",
        "quickstart_scaled",
        "2 min 0 s",
        "30 s wasted",
        "An engineer's time is free",
        "A & B.",
        "doa run x.gin",
        "distill-12-s0",
        "entity_precision 50.5, entity_recall 48.5",
    ):
        assert text in shown, text


def test_text_from_files_is_escaped(run_folder):
    text = build(run_folder).read_text()
    assert "&lt;one&gt;" in text and "<one>" not in text


def test_several_studies_have_a_figure_each(write_run, rows):
    folder = write_run(rows + [{**row, "task": "mini_cls", "metric": "accuracy"} for row in rows])
    build(folder)
    assert len([name for name in _files(folder) if name.endswith(".png")]) == 2


def test_a_torn_result_is_reported_and_not_counted(run_folder):
    with open(run_folder / "results.jsonl", "a") as results:
        results.write('{"task": "mini", "sco')
    assert "bytes of an interrupted write, not counted" in build(run_folder).read_text()


def test_the_command_prints_the_table_and_ends_with_the_path(run_folder, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args([str(run_folder)])) == 0
    shown = capsys.readouterr().out
    assert "49.5" in shown and "N/A" in shown
    assert shown.splitlines()[-1] == str(run_folder / "report" / "index.html")


def test_a_wrong_folder_is_refused(tmp_path):
    with pytest.raises(ReportError, match=r"no results\.jsonl"):
        build(tmp_path / "nowhere")
