"""What a labelling would cost, before the first request."""

import dataclasses
from collections.abc import Sequence

from distill_or_annotate.annotators.items import Item
from distill_or_annotate.annotators.prompts import Prompter, prompt_bytes
from distill_or_annotate.annotators.token_prices import TokenPrices, Usage

# Bytes of text that one token holds, at the least: English text has about 4 with today's vocabularies, and the paper's
# 2,300 tokens for 32 examples of wlp come to 2.9.
BYTES_PER_TOKEN = 2.5
_TOKENS_PER_MESSAGE = 8
# Prefixes shorter than this are not cached by the providers that do.
_CACHE_FROM_TOKENS = 1024


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Dollars of the items that are left.

    Attributes:
      n_items: items to label.
      input_tokens: tokens that would be sent, estimated.
      cached_input_tokens: those that a provider's cache would serve, estimated; 0 without fixed examples.
      output_tokens: tokens that would come back, estimated.
      usd: dollars of those.
      most_input_tokens: the bytes of all prompts, which no byte-level tokenizer turns into more tokens.
      most_output_tokens: the limits of all answers together.
      most_usd: dollars of those: no attempt at each item costs more. Retries come on top, within the cap.
      dearest_usd: the most that one request can cost; a cap below it buys nothing.
    """

    n_items: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    usd: float
    most_input_tokens: int
    most_output_tokens: int
    most_usd: float
    dearest_usd: float


def estimate(
    items: Sequence[Item], prompter: Prompter, prices: TokenPrices, output_tokens: int, most_counted: int | None = None
) -> Estimate:
    """Counts the prompts of items, without sending any.

    Args:
      items: the items.
      prompter: makes the prompts.
      prices: dollars of a token.
      output_tokens: the most tokens of an answer.
      most_counted: above this many items, only so many are counted, evenly spaced, and the tokens scaled up; then all
        fields are estimates. None counts each.
    """
    if most_counted is not None and len(items) > most_counted:
        chosen = [items[i * len(items) // most_counted] for i in range(most_counted)]
        return _scaled(estimate(chosen, prompter, prices, output_tokens), len(items), prices)
    answers = [len(row["target"].encode()) for row in prompter.pool]
    per_answer = min(output_tokens, _tokens(max(answers)) if answers else output_tokens)
    sent = cached = most = 0
    dearest_usd = 0.0
    for number, item in enumerate(items):
        messages = prompter.messages(item.source)
        n_bytes = prompt_bytes(messages)
        each = [_tokens(len(message["content"].encode())) + _TOKENS_PER_MESSAGE for message in messages]
        sent, most = sent + sum(each), most + n_bytes
        dearest_usd = max(dearest_usd, prices.worst_usd(n_bytes, output_tokens))
        prefix = sum(each[:-1])
        if prompter.fixed and number and prefix >= _CACHE_FROM_TOKENS and prices.cached_input_usd < prices.input_usd:
            cached += prefix
    usage = Usage(sent, cached, per_answer * len(items))
    most_out = output_tokens * len(items)
    return Estimate(
        n_items=len(items),
        **dataclasses.asdict(usage),
        usd=prices.usd(usage),
        most_input_tokens=most,
        most_output_tokens=most_out,
        most_usd=prices.worst_usd(most, most_out),
        dearest_usd=dearest_usd,
    )


def _scaled(counted: Estimate, n_items: int, prices: TokenPrices) -> Estimate:
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "most_input_tokens", "most_output_tokens")
    tokens = {name: round(getattr(counted, name) * n_items / counted.n_items) for name in names}
    usd = prices.usd(Usage(*(tokens[name] for name in names[:3])))
    most_usd = prices.worst_usd(tokens["most_input_tokens"], tokens["most_output_tokens"])
    return Estimate(n_items=n_items, usd=usd, most_usd=most_usd, dearest_usd=counted.dearest_usd, **tokens)


def _tokens(n_bytes: int) -> int:
    return round(n_bytes / BYTES_PER_TOKEN + 0.5)
