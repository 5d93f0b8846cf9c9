"""What a labelling would cost, before the first request."""

import pytest

from distill_or_annotate.annotators import estimates, forms, items, prompts
from distill_or_annotate.annotators.rehearsal import rehearsal_prices

PRICES = rehearsal_prices()["standard"]  # $1 per million tokens in, $0.1 cached, $2 out
ROWS = [{"source": f"Mix sample {i} .", "target": f"Mix [Action] sample {i} [Reagent]"} for i in range(150)]
ITEMS = items.items_of([f"Stir the flask {i} ." for i in range(90)])


def _prompter(**options):
    return prompts.make_prompter(forms.of_task("wlp"), ROWS, **({"n_shots": 32, "shot_pool": 100} | options))


def test_the_bound_is_the_bytes_of_all_prompts_and_the_limits_of_all_answers():
    prompter = _prompter()
    told = estimates.estimate(ITEMS, prompter, PRICES, 100)
    n_bytes = [prompts.prompt_bytes(prompter.messages(item.source)) for item in ITEMS]
    assert (told.most_input_tokens, told.most_output_tokens) == (sum(n_bytes), 9000)
    assert told.most_usd == pytest.approx((sum(n_bytes) + 2 * 9000) / 1e6)
    assert told.dearest_usd == pytest.approx((max(n_bytes) + 200) / 1e6)
    assert told.usd < told.most_usd and told.cached_input_tokens == 0


def test_fixed_examples_are_estimated_at_the_price_of_the_cache():
    drawn, fixed = (estimates.estimate(ITEMS, _prompter(fixed=fixed), PRICES, 100) for fixed in (False, True))
    assert fixed.input_tokens == pytest.approx(drawn.input_tokens, rel=0.05)
    assert fixed.cached_input_tokens > 0.9 * fixed.input_tokens and fixed.usd < 0.3 * drawn.usd
    # The bound does not rely on a cache.
    assert fixed.most_usd == pytest.approx(drawn.most_usd, rel=0.05)


def test_a_short_prefix_is_not_cached():
    assert estimates.estimate(ITEMS, _prompter(fixed=True, n_shots=2), PRICES, 100).cached_input_tokens == 0


def test_a_large_pool_is_sampled():
    all_of_them, sampled = (estimates.estimate(ITEMS, _prompter(), PRICES, 100, most) for most in (None, 30))
    assert sampled.n_items == 90 and sampled.most_output_tokens == 9000
    assert sampled.usd == pytest.approx(all_of_them.usd, rel=0.02)
