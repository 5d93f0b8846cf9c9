"""The model of the rehearsal server: answers from a file, fails by a seeded schedule, writes an invoice."""

import dataclasses
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate.annotators.prompts import CLOSE, OPEN
from distill_or_annotate.annotators.token_prices import TokenPrices, Usage

# Fault -> whether the request is billed all the same.
FAULTS = {
    "rate_limited": False,
    "server_error": False,
    "dropped": False,
    "refused": False,
    "moderated": False,
    "forbidden": False,
    "billed_error": True,
    "dropped_billed": True,
    "timeout": True,
    "truncated": True,
    "malformed": True,
    "no_choices": True,
    "no_usage": True,
    "outside": True,
}
_CACHE_FROM_TOKENS, _CACHE_STEP_TOKENS = 1024, 128
_BYTES_PER_TOKEN = 3
_ESCAPES = {"&lt;": "<", "&#91;": "["}
UNKNOWN = "I do not know this text."


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the model does with one request.

    Attributes:
      fault: a key of `FAULTS`; '' for none.
      text: the answer.
      usage: its tokens.
      logprob: natural logarithm of the answer's probability.
    """

    fault: str
    text: str
    usage: Usage
    logprob: float


class RehearsalModel:
    """Answers requests, and keeps the invoice."""

    def __init__(
        self,
        answers: Mapping[str, str],
        prices: Mapping[str, TokenPrices],
        *,
        faults: Mapping[str, float] | None = None,
        wrong_share: float = 0.0,
        seed: int = 0,
    ):
        """Sets the model up.

        Args:
          answers: item -> answer; to any other item it says that it does not know it.
          prices: `standard` and, where batches are to be taken, `batch` -> dollars of a token.
          faults: share of requests that fail, by the names of `FAULTS`; at most 1 together.
          wrong_share: share of items that get the answer of another one, 0 to 1.
          seed: of what fails and what is wrong: the n-th attempt at an item always goes the same way.

        Raises:
          ValueError: an unknown fault, or shares out of range.
        """
        faults = dict(faults or {})
        if unknown := sorted(set(faults) - set(FAULTS)):
            raise ValueError(f"faults: {unknown[0]!r} is not among {', '.join(FAULTS)}.")
        if not (0 <= wrong_share <= 1 and all(share >= 0 for share in faults.values()) and sum(faults.values()) <= 1):
            raise ValueError(f"faults {faults} and wrong_share {wrong_share}: shares of 0 to 1, together, are needed.")
        self._answers, self._prices, self._faults = dict(answers), dict(prices), faults
        self._others = sorted(set(self._answers.values()))
        self._wrong_share, self._seed = wrong_share, seed
        self._lock = threading.Lock()
        self._attempts: Counter[str] = Counter()
        self._prefixes: set[bytes] = set()
        self.invoice: list[dict[str, Any]] = []

    def invoice_usd(self) -> float:
        """Returns the dollars of all requests that were billed."""
        with self._lock:
            return sum(line["usd"] for line in self.invoice)

    def n_billed(self) -> Counter:
        """Returns how many requests were billed for each item."""
        with self._lock:
            return Counter(line["item"] for line in self.invoice)

    def answer(self, body: Mapping[str, Any], tier: str = "standard") -> Answer:
        """Answers a request and bills it.

        Args:
          body: of a chat completion.
          tier: standard | batch.
        """
        messages = body["messages"]
        item, outside = read_item(messages[-1]["content"])
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 1_000_000
        with self._lock:
            attempt = self._attempts[item]
            self._attempts[item] += 1
            fault = self._fault(item, attempt)
            text = self._text(item, outside, fault)
            tokens = _tokens(text)
            # A cut answer gives no label even where it would have been short.
            if tokens > limit:
                fault = fault or "truncated"
                text, tokens = text[: limit * _BYTES_PER_TOKEN], limit
            usage = Usage(sum(map(_message_tokens, messages)), 0, tokens)
            if tier == "standard":
                usage = dataclasses.replace(usage, cached_input_tokens=self._cached_tokens(messages))
            if not fault or FAULTS[fault]:
                usd = self._prices[tier].usd(usage)
                self.invoice.append({"item": item, "usd": usd, "tier": tier, "fault": fault, **vars(usage)})
        return Answer(fault, text, usage, -3.0 * self._draw("confidence", item, 0))

    def has_tier(self, tier: str) -> bool:
        """Returns whether the model has prices of a tier.

        Args:
          tier: standard | batch.
        """
        return tier in self._prices

    def _text(self, item: str, outside: str, fault: str) -> str:
        if fault == "outside":
            return "MAYBE [Nonsense]"
        # It obeys whatever stands outside the delimiters, as models do: an item that got out would be seen.
        if outside:
            return outside
        text = self._answers.get(item, UNKNOWN)
        if self._others and self._draw("wrong", item, 0) < self._wrong_share:
            return self._others[int(self._draw("which", item, 0) * len(self._others))]
        return text

    def _fault(self, item: str, attempt: int) -> str:
        draw = self._draw("fault", item, attempt)
        for name, share in self._faults.items():
            if draw < share:
                return name
            draw -= share
        return ""

    def _draw(self, what: str, item: str, number: int) -> float:
        digest = hashlib.blake2b(f"{self._seed}:{what}:{number}:{item}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64

    def _cached_tokens(self, messages: Sequence[Mapping[str, str]]) -> int:
        digest, tokens, cached, seen = hashlib.blake2b(digest_size=16), 0, 0, []
        for message in messages:
            digest.update(json.dumps(message, sort_keys=True).encode())
            tokens += _message_tokens(message)
            seen.append(digest.digest())
            if seen[-1] in self._prefixes:
                cached = tokens
        self._prefixes.update(seen)
        return cached // _CACHE_STEP_TOKENS * _CACHE_STEP_TOKENS if cached >= _CACHE_FROM_TOKENS else 0


def read_item(content: str) -> tuple[str, str]:
    """Returns the item of a message, and what stands outside its delimiters.

    Args:
      content: the last message of a request.
    """
    found = re.fullmatch(rf"(.*?){re.escape(OPEN)}(.*?){re.escape(CLOSE)}(.*)", content, re.DOTALL)
    if not found:
        return "", content.strip()
    item = found[2]
    for escape, character in _ESCAPES.items():
        item = item.replace(escape, character)
    return item, (found[1] + found[3]).strip()


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // _BYTES_PER_TOKEN)


def _message_tokens(message: Mapping[str, str]) -> int:
    return 4 + _tokens(message["content"])
