"""A local server that speaks the OpenAI protocol, fails on demand and bills tokens: what a labelling is rehearsed on.

Chat completions, files and batches, with an invoice of every token. `doa annotate --base-url http://127.0.0.1:PORT/v1`
is then the real command over real HTTP, with play money:

  python -m distill_or_annotate.annotators.rehearsal --answers gold.jsonl --port 8765 --fault rate_limited=0.1
"""

import argparse
import email.parser
import email.policy
import json
import pathlib
import sys
import threading
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from distill_or_annotate.annotators.rehearsal_model import FAULTS, Answer, RehearsalModel
from distill_or_annotate.annotators.token_prices import TokenPrices, token_prices

_STATUS = {"rate_limited": 429, "server_error": 500, "billed_error": 502, "refused": 400}
_STATUS |= {"moderated": 403, "forbidden": 403}


class RehearsalServer:
    """The server, in threads of this process; a context manager."""

    def __init__(
        self,
        model: RehearsalModel,
        *,
        port: int = 0,
        key: str = "",
        delay_seconds: float = 0.0,
        timeout_seconds: float = 3.0,
        retry_after: str = "0.05",
        batch_seconds: float = 0.2,
    ):
        """Binds the port; answers begin with the block.

        Args:
          model: what answers.
          port: 0 takes a free one.
          key: the key that is asked for; '' takes any.
          delay_seconds: before each answer.
          timeout_seconds: silence of the fault `timeout`, after which the connection is closed.
          retry_after: the header of a 429; '' for none.
          batch_seconds: how long a batch takes.
        """
        self.model, self.key = model, key
        self.delay_seconds, self.timeout_seconds = delay_seconds, timeout_seconds
        self.retry_after, self.batch_seconds = retry_after, batch_seconds
        self.lock = threading.Lock()
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.batch_faults: list[str] = []
        self.n_requests = self.n_now = self.most_at_once = 0
        handler = type("_BoundHandler", (_Handler,), {"rehearsal": self})
        self._server = _Server(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The address for --base-url."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> "RehearsalServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def make_batch(self, input_file: str, metadata: Mapping[str, str]) -> dict[str, Any]:
        """Takes a batch; its requests are answered when it is first asked for after `batch_seconds`.

        Args:
          input_file: id of the uploaded requests.
          metadata: as the client gave it.
        """
        with self.lock:
            batch = {"id": f"batch_{len(self.batches) + 1}", "object": "batch", "endpoint": "/v1/chat/completions"}
            batch |= {"input_file_id": input_file, "completion_window": "24h", "created_at": int(time.time())}
            batch |= {
                "status": "in_progress",
                "metadata": dict(metadata),
                "ready": time.monotonic() + self.batch_seconds,
            }
            self.batches[batch["id"]] = batch
            return batch

    def batch(self, batch_id: str) -> dict[str, Any] | None:
        """Returns a batch as it stands, finished if its time has come.

        Args:
          batch_id: its id.
        """
        with self.lock:
            batch = self.batches.get(batch_id)
            if batch and batch["status"] == "in_progress" and time.monotonic() >= batch["ready"]:
                self._finish(batch)
            return batch

    def _finish(self, batch: dict[str, Any]) -> None:
        done, failed = [], []
        for line in self.files[batch["input_file_id"]].decode().splitlines():
            request = json.loads(line)
            answer = self.model.answer(request["body"], "batch")
            head = {"id": f"line_{request['custom_id']}", "custom_id": request["custom_id"]}
            if answer.fault in ("", "truncated", "outside", "no_usage", "no_choices"):
                done.append({**head, "response": {"status_code": 200, "body": completion(request["body"], answer)}})
            elif answer.fault in ("malformed", "dropped_billed", "timeout"):
                done.append({**head, "response": {"status_code": 200, "body": "broken"}})
            else:
                status = _STATUS.get(answer.fault, 500)
                failed.append({**head, "response": {"status_code": status, "body": _error(answer.fault)}})
        batch |= {"status": "completed", "output_file_id": f"{batch['id']}_out", "error_file_id": None}
        self.files[batch["output_file_id"]] = "".join(json.dumps(line) + "\n" for line in done).encode()
        if failed:
            batch["error_file_id"] = f"{batch['id']}_errors"
            self.files[batch["error_file_id"]] = "".join(json.dumps(line) + "\n" for line in failed).encode()


def completion(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """Returns a chat completion.

    Args:
      body: the request.
      answer: the model's answer to it.
    """
    message = {"role": "assistant", "content": answer.text}
    choice = {"index": 0, "message": message, "finish_reason": "length" if answer.fault == "truncated" else "stop"}
    if body.get("logprobs"):
        choice["logprobs"] = {"content": [{"token": answer.text, "logprob": answer.logprob, "bytes": None}]}
    usage = {"prompt_tokens": answer.usage.input_tokens, "completion_tokens": answer.usage.output_tokens}
    usage["total_tokens"] = sum(usage.values())
    usage["prompt_tokens_details"] = {"cached_tokens": answer.usage.cached_input_tokens}
    data = {"id": "chatcmpl-rehearsal", "object": "chat.completion", "created": 0, "model": body["model"]}
    if answer.fault != "no_choices":
        data["choices"] = [choice]
    return data if answer.fault == "no_usage" else {**data, "usage": usage}


def _error(kind: str) -> dict[str, Any]:
    return {"error": {"message": f"rehearsed: {kind}", "type": kind, "code": kind}}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says what went wrong, unless the client was killed, which is what rehearsals are for."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    rehearsal: RehearsalServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a rehearsal has thousands of requests."""

    def do_POST(self) -> None:
        """Answers a completion, an upload or a new batch."""
        n_bytes = int(self.headers.get("Content-Length", 0))
        content = self.rfile.read(n_bytes)
        path = self.path.partition("?")[0]
        if len(content) < n_bytes or not self._is_allowed():
            return
        if path == "/v1/chat/completions":
            self._complete(json.loads(content))
        elif path == "/v1/files":
            name = f"file_{len(self.rehearsal.files) + 1}"
            self.rehearsal.files[name] = _uploaded(self.headers["Content-Type"], content)
            self._send(200, {"id": name, "object": "file", "bytes": len(content), "purpose": "batch"})
        elif path == "/v1/batches" and self.rehearsal.model.has_tier("batch"):
            asked = json.loads(content)
            fault = self.rehearsal.batch_faults.pop(0) if self.rehearsal.batch_faults else ""
            if fault in ("", "dropped_billed"):
                batch = _shown(self.rehearsal.make_batch(asked["input_file_id"], asked.get("metadata") or {}))
            if fault:
                self._send(_STATUS.get(fault, 502), _error(fault))
            else:
                self._send(200, batch)
        else:
            self._send(404, _error("not_found"))

    def do_GET(self) -> None:
        """Answers for a batch, the batches, or a file's content."""
        path = self.path.partition("?")[0].split("/")
        if not self._is_allowed():
            return
        if path[2:] == ["batches"]:
            batches = [_shown(batch) for batch in reversed(self.rehearsal.batches.values())]
            self._send(200, {"object": "list", "data": batches, "has_more": False})
        elif path[2:3] == ["batches"] and (batch := self.rehearsal.batch(path[3])):
            self._send(200, _shown(batch))
        elif path[2:3] == ["files"] and path[-1] == "content" and path[3] in self.rehearsal.files:
            self._send(200, self.rehearsal.files[path[3]])
        else:
            self._send(404, _error("not_found"))

    def _complete(self, body: Mapping[str, Any]) -> None:
        rehearsal = self.rehearsal
        with rehearsal.lock:
            rehearsal.n_requests += 1
            rehearsal.n_now += 1
            rehearsal.most_at_once = max(rehearsal.most_at_once, rehearsal.n_now)
        try:
            time.sleep(rehearsal.delay_seconds)
            answer = rehearsal.model.answer(body)
        finally:
            with rehearsal.lock:
                rehearsal.n_now -= 1
        if answer.fault in _STATUS:
            headers = {"Retry-After": rehearsal.retry_after} if answer.fault == "rate_limited" else {}
            self._send(_STATUS[answer.fault], _error(answer.fault), headers)
        elif answer.fault in ("dropped", "dropped_billed", "timeout"):
            if answer.fault == "timeout":
                time.sleep(rehearsal.timeout_seconds)
            self.close_connection = True
        elif answer.fault == "malformed":
            self._send(200, b'{"choices": [{"message": {"content": "cut he')
        else:
            self._send(200, completion(body, answer))

    def _is_allowed(self) -> bool:
        given = self.headers.get("Authorization", "")
        if given.startswith("Bearer ") and self.rehearsal.key in ("", given.removeprefix("Bearer ")):
            return True
        # Real servers quote the key they were given.
        self._send(401, {"error": {"message": f"Incorrect API key provided: {given}", "code": "invalid_api_key"}})
        return False

    def _send(self, status: int, body: bytes | dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _shown(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in batch.items() if name != "ready"}


def _uploaded(content_type: str, content: bytes) -> bytes:
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + content)
    for part in message.iter_parts():
        if part.get_param("name", header="content-disposition") == "file":
            return part.get_payload(decode=True)
    return b""


def rehearsal_prices(model: str = "rehearsal") -> dict[str, TokenPrices]:
    """Returns prices of play money: a dollar per million tokens in, a tenth of it cached, two out, half in batches.

    Args:
      model: the model's name.
    """
    standard = TokenPrices(model, "rehearsal", 1.0, 0.1, 2.0, False, (f"rehearsal:api/{model}",), "2026-11-21")
    batch = TokenPrices(model, "rehearsal", 0.5, 0.5, 1.0, True, (f"rehearsal:api/{model}/batch",), "2026-11-21")
    return {"standard": standard, "batch": batch}


def main(argv: list[str] | None = None) -> None:
    """Serves until Ctrl-C, then prints the invoice.

    Args:
      argv: arguments without the program's name; None takes those of the process.
    """
    from distill_or_annotate.preprocess.rows import read_rows
    from distill_or_annotate.prices import load_book

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--answers", type=pathlib.Path, required=True, help="JSON lines with source and target")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--model", default="gpt-6-luna", help="whose prices are billed")
    parser.add_argument("--price-book", default="current")
    parser.add_argument("--prices", default=None, help="a TOML file of price books")
    parser.add_argument("--wrong-share", type=float, default=0.0, help="items that get another item's answer")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=SHARE", help=", ".join(FAULTS))
    parser.add_argument("--delay-seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    book = load_book(args.price_book, args.prices)
    prices = {"standard": token_prices(book, args.model), "batch": token_prices(book, args.model, batch=True)}
    shares = {name: float(share) for name, _, share in (fault.partition("=") for fault in args.fault)}
    rows = read_rows(args.answers).rows
    answers = {row["source"]: row["target"] or "(none)" for row in rows}
    model = RehearsalModel(answers, prices, faults=shares, wrong_share=args.wrong_share, seed=args.seed)
    with RehearsalServer(model, port=args.port, delay_seconds=args.delay_seconds) as server:
        print(f"{len(answers)} answers at {server.url}; stop with Ctrl-C.", flush=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            print(f"Invoice: ${model.invoice_usd():.6f} for {len(model.invoice)} requests.")


if __name__ == "__main__":
    main()
