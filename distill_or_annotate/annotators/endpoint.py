"""An OpenAI-compatible endpoint: one attempt a call, and what each failure means for the bill.

The client's own retries are off, since every attempt has to be reserved first. The key comes from the environment,
stays in the client, and is cut out of every message.
"""

import dataclasses
import datetime
import email.utils
import json
import math
import os
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from distill_or_annotate.annotators.prompts import Message
from distill_or_annotate.annotators.token_prices import Usage

KEY_VARIABLE, URL_VARIABLE = "OPENAI_API_KEY", "OPENAI_BASE_URL"
TOKEN_LIMIT_FIELDS = ("max_completion_tokens", "max_tokens")
_LONGEST_WAIT_SECONDS = 600.0
_LONGEST_MESSAGE = 300
# The connection was never made, or the client refused to write the request: nothing was sent.
_NEVER_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol", "LocalProtocolError")
# A shorter key is a word that servers of one's own take, such as `any`: cut out of an answer it would leave a hole.
_SHORTEST_SECRET = 8
_FATAL = {401: "the key is refused", 402: "the account is not paid", 403: "access is refused", 404: "nothing is there"}
# The outcome of a request that the server forbids without a reason of the item's.
FORBIDDEN = "status_403"
# Some gateways refuse an item for what it says with the status of a refused key.
_MODERATED = re.compile(r"moderat|content[\s_-]*(?:polic|filter|management)", re.I)
# Halves of characters, which JSON can spell and no file can hold.
_SURROGATE = re.compile("[\ud800-\udfff]")
# Probabilities of 1 come with a little rounding.
_HIGHEST_LOGPROB = 1e-3


class EndpointError(ValueError):
    """An endpoint that cannot be used at all: no client, no key, a wrong address, access refused."""


