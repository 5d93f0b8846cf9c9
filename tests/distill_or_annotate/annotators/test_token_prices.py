"""Dollars by tokens: the same as the price book's, and never above the worst case."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from distill_or_annotate.annotators.token_prices import Usage, token_prices
from distill_or_annotate.costs import api_label_cost, api_models
from distill_or_annotate.prices import PriceBookError, load_book

BOOK = load_book("current")
PRICED = st.sampled_from([(model, batch) for model in api_models(BOOK) for batch in (False, True)])


@st.composite
def usages(draw):
    sent = draw(st.integers(1, 100_000))
    return Usage(sent, draw(st.integers(0, sent)), draw(st.integers(0, 5_000)))


@given(PRICED, usages())
def test_a_request_costs_what_the_price_book_says(priced, usage):
    model, batch = priced
    tokens = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    cost = api_label_cost(BOOK, model, **tokens, cached_input_tokens=usage.cached_input_tokens, batch=batch)
    assert token_prices(BOOK, model, batch=batch).usd(usage) == pytest.approx(cost.usd, rel=1e-12)


@given(PRICED, usages(), st.integers(0, 1000), st.integers(0, 1000))
def test_no_request_within_its_bounds_costs_more_than_the_worst_case(priced, usage, more_in, more_out):
    prices = token_prices(BOOK, priced[0], batch=priced[1])
    worst_usd = prices.worst_usd(usage.input_tokens + more_in, usage.output_tokens + more_out)
    assert prices.usd(usage) <= worst_usd * (1 + 1e-12)


def test_cached_tokens_cost_the_full_price_where_the_book_has_no_other():
    prices = token_prices(load_book("paper"), "text-davinci-003")
    assert prices.usd(Usage(2300, 2000, 0)) == pytest.approx(0.046)  # Section 5: 2,300 tokens at $0.02 per 1,000


def test_the_batch_tier_is_its_own_price():
    standard, batch = (token_prices(BOOK, "gpt-6-luna", batch=batch) for batch in (False, True))
    usage = Usage(1000, 500, 100)
    # 500 * 0.10 + 500 * 0.01 + 100 * 0.50, and 1,000 * 0.05 + 100 * 0.25, per million
    assert (standard.usd(usage), batch.usd(usage)) == (pytest.approx(105e-6), pytest.approx(75e-6))


@pytest.mark.parametrize(
    ("book", "model", "batch", "told"),
    [
        ("current", "gpt-6-lunar", False, "did you mean gpt-6-luna"),
        ("quickstart_scaled", "gpt-6-luna", False, "prices no 'gpt-6-luna'"),
        ("paper", "text-davinci-003", True, "batch_input"),
    ],
)
def test_a_model_without_a_price_is_refused(book, model, batch, told):
    with pytest.raises(PriceBookError, match=told):
        token_prices(load_book(book), model, batch=batch)
