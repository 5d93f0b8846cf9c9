"""The plan's page without a browser: one file, nothing breaks out of it, the numbers that it computes with."""

import argparse
import html.parser
import json
import re

import pytest

from distill_or_annotate.costs import distill_cost_per_1k, finetune_cost
from distill_or_annotate.planning import advice, command, posterior, prices, prior
from distill_or_annotate.planning.outcomes import Evidence
from distill_or_annotate.planning.page import page
from distill_or_annotate.planning.page.numbers import computing_as_dict
from distill_or_annotate.planning.wishes import Wish
from distill_or_annotate.prices import load_book

_HOSTILE = "</script><b>\u2028<!--{{numbers}}&\"'"


def _page(task="reviews", n_draws=300, assumed=("One thing.",)):
    asked = prices.prices_of(load_book("paper"), "wlp", 0.26)
    evidence, wish = Evidence(task, "", 0.5, ()), Wish(300.0)
    draws = posterior.condition(evidence, prior.broad(), n_draws).rounded()
    return page(advice.advise(wish, asked, draws), evidence, wish, asked, draws, assumed), draws


def _numbers(text):
    return json.loads(re.search(r'<script id="numbers" type="application/json">(.*?)</script>', text, re.DOTALL)[1])


class _Elements(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.addresses = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.addresses += [value for name, value in attrs if name in ("href", "src", "action", "data", "srcset")]


@pytest.fixture(scope="module")
def plain():
    """A page and the draws in it."""
    return _page()


def test_names_cannot_break_out_of_the_page(plain):
    hostile, _ = _page(_HOSTILE, assumed=(_HOSTILE,))
    assert _Elements(hostile).found == _Elements(plain[0]).found
    assert _numbers(hostile)["task"] == _HOSTILE and _numbers(hostile)["assumptions"] == [_HOSTILE]
    assert "</script><b>" not in hostile and "\u2028" not in hostile.partition('type="application/json">')[2]


def test_the_page_is_one_file_that_may_ask_nothing_of_a_network(plain):
    assert _Elements(plain[0]).addresses == ["data:,"]
    assert "default-src 'none'" in plain[0] and "@import" not in plain[0] and "url(" not in plain[0]
    assert not re.search(r"\bfetch\(|XMLHttpRequest|\bimport\b.*from|sendBeacon|WebSocket|eval\(|innerHTML", plain[0])


def test_the_draws_come_back_as_they_were(plain):
    text, draws = plain
    embedded = _numbers(text)["draws"]
    for name in ("drawn", "linear", "dice"):
        columns = getattr(draws, name).T.tolist()
        assert [[value / embedded["unit"] for value in column] for column in embedded[name]] == columns


def test_a_page_of_all_draws_is_below_two_megabytes():
    assert len(_page(n_draws=command.PLANNED_DRAWS)[0].encode()) < 1_000_000


@pytest.mark.parametrize(("book", "task"), [("paper", "natural_questions"), ("quickstart_scaled", "mini")])
def test_the_pages_points_are_the_price_books(book, task):
    said, scale = computing_as_dict(load_book(book), task), 1.0
    while "base" in said:
        said, scale = said["base"], scale * said["scale"]
    for n_labels, usd in said["finetune_usd"]:
        assert finetune_cost(load_book(book), task, round(n_labels * scale)).usd == pytest.approx(usd * scale)
    limited = said["distill_usd_per_1k"]
    for n_labels, usd in (*limited, (10**9, said["distill_usd_per_1k_above"])):
        assert distill_cost_per_1k(load_book(book), task, max(1, round(n_labels * scale))).usd == usd


def test_the_command_writes_the_page_and_says_where(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = ["--task", "wlp", "--budget-usd", "300", "--prior", "none", "--json", "--html", str(tmp_path / "plan.html")]
    assert command.run(parser.parse_args(words)) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert said.err == f"The plan as a page: {tmp_path / 'plan.html'}\n"
    text = (tmp_path / "plan.html").read_text(encoding="utf-8")
    assert f"Buy {found['recommended']['name']}" in text and _numbers(text)["assumptions"] == found["assumptions"]
    assert text.startswith("<!doctype html>") and "wlp: what $300.00 should buy" in text