class Failure(Exception):
    """One attempt that gave no answer.

    Args:
      outcome: `rate_limited`, `timeout`, `dropped`, `server_error`, `refused_request`, `malformed_reply` ...
      text: what happened, for people; without the key.
      was_billed: False where nothing was billed for certain, None where nobody knows.
      retry: whether another attempt may succeed.
      retry_after_seconds: how long the server asks to wait; None where it does not say.
      fatal: whether every other request would fail likewise.
    """

    def __init__(
        self,
        outcome: str,
        text: str,
        *,
        was_billed: bool | None,
        retry: bool = True,
        retry_after_seconds: float | None = None,
        fatal: bool = False,
    ):
        super().__init__(f"{outcome}: {text}")
        self.outcome, self.text, self.was_billed = outcome, text, was_billed
        self.retry, self.retry_after_seconds, self.fatal = retry, retry_after_seconds, fatal


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came back for a request.

    Attributes:
      text: the answer; '' where there is none.
      finish_reason: `stop`, `length`, `content_filter` ...; '' where the server does not say.
      usage: billed tokens; None where they cannot be read.
      confidence: probability of the answer, 0 to 1, from the log-probabilities of its tokens; None without them.
    """

    text: str
    finish_reason: str
    usage: Usage | None
    confidence: float | None


class Endpoint:
    """A model behind an OpenAI-compatible address."""

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        timeout_seconds: float = 60.0,
        token_limit_field: str = TOKEN_LIMIT_FIELDS[0],
        temperature: float | None = None,
        logprobs: bool = False,
    ):
        """Makes the client; nothing is sent.

        Args:
          model: the model's name at the endpoint.
          base_url: its address, such as http://localhost:8000/v1; None takes OPENAI_BASE_URL, or OpenAI's own.
          timeout_seconds: longest silence before an attempt counts as failed.
          token_limit_field: the field that limits the answer: max_completion_tokens, or max_tokens for older servers.
          temperature: None leaves it to the server; models that reason refuse any.
          logprobs: whether to ask for log-probabilities.

        Raises:
          EndpointError: no `openai` package, no key or one that cannot be sent, an address with a password in it, or a
            temperature that is none.
        """
        try:
            import openai
        except ImportError:
            raise EndpointError(
                "the package openai is missing. Fix: pip install 'distill-or-annotate[annotate]'"
            ) from None
        key = _key()
        if temperature is not None and not (isinstance(temperature, int | float) and 0 <= temperature < math.inf):
            raise EndpointError(
                f"--temperature: received {temperature!r}; it must be a finite number, at least 0. Fix: leave it out, "
                "and the server takes its own."
            )
        self.address = _address(base_url or os.environ.get(URL_VARIABLE) or "https://api.openai.com/v1")
        self.model, self.logprobs, self.temperature = model, logprobs, temperature
        self.token_limit_field = token_limit_field
        self._openai, self._spellings = openai, _spellings(key)
        self._secrets = self._spellings if len(key) >= _SHORTEST_SECRET else ()
        self.errors: type[Exception] = openai.OpenAIError
        self.client = openai.OpenAI(
            api_key=key,
            base_url=self.address,
            max_retries=0,
            timeout=timeout_seconds,
            http_client=_http_client(openai, self.address, timeout_seconds),
            _strict_response_validation=False,
        )

    def __repr__(self) -> str:
        return f"Endpoint({self.model!r} at {self.address})"

    def body(self, messages: Sequence[Message], output_tokens: int) -> dict[str, Any]:
        """Returns a request.

        Args:
          messages: the prompt.
          output_tokens: the most tokens that the answer may have.
        """
        body = {"model": self.model, "messages": list(messages), self.token_limit_field: output_tokens}
        if self.temperature is not None:
            body["temperature"] = self.temperature
        return body | ({"logprobs": True} if self.logprobs else {})

    def complete(self, messages: Sequence[Message], output_tokens: int) -> Reply:
        """Sends one request, once.

        Args:
          messages: the prompt.
          output_tokens: the most tokens that the answer may have.

        Raises:
          Failure: there is no answer.
        """
        try:
            raw = self.client.chat.completions.with_raw_response.create(**self.body(messages, output_tokens))
            return self.read(raw.content)
        except self.errors as error:
            raise self.failure(error) from None

    def read(self, content: bytes | str | Mapping[str, Any]) -> Reply:
        """Reads the body of a chat completion, and cuts the key out of it.

        Args:
          content: as it came, or parsed.

        Raises:
          Failure: it is no chat completion.
        """
        reply = read_reply(content)
        told = {name: _without(getattr(reply, name), self._secrets) for name in ("text", "finish_reason")}
        return dataclasses.replace(reply, **told)

    def failure(self, error: Exception) -> Failure:
        """Says what an error of the client means.

        Args:
          error: as the client raised it.
        """
        text = self.scrubbed(str(error))
        if isinstance(error, self._openai.APITimeoutError):
            return Failure("timeout", text, was_billed=False if _never_sent(error) else None)
        if isinstance(error, self._openai.APIConnectionError):
            return Failure("dropped", text, was_billed=False if _never_sent(error) else None)
        if not isinstance(error, self._openai.APIStatusError):
            return Failure("malformed_reply", text, was_billed=None)
        status = error.status_code
        if 300 <= status < 400:
            text = f"{self.address} sends on to another address{self._moved_to(error.response)}."
            return Failure(f"status_{status}", text, was_billed=False, retry=False, fatal=True)
        wait_seconds = retry_after_seconds(error.response.headers)
        if status == 429:
            is_broke = error.code == "insufficient_quota"
            return Failure(
                "rate_limited",
                text,
                was_billed=False,
                retry_after_seconds=wait_seconds,
                fatal=is_broke,
                retry=not is_broke,
            )
        if status >= 500 or status == 408:
            # A gateway may give up on a model that goes on, and bills.
            return Failure("server_error", text, was_billed=None, retry_after_seconds=wait_seconds)
        if status == 403 and _MODERATED.search(str(error)):
            return Failure("refused_request", text, was_billed=False, retry=False)
        if status in _FATAL:
            text = f"{_FATAL[status]} ({self.address}, model {self.model}): {text}"
            return Failure(f"status_{status}", text, was_billed=False, retry=False, fatal=True)
        return Failure("refused_request", text, was_billed=False, retry=status in (409, 425))

    def _moved_to(self, response: Any) -> str:
        """Where a redirect leads to, without a password, a query or the key; '' where it does not say."""
        try:
            parts = urllib.parse.urlsplit(response.headers.get("location", ""))
        except ValueError:
            return ""
        place = f"{parts.netloc.rpartition('@')[2]}{parts.path}"
        return self.scrubbed(f", {parts.scheme}://{place}" if parts.netloc else f", {place}") if place else ""

    def scrubbed(self, text: str) -> str:
        """Returns a message on one line without the key, as a file can hold it.

        Args:
          text: as a server or the client wrote it.
        """
        return " ".join(_whole(_without(text, self._spellings)).split())[:_LONGEST_MESSAGE]


def read_reply(content: bytes | str | Mapping[str, Any]) -> Reply:
    """Reads the body of a chat completion.

    Args:
      content: as it came, or parsed.

    Raises:
      Failure: it is no chat completion; it was billed, nobody knows how much.
    """
    try:
        data = content if isinstance(content, Mapping) else json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Failure("malformed_reply", f"the reply is not JSON ({error})", was_billed=None) from None
    usage = _usage(data.get("usage")) if isinstance(data, Mapping) else None
    try:
        choice = data["choices"][0]
        text, reason = choice["message"].get("content"), choice.get("finish_reason")
        confidence = _confidence(choice.get("logprobs"))
    except (KeyError, IndexError, TypeError, AttributeError):
        if usage is None:
            raise Failure("malformed_reply", "the reply has no choices[0].message", was_billed=None) from None
        return Reply("", "malformed_reply", usage, None)
    text, reason = (_whole(value) if isinstance(value, str) else "" for value in (text, reason))
    return Reply(text, reason, usage, confidence)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Returns how long a server asks to wait, at most ten minutes; None where it does not say.

    Args:
      headers: of its response; `retry-after-ms`, or `Retry-After` as seconds or as a date.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * scale
        except ValueError:
            try:
                then = email.utils.parsedate_to_datetime(value)
            except ValueError:
                continue
            then = then if then.tzinfo else then.replace(tzinfo=datetime.UTC)
            seconds = (then - datetime.datetime.now(datetime.UTC)).total_seconds()
        if math.isfinite(seconds):
            return min(max(0.0, seconds), _LONGEST_WAIT_SECONDS)
    return None


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, Mapping):
        return None
    details = value.get("prompt_tokens_details")
    cached = (details.get("cached_tokens") if isinstance(details, Mapping) else None) or 0
    sent, received, total = (value.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
    if not all(_is_count(count) for count in (sent, cached, received)):
        return None
    # Some servers count reasoning in the total alone, and bill it.
    return Usage(sent, min(cached, sent), max(received, total - sent) if _is_count(total) else received)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _confidence(logprobs: Any) -> float | None:
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not tokens:
        return None
    try:
        total = math.fsum(float(token["logprob"]) for token in tokens)
    except (KeyError, TypeError, ValueError, OverflowError):
        # The answer is paid for all the same.
        return None
    return math.exp(min(total, 0.0)) if math.isfinite(total) and total <= _HIGHEST_LOGPROB else None


def _http_client(openai: Any, address: str, timeout_seconds: float) -> Any:
    """The client's own, but for redirects: one reserve is one request, and what is sent is not sent on."""

    class Client(openai.DefaultHttpxClient):
        def send(self, request: Any, **options: Any) -> Any:
            # Reading costs nothing, and some servers keep the results of batches elsewhere.
            return super().send(request, **(options | {"follow_redirects": request.method == "GET"}))

    return Client(base_url=address, timeout=timeout_seconds, follow_redirects=False)


