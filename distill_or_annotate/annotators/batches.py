"""Requests through the batch API: half the price, an answer within a day, and a batch that outlives this process.

A batch is reserved whole. Its requests are uploaded, which costs nothing; then the ledger says that the batch is about
to be made, and then its id. A process that was killed between those two finds its batch again by the token in the
batch's metadata. Each line of the result is closed by itself, so that a kill in the middle of them loses none.
"""

import dataclasses
import io
import json
import time
import uuid
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from distill_or_annotate.annotators.accounts import BATCH, Account, AccountError
from distill_or_annotate.annotators.endpoint import Endpoint, EndpointError, Failure
from distill_or_annotate.annotators.items import Item
from distill_or_annotate.annotators.prompts import Prompter, prompt_bytes
from distill_or_annotate.annotators.token_prices import TokenPrices
from distill_or_annotate.annotators.workers import Settings, Verdict, close_answer, judge, set_aside
from distill_or_annotate.ledger import CapReached
from distill_or_annotate.ledger.journal import Row

_TOKEN = "doa_batch"
_ENDED = ("completed", "failed", "expired", "cancelled")
_MOST_BYTES = 100_000_000
_UPLOAD_SECONDS = 600.0
# Pages of a hundred batches that are searched for a lost one.
_MOST_PAGES = 20
# What a line without a status says of a request that was never run.
_NEVER_RUN = ("batch_expired", "batch_cancelled")


