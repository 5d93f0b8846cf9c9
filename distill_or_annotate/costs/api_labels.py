"""What an API model asks for a label."""

import difflib

from distill_or_annotate.costs.arithmetic import CostError
from distill_or_annotate.costs.teacher import Cost
from distill_or_annotate.prices import PriceBook

_TOKENS = 1_000_000


def api_models(book: PriceBook) -> tuple[str, ...]:
    """Returns the names of the API models that a book prices, sorted.

    Args:
      book: the prices.
    """
    return tuple(sorted({key.split("/")[1] for key in book.entries if key.startswith("api/")}))


def api_label_cost(
    book: PriceBook,
    model: str,
    *,
    input_tokens: float,
    output_tokens: float,
    cached_input_tokens: float = 0.0,
    batch: bool = False,
) -> Cost:
    """Returns the cost of one label by an API model.

    Args:
      book: the prices.
      model: name of the model in the book, such as `text-davinci-003`.
      input_tokens: tokens sent for one label, those read from a cache included, at least 0.
      output_tokens: tokens received, reasoning included, at least 0.
      cached_input_tokens: tokens of the input that the provider reads from its cache, at most input_tokens.
      batch: whether the label may wait for the batch tier, which gives no discount for cached tokens on top.

    Raises:
      CostError: the book prices no such model, or a number of tokens is out of range.
      PriceBookError: the book has no such price of the model.
    """
    models = api_models(book)
    if model not in models:
        near = difflib.get_close_matches(model, models, n=2)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise CostError(f"model: book {book.name!r} prices no {model!r}; {hint}allowed: {', '.join(models) or 'none'}.")
    for name, tokens in (("input_tokens", input_tokens), ("output_tokens", output_tokens)):
        if isinstance(tokens, bool) or not isinstance(tokens, int | float) or not 0 <= tokens < _TOKENS:
            raise CostError(
                f"{name}: received {tokens!r}; it must be a number of tokens, at least 0 and below 1,000,000."
            )
    if not 0 <= cached_input_tokens <= input_tokens:
        raise CostError(
            f"cached_input_tokens: received {cached_input_tokens!r}; it must lie between 0 and input_tokens, which is "
            f"{input_tokens!r}."
        )
    parts = [("batch_input" if batch else "input", input_tokens - (0 if batch else cached_input_tokens))]
    parts.append(("batch_output" if batch else "output", output_tokens))
    if cached_input_tokens and not batch:
        parts.append(("cached_input", cached_input_tokens))
    priced = [(book.entry(f"api/{model}/{part}"), tokens) for part, tokens in parts if tokens]
    if not priced:
        raise CostError("input_tokens and output_tokens are both 0; a label takes at least one token.")
    certainty = ("published", "inferred", "estimated", "assumption")
    return Cost(
        usd=sum(entry.usd * tokens / _TOKENS for entry, tokens in priced),
        provenance=max((entry.provenance for entry, _ in priced), key=certainty.index),
        price_entries=tuple(f"{entry.book}:{entry.id}" for entry, _ in priced),
        date=min(entry.date for entry, _ in priced),
    )