def _key() -> str:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise EndpointError(
            f"{KEY_VARIABLE} is not set. Fix: export {KEY_VARIABLE}=...; servers of one's own mostly take any."
        )
    if not (key.isascii() and key.isprintable()):
        raise EndpointError(
            f"{KEY_VARIABLE}: the key ({len(key)} characters) has a line end, another control character, or one beyond "
            f"ASCII, and no request can carry it. Fix: copy it again, on one line, and export {KEY_VARIABLE}=..."
        )
    return key


def _spellings(key: str) -> tuple[str, ...]:
    """A key as it stands in a text, and in a text that quotes JSON or Python."""
    return tuple(sorted({key, json.dumps(key)[1:-1], repr(key)[1:-1]}, key=len, reverse=True))


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _whole(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)


def _never_sent(error: BaseException | None) -> bool:
    while error is not None:
        if type(error).__name__ in _NEVER_SENT:
            return True
        error = error.__cause__
    return False


def _address(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise EndpointError(f"--base-url: received {url[:100]!r}. Fix: give it as http://HOST:PORT/v1.")
    if parts.username or parts.password or parts.query:
        raise EndpointError(
            f"--base-url: the address of {parts.hostname} holds a user, a password or a query, which would stand in "
            f"the ledger. Fix: put the key into {KEY_VARIABLE}."
        )
    return url.rstrip("/")
