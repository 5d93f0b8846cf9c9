"""Several requests at a time, each reserved, sent once, closed; what fails is tried again later, or set aside."""

import dataclasses
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from distill_or_annotate.annotators.accounts import STANDARD, Account, Stopped
from distill_or_annotate.annotators.endpoint import FORBIDDEN, Endpoint, EndpointError, Failure, Reply
from distill_or_annotate.annotators.forms import LabelForm, Rejected
from distill_or_annotate.annotators.items import Item
from distill_or_annotate.annotators.prompts import Message, Prompter, prompt_bytes
from distill_or_annotate.annotators.token_prices import TokenPrices
from distill_or_annotate.ledger import CapReached

_LONGEST_BACKOFF_SECONDS = 60.0
# Why an answer ended, in the words of servers: at the limit of its tokens, and for certain not there.
_CUT = ("length", "max_tokens", "model_length")
_NOT_CUT = ("stop", "error", "content_filter", "malformed_reply")
# A truncated answer is asked for again with twice the room, so often.
_DOUBLINGS = 2


@dataclasses.dataclass(frozen=True)
class Settings:
    """How requests are made.

    Attributes:
      output_tokens: the most tokens of an answer, at least 1; a truncated one gets twice and four times as many.
      concurrency: requests at a time, at least 1.
      n_attempts: attempts at an item before it is set aside, at least 1.
      backoff_seconds: wait before the second attempt; each further wait is twice as long, up to a minute.
      most_in_a_row: items set aside one after the other, with no answer between, that stop the labelling.
      batch_size: most requests in a batch, at least 1.
      poll_seconds: between two questions for the state of a batch.
    """

    output_tokens: int = 256
    concurrency: int = 8
    n_attempts: int = 6
    backoff_seconds: float = 1.0
    most_in_a_row: int = 25
    batch_size: int = 5000
    poll_seconds: float = 30.0

    def __post_init__(self):
        for name in ("output_tokens", "concurrency", "n_attempts", "most_in_a_row", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: received {getattr(self, name)}; it must be at least 1.")
        for name in ("backoff_seconds", "poll_seconds"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: received {getattr(self, name)}; it must be at least 0.")

    def limit(self, n_truncated: int) -> int:
        """Returns the most tokens of an answer.

        Args:
          n_truncated: how many answers for the item were cut before.
        """
        return self.output_tokens << min(n_truncated, _DOUBLINGS)

    def wait_seconds(self, n_failures: int) -> float:
        """Returns how long to wait before the next attempt.

        Args:
          n_failures: how many failed before.
        """
        return min(self.backoff_seconds * 2 ** max(0, n_failures - 1), _LONGEST_BACKOFF_SECONDS)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What an answer is worth.

    Attributes:
      outcome: `answered`, or why it is no label.
      label: the label of an answered one.
      retry: whether another attempt may succeed.
      detail: for people.
    """

    outcome: str
    label: str = ""
    retry: bool = False
    detail: str = ""


def judge(reply: Reply, form: LabelForm, source: str, output_tokens: int | None = None) -> Verdict:
    """Says whether a reply holds a label.

    Args:
      reply: the reply.
      form: the task.
      source: the item.
      output_tokens: the most tokens that the answer was allowed; None where nobody knows.
    """
    reason = reply.finish_reason.lower()
    # Some servers name no reason, or one of their own, for an answer that they cut.
    is_full = reply.usage is not None and output_tokens is not None and reply.usage.output_tokens >= output_tokens
    if reason in _CUT or (is_full and reason not in _NOT_CUT):
        return Verdict("truncated", retry=True, detail="the answer was cut at the limit of its tokens")
    if reason == "error":
        return Verdict("server_error", retry=True, detail="the server says that an error ended the answer")
    if reason == "content_filter":
        return Verdict("content_filter", detail="the provider's filter held the answer back")
    if reason == "malformed_reply":
        return Verdict("malformed_reply", retry=True, detail="the reply has no message")
    try:
        return Verdict("answered", form.read(reply.text, source))
    except Rejected as error:
        # The same prompt gives the same answer again, mostly: it was paid for, and is no label.
        return Verdict(error.reason, detail=str(error))


def close_answer(
    account: Account, reserve: str, item: Item, reply: Reply, verdict: Verdict, prices: TokenPrices, **fields: Any
) -> None:
    """Writes what a reply cost, with the label where it is one.

    Args:
      account: the books.
      reserve: the reserve's id.
      item: the item.
      reply: the reply.
      verdict: what it is worth.
      prices: dollars of a token.
      **fields: as `Account.settle` takes them.
    """
    fields |= {"item": item.key, "outcome": verdict.outcome, "finish_reason": reply.finish_reason}
    fields["answer"] = verdict.label if verdict.outcome == "answered" else reply.text
    if verdict.outcome != "answered" and not verdict.retry:
        fields |= {"is_final": True, "detail": verdict.detail}
    if reply.confidence is not None:
        fields["confidence"] = reply.confidence
    if reply.usage is None:
        account.leave_unconfirmed(reserve, fields.pop("reserved_usd", None), **fields)
    else:
        account.settle(reserve, reply.usage, prices, **fields)


def set_aside(account: Account, item: Item, verdict: Verdict, n_attempts: int) -> bool:
    """Sets an item aside that no further attempt helps, or that had all of its attempts.

    Args:
      account: the books.
      item: the item.
      verdict: on its last attempt.
      n_attempts: most attempts at an item.

    Returns:
      Whether it was set aside.
    """
    n_failures = account.n_failures[item.key]
    if verdict.retry and n_failures < n_attempts:
        return False
    told = {"reason": verdict.outcome, "detail": verdict.detail, "n_attempts": n_failures}
    account.note("set_aside", item=item.key, **told)
    return True


class Workers:
    """Labels items over several connections at once."""

    def __init__(
        self,
        endpoint: Endpoint,
        prompter: Prompter,
        account: Account,
        prices: TokenPrices,
        settings: Settings,
        on_answer: Callable[[Item], None],
    ):
        """Sets them up; nothing is sent.

        Args:
          endpoint: the model.
          prompter: makes the prompts.
          account: the books.
          prices: dollars of a token.
          settings: how requests are made.
          on_answer: called for each item that was labelled or set aside, from one thread at a time.
        """
        self._endpoint, self._prompter, self._account = endpoint, prompter, account
        self._prices, self._settings, self._on_answer = prices, settings, on_answer
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._not_before = 0.0
        self._in_a_row = 0
        self._has_replied = False
        self.cap: CapReached | None = None

    def run(self, items: Sequence[Item]) -> None:
        """Labels items until all are labelled or set aside, or the cap is reached (`cap` then says so).

        Args:
          items: what is left to do.

        Raises:
          EndpointError: the endpoint refuses everything, or too many items in a row were set aside.
        """
        waiting = iter(items)
        with ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="annotate") as pool:
            working = [pool.submit(self._work, waiting) for _ in range(min(self._settings.concurrency, len(items)))]
            try:
                for future in working:
                    future.result()
            finally:
                # What is under way is awaited, since it is paid for; nothing new is sent.
                self._halt()

    def _halt(self) -> None:
        self._stop.set()
        # Those who wait for room would wait for ever where a request can no longer be closed.
        self._account.stop()

    def _work(self, waiting: Iterator[Item]) -> None:
        try:
            while not self._stop.is_set():
                with self._lock:
                    item = next(waiting, None)
                if item is None:
                    return
                self._label(item)
        except CapReached as reached:
            self.cap = reached
            self._halt()
        except Stopped:
            return
        except BaseException:
            self._halt()
            raise

    def _label(self, item: Item) -> None:
        messages = self._prompter.messages(item.source)
        n_bytes = prompt_bytes(messages)
        while self._wait():
            output_tokens = self._settings.limit(self._account.n_truncated[item.key])
            worst_usd = self._prices.worst_usd(n_bytes, output_tokens)
            reserve = self._account.reserve(
                worst_usd, item=item.key, tier=STANDARD, input_tokens=n_bytes, output_tokens=output_tokens
            )
            try:
                verdict, wait_seconds = self._sent(reserve, item, messages, output_tokens)
            except BaseException as error:
                self._account.close_broken(reserve, error, item=item.key)
                raise
            if verdict.outcome == "answered":
                self._done(item, None)
                return
            if set_aside(self._account, item, verdict, self._settings.n_attempts):
                self._done(item, f"{verdict.outcome}: {verdict.detail}")
                return
            self._back_off(self._account.n_failures[item.key], wait_seconds, verdict.outcome == "rate_limited")

    def _sent(
        self, reserve: str, item: Item, messages: Sequence[Message], output_tokens: int
    ) -> tuple[Verdict, float | None]:
        """Sends a request and closes its reserve; returns the verdict, and how long the server asks to wait."""
        try:
            reply = self._endpoint.complete(messages, output_tokens)
        except Failure as failure:
            return self._failed(reserve, item, failure), failure.retry_after_seconds
        self._has_replied = True
        verdict = judge(reply, self._prompter.form, item.source, output_tokens)
        close_answer(self._account, reserve, item, reply, verdict, self._prices)
        return verdict, None

    def _failed(self, reserve: str, item: Item, failure: Failure) -> Verdict:
        if failure.outcome == FORBIDDEN and self._has_replied:
            # The key was let in before: this refusal is the item's own.
            failure = Failure("refused_request", failure.text, was_billed=failure.was_billed, retry=False)
        fields = {"item": item.key, "outcome": failure.outcome, "detail": failure.text}
        if not (failure.retry or failure.fatal):
            fields["is_final"] = True
        if failure.was_billed is False:
            self._account.release(reserve, **fields)
        else:
            self._account.leave_unconfirmed(reserve, **fields)
        if failure.fatal:
            raise EndpointError(f"stopped: {failure.text} Fix: mend that, and run the same command again.")
        return Verdict(failure.outcome, retry=failure.retry, detail=failure.text)

    def _back_off(self, n_failures: int, wait_seconds: float | None, for_all: bool) -> None:
        seconds = self._settings.wait_seconds(n_failures)
        # Spread, so that those who failed together don't come back together; never sooner than the server asked.
        seconds = max(seconds * random.uniform(0.5, 1.0), wait_seconds or 0.0)
        until = time.monotonic() + seconds
        if for_all:
            with self._lock:
                self._not_before = max(self._not_before, until)
        else:
            self._stop.wait(seconds)

    def _wait(self) -> bool:
        """Waits until requests may be sent; False once none may."""
        while not self._stop.is_set():
            with self._lock:
                seconds = self._not_before - time.monotonic()
            if seconds <= 0:
                return True
            self._stop.wait(seconds)
        return False

    def _done(self, item: Item, set_aside: str | None) -> None:
        with self._lock:
            self._in_a_row = self._in_a_row + 1 if set_aside else 0
            self._on_answer(item)
            in_a_row = self._in_a_row
        if in_a_row >= self._settings.most_in_a_row:
            raise EndpointError(
                f"stopped: {in_a_row} items in a row were set aside, the last for {set_aside}. Fix: mend that, and "
                "run it again: `doa annotate --retry-set-aside` asks for all of them, `doa run` for those not billed."
            )
