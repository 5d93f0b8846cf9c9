"""Dollars of a request by its tokens, and the most that it can cost."""

import dataclasses
import difflib

from distill_or_annotate.costs import api_models
from distill_or_annotate.prices import PriceBook, PriceBookError

_PER_TOKENS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Usage:
    """Tokens that a provider billed for one request.

    Attributes:
      input_tokens: tokens sent, cached ones included.
      cached_input_tokens: those that the provider read from its cache, at most input_tokens.
      output_tokens: tokens received, reasoning included.
    """

    input_tokens: int
    cached_input_tokens: int
    output_tokens: int


@dataclasses.dataclass(frozen=True)
class TokenPrices:
    """Prices of a model.

    Attributes:
      model: its name in the book and at the endpoint.
      book: name of the book.
      input_usd: dollars per million tokens sent.
      cached_input_usd: dollars per million tokens read from the provider's cache; the full price where the book has
        none, and in the batch tier, which gives no discount on top.
      output_usd: dollars per million tokens received.
      batch: whether these are the batch tier's.
      price_entries: the entries they come from.
      date: the oldest date among them, ISO.
    """

    model: str
    book: str
    input_usd: float
    cached_input_usd: float
    output_usd: float
    batch: bool
    price_entries: tuple[str, ...]
    date: str

    def usd(self, usage: Usage) -> float:
        """Returns the dollars of a request.

        Args:
          usage: its tokens.
        """
        fresh = usage.input_tokens - usage.cached_input_tokens
        cached_usd = usage.cached_input_tokens * self.cached_input_usd
        return (fresh * self.input_usd + cached_usd + usage.output_tokens * self.output_usd) / _PER_TOKENS

    def worst_usd(self, input_tokens: int, output_tokens: int) -> float:
        """Returns the most that a request can cost.

        Args:
          input_tokens: the most tokens that it sends.
          output_tokens: the most that it gets.
        """
        dearest = max(self.input_usd, self.cached_input_usd)
        return (input_tokens * dearest + output_tokens * self.output_usd) / _PER_TOKENS


def token_prices(book: PriceBook, model: str, *, batch: bool = False) -> TokenPrices:
    """Reads a model's prices from a book.

    Args:
      book: the prices.
      model: the model's name, as in `api/NAME/input`.
      batch: whether to take the batch tier's.

    Raises:
      PriceBookError: the book does not price the model, or not in this tier; near names are listed.
    """
    models = api_models(book)
    if model not in models:
        near = difflib.get_close_matches(model, models, n=2)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise PriceBookError(
            f"--model: book {book.name!r} prices no {model!r}; {hint}allowed: {', '.join(models) or 'none'}. Fix: add "
            f"api/{model}/input and api/{model}/output to a book of yours (docs/prices.md), and name it with "
            "--price-book and --prices."
        )
    parts = ("batch_input", "batch_output") if batch else ("input", "output")
    sent, received = (book.entry(f"api/{model}/{part}") for part in parts)
    cached = book.entries.get(f"api/{model}/cached_input", sent) if not batch else sent
    entries = {entry.id: entry for entry in (sent, cached, received)}
    return TokenPrices(
        model=model,
        book=book.name,
        input_usd=sent.usd,
        cached_input_usd=cached.usd,
        output_usd=received.usd,
        batch=batch,
        price_entries=tuple(f"{book.name}:{key}" for key in entries),
        date=min(entry.date for entry in entries.values()).isoformat(),
    )
