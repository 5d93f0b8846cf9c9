"""Headless Chromium, driven over its debugging pipe: real keys on real sliders, and all that its console says."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
import warnings

import pytest

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
MISSING = "NO BROWSER: the plan's page was not loaded in Chromium. Install it with launch/install_browser.sh (Debian)."
_WAIT_SECONDS = 60.0
# Chromium reads commands from file descriptor 3 and answers on 4.
_START = 'exec "$0" "$@" 3<&"$COMMANDS" 4>&"$ANSWERS"'


class Browser:
    """One page in headless Chromium."""

    def __init__(self, profile):
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        words = ["bash", "-c", _START, BROWSER, "--headless", "--no-sandbox", "--disable-gpu"]
        words += ["--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"]
        words += [f"--user-data-dir={profile}", "about:blank"]
        places = {"COMMANDS": str(commands), "ANSWERS": str(answers)}
        with open(profile / "stderr.txt", "wb") as log:
            self._process = subprocess.Popen(
                words, pass_fds=(commands, answers), env=os.environ | places, stderr=log, stdout=log
            )
        os.close(commands)
        os.close(answers)
        self._buffer, self._count, self._session, self.events = b"", 0, {}, []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method, **params):
        """Returns the answer to a command; events that arrive before it are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params} | self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._count:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def _read(self):
        until = time.monotonic() + _WAIT_SECONDS
        while b"\0" not in self._buffer:
            assert select.select([self._answers], [], [], max(0.0, until - time.monotonic()))[0], "no answer"
            found = os.read(self._answers, 1 << 20)
            assert found, "Chromium has gone"
            self._buffer += found
        first, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(first)

    def open(self, address, width=1280, height=900, dark=False, before=""):
        """Loads a page of its own; `before` is a script that runs ahead of those of the page."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=scheme)
        script = self.send("Page.addScriptToEvaluateOnNewDocument", source=before)["identifier"]
        # An address that differs in its fragment alone would not load anew.
        self.send("Page.navigate", url="about:blank")
        self.events.clear()
        self.send("Page.navigate", url=address)
        while not self._has_loaded(address):
            self.events.append(self._read())
        self.send("Page.removeScriptToEvaluateOnNewDocument", identifier=script)

    def _has_loaded(self, address):
        """Whether the page's own load event has come, after those of the page before it."""
        seen = [event.get("method") if event.get("method") != "Page.frameNavigated" else
                event["params"]["frame"]["url"] for event in self.events]  # fmt: skip
        url = address.partition("#")[0]
        return url in seen and "Page.loadEventFired" in seen[seen.index(url) :]

    def evaluate(self, expression):
        """Returns what JavaScript gives; a promise is waited for."""
        found = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key):
        """Presses a key on what has the focus."""
        for kind in ("keyDown", "keyUp"):
            code = {"ArrowRight": 39, "ArrowLeft": 37, "Home": 36, "End": 35, "Tab": 9}[key]
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def complaints(self):
        """Returns errors and warnings of the console, and requests beside the page's own."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        said = [event for event in self.events if event.get("method") in kinds]
        asked = [event["params"]["request"]["url"] for event in self.events
                 if event.get("method") == "Network.requestWillBeSent"]  # fmt: skip
        return said, [url for url in asked if not url.startswith(("file:", "data:"))]

    def picture(self, path):
        """Writes what a reader sees."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def close(self):
        """Ends the browser."""
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._commands)
        os.close(self._answers)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser; without Chromium the test is skipped, or fails with DOA_NEEDS_BROWSER=1."""
    if BROWSER is None:
        warnings.warn(MISSING, stacklevel=1)
        if os.environ.get("DOA_NEEDS_BROWSER"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()