class Batches:
    """Labels items in batches, one after the other."""

    def __init__(
        self,
        endpoint: Endpoint,
        prompter: Prompter,
        account: Account,
        prices: TokenPrices,
        settings: Settings,
        on_answer: Callable[[Item], None],
    ):
        """Sets them up; arguments as in `Workers`."""
        self._endpoint, self._prompter, self._account = endpoint, prompter, account
        self._prices, self._settings, self._on_answer = prices, settings, on_answer
        self.cap: CapReached | None = None

    def run(self, items: Sequence[Item]) -> None:
        """Labels items until all are labelled or set aside, or the cap is reached (`cap` then says so).

        Args:
          items: what is left to do.

        Raises:
          EndpointError: the endpoint refuses batches, or too many items in a row were set aside.
        """
        todo, n_in_vain = list(items), 0
        while todo:
            try:
                chunk, reserve = self._reserve(todo)
            except CapReached as reached:
                self.cap = reached
                return
            over = self._finish(self._send(reserve, chunk), {item.key: item for item in chunk})
            n_in_vain = 0 if over & self._account.answers.keys() else n_in_vain + 1
            if n_in_vain >= self._settings.n_attempts:
                raise EndpointError(f"stopped: {n_in_vain} batches in a row gave no label. See the ledger for reasons.")
            todo = [item for item in todo if item.key not in over]
            if n_failures := [self._account.n_failures[item.key] for item in chunk if item.key not in over]:
                time.sleep(self._settings.wait_seconds(max(n_in_vain, *n_failures)))

    def collect(self, pool: Sequence[Item]) -> set[str]:
        """Finishes the batch that an earlier process left open, if there is one.

        Args:
          pool: all items.

        Returns:
          Keys of the items that are labelled or set aside now.

        Raises:
          AccountError: the batch holds items that are not in the pool.
        """
        over: set[str] = set()
        known = {item.key: item for item in pool}
        for row in [row for row in self._account.open_reserves() if row["tier"] == BATCH]:
            if missing := row["item_usd"].keys() - known.keys():
                raise AccountError(
                    f"an open batch holds {len(missing)} items that the pool lacks. Fix: give the pool it was made "
                    "from; the batch is finished first."
                )
            chunk = {key: known[key] for key in row["item_usd"]}
            if reserve := self._sent_before(row):
                over |= self._finish(reserve, chunk)
        return over

    def _reserve(self, items: Sequence[Item]) -> tuple[list[Item], Row]:
        """Reserves for as many items as fit the cap, the file and the batch size; at least for one."""
        chunk, item_usd, total_usd, n_bytes = [], {}, 0.0, 0
        left_usd = self._account.left_usd()
        for item in items[: self._settings.batch_size]:
            sent = prompt_bytes(self._prompter.messages(item.source))
            usd = self._prices.worst_usd(sent, self._settings.limit(self._account.n_truncated[item.key]))
            n_bytes += sent
            if chunk and (total_usd + usd > left_usd or n_bytes > _MOST_BYTES):
                break
            chunk.append(item)
            item_usd[item.key] = usd
            total_usd += usd
        fields = {"item_usd": item_usd, "prices": dataclasses.asdict(self._prices), "token": uuid.uuid4().hex}
        fields["output_tokens"] = self._settings.output_tokens  # of an item of which no answer was cut yet
        entry_id = self._account.reserve(sum(item_usd.values()), tier=BATCH, **fields)
        return chunk, {"entry_id": entry_id, **fields}

    def _send(self, row: Row, chunk: Sequence[Item]) -> Row | None:
        lines = "".join(json.dumps(self._request(item), ensure_ascii=False) + "\n" for item in chunk)
        try:
            file = self._asked(
                lambda client: client.files.with_raw_response.create(
                    file=("requests.jsonl", io.BytesIO(lines.encode())), purpose="batch", timeout=_UPLOAD_SECONDS
                )
            )
        except (Failure, EndpointError):
            self._account.release(row["entry_id"], outcome="not sent")
            raise
        self._account.note("batch_asked", reserve=row["entry_id"], file_id=file["id"])
        try:
            batch = self._asked(lambda client: self._made(client, file["id"], row["token"]), unless_unknown=True)
        except EndpointError:
            self._account.release(row["entry_id"], outcome="refused")
            raise
        except Failure:
            # Nobody knows whether it was made; making it again could pay twice.
            return self._sent_before(row, asked=True)
        self._account.note("batch", reserve=row["entry_id"], batch_id=batch["id"])
        return {**row, "batch_id": batch["id"]}

    def _made(self, client: Any, file_id: str, token: str) -> Any:
        return client.batches.with_raw_response.create(
            input_file_id=file_id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata={_TOKEN: token},
        )

    def _request(self, item: Item) -> dict[str, Any]:
        limit = self._settings.limit(self._account.n_truncated[item.key])
        body = self._endpoint.body(self._prompter.messages(item.source), limit)
        return {"custom_id": item.key, "method": "POST", "url": "/v1/chat/completions", "body": body}

    def _sent_before(self, row: Row, asked: bool = False) -> Row | None:
        """Returns a reserve with the id of its batch; None, with the reserve closed, where no batch is found."""
        notes = [note for note in self._account.rows if note.get("reserve") == row["entry_id"]]
        found = next((note["batch_id"] for note in notes if note["status"] == "batch"), None)
        if found is None and not (asked or any(note["status"] == "batch_asked" for note in notes)):
            self._account.release(row["entry_id"], outcome="not sent")
            return None
        if found is None:
            found = self._search(row["token"])
            if found is None:
                self._account.leave_unconfirmed(row["entry_id"], outcome="batch lost")
                return None
            self._account.note("batch", reserve=row["entry_id"], batch_id=found)
        return {**row, "batch_id": found}

    def _search(self, token: str) -> str | None:
        after: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            query = {"limit": 100, **after}
            page = self._asked(lambda client, query=query: client.batches.with_raw_response.list(**query))
            for batch in page["data"]:
                if (batch.get("metadata") or {}).get(_TOKEN) == token:
                    return batch["id"]
            if not page.get("has_more") or not page["data"]:
                return None
            after = {"after": page["data"][-1]["id"]}
        return None

    def _finish(self, row: Row | None, chunk: Mapping[str, Item]) -> set[str]:
        """Waits for a batch and closes each of its items; returns those that are labelled or set aside."""
        if row is None:
            return set()
        batch = self._awaited(row["batch_id"])
        prices = TokenPrices(**{**row["prices"], "price_entries": tuple(row["prices"]["price_entries"])})
        closed = {known["entry_id"] for known in self._account.rows if "entry_id" in known}
        over = {key for key in chunk if key in self._account.answers}
        seen = {key for key in chunk if f"{row['entry_id']}:{key}" in closed}
        lines, n_broken = self._lines(batch)
        for line in lines:
            item = chunk.get(str(line.get("custom_id")))
            if item is None or item.key in seen:
                continue
            seen.add(item.key)
            verdict = self._close(row, item, line, prices)
            is_answered = verdict.outcome == "answered"
            if is_answered or set_aside(self._account, item, verdict, self._settings.n_attempts):
                over.add(item.key)
                self._on_answer(item)
        self._close_missing(row, chunk.keys() - seen, batch, n_broken)
        if batch["status"] == "failed":
            errors = (batch.get("errors") or {}).get("data") or [{}]
            raise EndpointError(f"stopped: the batch failed: {self._endpoint.scrubbed(str(errors[0].get('message')))}")
        return over

    def _close_missing(self, row: Row, keys: Set[str], batch: Mapping[str, Any], n_broken: int) -> None:
        # Requests of a batch that expired were not run. One that has no line all the same may have been billed.
        if n_broken or batch["status"] == "completed":
            for key in sorted(keys):
                usd = row["item_usd"][key]
                fields = {"part": key, "item": key, "reserved_usd": usd, "outcome": "no line"}
                self._account.leave_unconfirmed(row["entry_id"], usd, **fields)
        self._account.release(row["entry_id"], outcome=f"batch {batch['status']}", batch_id=batch["id"])

    def _close(self, row: Row, item: Item, line: Mapping[str, Any], prices: TokenPrices) -> Verdict:
        response = line.get("response") or {}
        fields = {"part": item.key, "reserved_usd": row["item_usd"][item.key]}
        status = response.get("status_code")
        status = status if isinstance(status, int) else None
        if status != 200:
            error = line.get("error") or response.get("body")
            told = {"outcome": f"status_{status}", "detail": self._endpoint.scrubbed(json.dumps(error))}
            retry = status is None or status in (408, 409, 429) or status >= 500
            if not retry:
                fields["is_final"] = True
            if _may_be_billed(status, line.get("error")):
                usd = fields["reserved_usd"]
                self._account.leave_unconfirmed(row["entry_id"], usd, item=item.key, **fields, **told)
            else:
                self._account.release(row["entry_id"], item=item.key, **fields, **told)
            return Verdict(retry=retry, **told)
        try:
            reply = self._endpoint.read(response.get("body") or "")
        except Failure as failure:
            told = {"outcome": failure.outcome, "detail": failure.text}
            usd = fields["reserved_usd"]
            self._account.leave_unconfirmed(row["entry_id"], usd, item=item.key, **fields, **told)
            return Verdict(retry=True, **told)
        verdict = judge(reply, self._prompter.form, item.source, self._limit(row, item))
        close_answer(self._account, row["entry_id"], item, reply, verdict, prices, **fields)
        return verdict

    def _limit(self, row: Row, item: Item) -> int | None:
        """The most tokens of an answer, as the batch was made; None where its reserve does not say."""
        if "output_tokens" not in row:
            return None
        settings = dataclasses.replace(self._settings, output_tokens=row["output_tokens"])
        return settings.limit(self._account.n_truncated[item.key])

    def _awaited(self, batch_id: str) -> dict[str, Any]:
        while True:
            batch = self._asked(lambda client: client.batches.with_raw_response.retrieve(batch_id))
            if batch.get("status") in _ENDED:
                return batch
            time.sleep(self._settings.poll_seconds)

    def _lines(self, batch: Mapping[str, Any]) -> tuple[list[dict[str, Any]], int]:
        """Returns the lines of a batch's results, and how many others nobody can read."""
        lines, n_broken = [], 0
        for name in ("output_file_id", "error_file_id"):
            if not batch.get(name):
                continue
            file_id = batch[name]
            text = self._asked(
                lambda client, file_id=file_id: client.files.with_raw_response.content(file_id), raw=True
            )
            for line in text.decode("utf-8", "replace").split("\n"):
                try:
                    value = json.loads(line) if line.strip() else {}
                except ValueError:
                    value = None
                n_broken += not isinstance(value, dict)
                lines += [value] if value and isinstance(value, dict) else []
        return lines, n_broken

    def _asked(self, call: Callable[[Any], Any], raw: bool = False, unless_unknown: bool = False) -> Any:
        """Asks again and again; what must not be done twice raises its Failure where it may have been done."""
        for attempt in range(self._settings.n_attempts):
            try:
                return self._once(call, raw)
            except Failure as failure:
                if unless_unknown and failure.was_billed is None:
                    raise
                if failure.fatal or not failure.retry or attempt + 1 == self._settings.n_attempts:
                    raise EndpointError(f"stopped: {failure.text} Fix: mend that; the same command goes on.") from None
                time.sleep(max(self._settings.backoff_seconds * 2**attempt, failure.retry_after_seconds or 0.0))
        raise AssertionError("unreachable")

    def _once(self, call: Callable[[Any], Any], raw: bool = False) -> Any:
        try:
            content = call(self._endpoint.client).content
        except self._endpoint.errors as error:
            raise self._endpoint.failure(error) from None
        if raw:
            return content
        try:
            value = json.loads(content)
        except ValueError:
            value = None
        if not isinstance(value, dict) or not {"id", "data"} & value.keys():
            raise Failure("malformed_reply", "no JSON object with an id", was_billed=None)
        return value


def _may_be_billed(status: int | None, error: Any) -> bool:
    """Returns whether a line without an answer may be billed, as `Endpoint.failure` has it for single requests."""
    if status is None:
        return not (isinstance(error, Mapping) and error.get("code") in _NEVER_RUN)
    return status >= 500 or status == 408
