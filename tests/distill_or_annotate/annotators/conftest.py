"""A pool of hand-made rows, and a local server over real HTTP that answers, fails and bills."""

import contextlib
import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from distill_or_annotate.annotators import forms, labelling, prompts
from distill_or_annotate.annotators.endpoint import KEY_VARIABLE, Endpoint
from distill_or_annotate.annotators.rehearsal import RehearsalServer, rehearsal_prices
from distill_or_annotate.annotators.rehearsal_model import RehearsalModel
from distill_or_annotate.annotators.workers import Settings

KEY = "sk-test-very-secret-0123456789"
VERBS, THINGS = ("Mix", "Spin", "Heat", "Cool", "Weigh"), ("buffer", "pellet", "lysate", "agar", "DNA", "ethanol")


def wlp_rows(n_rows):
    """Returns sentences with two entities each, all different."""
    made = ((f"{verb} the {thing} {i} times .", f"{verb} [Action] {thing} [Reagent]") for i, verb, thing in _words())
    return [{"source": source, "target": target} for source, target in itertools.islice(made, n_rows)]


def _words():
    for i in itertools.count(1):
        yield i, VERBS[i % len(VERBS)], THINGS[i % len(THINGS)]


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def prices():
    return rehearsal_prices()


@pytest.fixture
def rows():
    return wlp_rows(60)


@pytest.fixture
def prompter():
    return prompts.make_prompter(forms.of_task("wlp"), wlp_rows(100)[60:], n_shots=4, shot_pool=20, seed=5)


@pytest.fixture
def serve(prices):
    """A function that starts a server whose model answers with the targets of rows."""
    with contextlib.ExitStack() as stack:

        def start(rows, *, faults=None, seed=0, wrong_share=0.0, **server):
            answers = {row["source"]: row["target"] for row in rows}
            model = RehearsalModel(answers, prices, faults=faults, seed=seed, wrong_share=wrong_share)
            return stack.enter_context(RehearsalServer(model, **server))

        yield start


@pytest.fixture
def answering():
    """A function that starts a server which answers as a function says: headers -> status, body, headers.

    It returns the address and the list of the paths that were asked for.
    """
    with contextlib.ExitStack() as stack:

        def start(answer):
            asked = []

            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def log_message(self, *args):
                    pass

                def do_POST(self):
                    asked.append(self.path)
                    self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    status, body, headers = answer(self.headers)
                    data = json.dumps(body).encode()
                    self.send_response(status)
                    for name, value in {"Content-Type": "application/json", **headers}.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/v1", asked

        yield start


@pytest.fixture
def label(prompter, prices, tmp_path):
    """A function that labels rows at a server, quickly."""

    def run(server, rows, *, max_usd=10.0, tier="standard", out=None, endpoint=None, settings=None, **rest):
        endpoint = endpoint or Endpoint(
            "rehearsal", base_url=server.url, timeout_seconds=rest.pop("timeout_seconds", 20)
        )
        quick = {"backoff_seconds": 0.01, "poll_seconds": 0.02, "output_tokens": 64, "concurrency": 4}
        return labelling.label_pool(
            [row["source"] for row in rows],
            rest.pop("prompter", prompter),
            endpoint,
            prices[tier],
            out or tmp_path / "labels.jsonl",
            max_usd=max_usd,
            settings=Settings(**(quick | (settings or {}))),
            **rest,
        )

    return run
