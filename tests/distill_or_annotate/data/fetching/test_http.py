"""Downloads over real HTTP from a server in this process: resumed, verified, whole or not at all."""

import contextlib
import hashlib
import http.server
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distill_or_annotate import cli
from distill_or_annotate.data.fetching import http as fetch_http
from distill_or_annotate.data.fetching.catalogue import RemoteFile
from distill_or_annotate.data.fetching.http import FetchError, MismatchError, Patience
from distill_or_annotate.data.fetching.records import Records

BODY = bytes(range(256)) * 4000  # 1,024,000 bytes: several chunks
SHA256 = hashlib.sha256(BODY).hexdigest()
QUICK = Patience(timeout_seconds=2.0, attempts=3, first_wait_seconds=0.01)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.seen.append((self.path, dict(self.headers)))
        fault = server.faults.pop(0) if server.faults else None
        if isinstance(fault, int):
            return self._head(fault, {"Content-Length": "0"})
        if isinstance(fault, str):
            return self._head(302, {"Content-Length": "0", "Location": fault})
        versions = {"ETag": server.etag, "Last-Modified": server.modified}
        body, headers = server.body, {name: value for name, value in versions.items() if value}
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and server.resumes and self.headers.get("If-Range") in headers.values():
            start = int(asked[1])
            if start >= len(body):
                return self._head(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        if server.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif not server.silent_about_length:
            headers["Content-Length"] = str(len(body) - start)
        self._head(206 if start else 200, {"Content-Type": server.content_type, **headers})
        sent = body[start : start + fault[1]] if fault else body[start:]
        if server.chunked:
            sent = b"%x\r\n%s\r\n0\r\n\r\n" % (len(sent), sent)
        for at in range(0, len(sent), 50_000):
            time.sleep(server.pause_seconds)
            try:
                self.wfile.write(sent[at : at + 50_000])
            except OSError:
                break
        if fault or server.silent_about_length:
            self.close_connection = True

    def _head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args):
        pass


def _cut_after(n_bytes):
    return ("cut", n_bytes)


@contextlib.contextmanager
def _running():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as instance:
        instance.daemon_threads = True
        instance.body, instance.etag, instance.resumes, instance.faults, instance.seen = BODY, '"v1"', True, [], []
        instance.modified = None
        instance.chunked = instance.silent_about_length = False
        instance.pause_seconds, instance.content_type = 0.0, "application/octet-stream"
        instance.url = f"http://127.0.0.1:{instance.server_address[1]}/data.bin"
        threading.Thread(target=instance.serve_forever, args=(0.01,), daemon=True).start()
        yield instance
        instance.shutdown()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with _running() as instance:
        yield instance


def _file(server, **known):
    return RemoteFile(name="data.bin", url=server.url, what="test data", **known)


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _ranges(server):
    return [headers.get("Range") for _, headers in server.seen]


def test_a_whole_file_arrives_and_nothing_else_is_left(server, tmp_path):
    calls = []
    fetched = fetch_http.fetch(
        _file(server, size_bytes=len(BODY), sha256=SHA256), tmp_path, progress=lambda *at: calls.append(at)
    )
    assert fetched.path.read_bytes() == BODY and fetched.sha256 == SHA256 and not fetched.resumed
    assert _names(tmp_path) == ["data.bin"]
    assert calls[0] == (0, len(BODY)) and calls[-1] == (len(BODY), len(BODY)) and len(calls) > 3


def test_server_errors_are_tried_again_and_a_broken_transfer_goes_on_where_it_stopped(server, tmp_path):
    server.faults = [503, _cut_after(300_000), 500, _cut_after(200_000)]
    fetched = fetch_http.fetch(_file(server, sha256=SHA256), tmp_path, patience=QUICK)
    assert fetched.path.read_bytes() == BODY and fetched.resumed
    assert _ranges(server) == [None, None, "bytes=300000-", "bytes=300000-", "bytes=500000-"]
    assert server.seen[-1][1]["If-Range"] == '"v1"'


def test_progress_gives_new_attempts_but_a_standstill_ends(server, tmp_path):
    server.faults = [_cut_after(100_000)] * 8
    assert fetch_http.fetch(_file(server, sha256=SHA256), tmp_path, patience=QUICK).path.exists()
    (tmp_path / "data.bin").unlink()
    server.faults = [_cut_after(400_000), 503, 503, 503, 503]
    with pytest.raises(
        FetchError, match=r"answered 503, 3 times from .*400,000 bytes are kept; the same command goes on"
    ):
        fetch_http.fetch(_file(server, sha256=SHA256), tmp_path, patience=QUICK)
    assert _names(tmp_path) == ["data.bin.part", "data.bin.part.json"]
    server.faults = []
    assert fetch_http.fetch(_file(server, sha256=SHA256), tmp_path, patience=QUICK).resumed
    assert _names(tmp_path) == ["data.bin"]


def test_a_server_whose_file_changes_at_every_request_does_not_keep_us_for_ever(server, tmp_path):
    server.faults = [_cut_after(100_000)] * 50
    server.resumes = False  # each attempt starts at the beginning and breaks off at the same place
    with pytest.raises(FetchError, match="broke off after 100,000 of 1,024,000 bytes, 3 times"):
        fetch_http.fetch(_file(server), tmp_path, patience=QUICK)
    assert len(server.seen) == 3  # the first brought something, two more nothing new


def test_a_file_that_changed_since_the_part_arrived_is_taken_from_the_start(server, tmp_path):
    server.faults = [_cut_after(400_000), 503, 503, 503]
    with pytest.raises(FetchError):
        fetch_http.fetch(_file(server), tmp_path, patience=QUICK)
    server.body, server.etag, server.faults = BODY[::-1], '"v2"', []
    fetched = fetch_http.fetch(_file(server), tmp_path, patience=QUICK)
    assert fetched.path.read_bytes() == BODY[::-1] and not fetched.resumed
    assert _ranges(server)[-1] == "bytes=400000-"


_DAY = "Sat, 01 Jun 2024 00:00:00 GMT"


@pytest.mark.parametrize(("etag", "modified"), [(None, None), ('W/"v1"', None), ('W/"v1"', _DAY)])
def test_a_server_without_a_strong_version_is_asked_from_the_start(server, tmp_path, etag, modified):
    server.etag, server.modified, server.faults = etag, modified, [_cut_after(400_000)]
    assert fetch_http.fetch(_file(server), tmp_path, patience=QUICK).path.read_bytes() == BODY
    assert _ranges(server) == [None, None]


def test_the_day_of_the_last_change_serves_as_version_where_there_is_no_other(server, tmp_path):
    server.etag, server.modified, server.faults = None, _DAY, [_cut_after(400_000)]
    assert fetch_http.fetch(_file(server), tmp_path, patience=QUICK).path.read_bytes() == BODY
    assert _ranges(server) == [None, "bytes=400000-"] and server.seen[1][1]["If-Range"] == _DAY


def test_a_part_of_another_address_is_not_continued(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(b"x" * 1000)
    (tmp_path / "data.bin.part.json").write_text(json.dumps({"url": "http://elsewhere/", "version": '"v1"'}))
    assert fetch_http.fetch(_file(server), tmp_path).path.read_bytes() == BODY
    assert _ranges(server) == [None]


def test_a_damaged_part_is_noticed_by_the_hash_and_fetched_anew(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(b"x" * 1000)
    (tmp_path / "data.bin.part.json").write_text(json.dumps({"url": server.url, "version": '"v1"'}))
    assert fetch_http.fetch(_file(server, sha256=SHA256), tmp_path).path.read_bytes() == BODY
    assert _ranges(server) == ["bytes=1000-", None]


def test_a_part_that_was_complete_when_the_process_died_only_gets_its_name(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(BODY)
    (tmp_path / "data.bin.part.json").write_text(json.dumps({"url": server.url, "version": '"v1"'}))
    assert fetch_http.fetch(_file(server, sha256=SHA256), tmp_path).path.read_bytes() == BODY
    assert _names(tmp_path) == ["data.bin"] and _ranges(server) == ["bytes=1024000-"]


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({"sha256": "0" * 64}, f"SHA-256 is {SHA256}, expected 0000"),
        ({"md5": "0" * 32}, "MD5 is"),
        ({"size_bytes": len(BODY) + 1}, "size is 1024000 bytes, expected 1024001 bytes"),
        ({"size_bytes": 1000}, "sends more than 1,000 bytes"),
    ],
)
def test_a_file_that_is_another_is_not_kept(server, tmp_path, known, text):
    with pytest.raises(MismatchError, match=text):
        fetch_http.fetch(_file(server, **known), tmp_path, patience=QUICK)
    assert _names(tmp_path) == []


@pytest.mark.parametrize(("status", "text"), [(404, "has no such file"), (403, "refuses"), (418, "does not send it")])
def test_a_refusal_is_final_and_says_where_to_look(server, tmp_path, status, text):
    server.faults = [status]
    with pytest.raises(FetchError, match=rf"{text} \(HTTP {status}\). Fix: .*--list"):
        fetch_http.fetch(_file(server), tmp_path, patience=QUICK)
    assert len(server.seen) == 1 and _names(tmp_path) == []


def test_an_unknown_host_is_said_at_once_and_a_closed_port_after_the_attempts(tmp_path):
    nowhere = RemoteFile(name="x", url="http://host.invalid/x", what="")
    with pytest.raises(FetchError, match=r"cannot be found .*check the network; behind a proxy set https_proxy"):
        fetch_http.fetch(nowhere, tmp_path)
    closed = RemoteFile(name="x", url="http://127.0.0.1:1/x", what="")
    with pytest.raises(FetchError, match=r"no connection .*refused.*, 3 times"):
        fetch_http.fetch(closed, tmp_path, patience=QUICK)


def test_a_silent_server_is_given_up(server, tmp_path):
    server.pause_seconds = 5.0
    with pytest.raises(FetchError, match=r"TimeoutError.*, 1 times"):
        fetch_http.fetch(_file(server), tmp_path, patience=Patience(timeout_seconds=0.2, attempts=1))


def test_a_web_page_in_place_of_data_is_refused_where_no_hash_would_notice(server, tmp_path):
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(FetchError, match="answers with a web page"):
        fetch_http.fetch(_file(server), tmp_path)
    assert fetch_http.fetch(_file(server, sha256=SHA256), tmp_path).sha256 == SHA256


def test_chunked_files_are_read_to_their_end_and_files_without_any_end_are_refused(server, tmp_path):
    server.chunked, server.etag = True, None
    assert fetch_http.fetch(_file(server), tmp_path).path.read_bytes() == BODY
    server.chunked, server.silent_about_length = False, True
    with pytest.raises(FetchError, match="does not say where its file ends"):
        fetch_http.fetch(_file(server), tmp_path)
    assert fetch_http.fetch(_file(server, size_bytes=len(BODY)), tmp_path).path.read_bytes() == BODY


def test_redirections_stay_with_http(server, tmp_path):
    server.faults = [server.url.replace("data.bin", "../../etc/other-name")]
    assert fetch_http.fetch(_file(server), tmp_path).path == tmp_path / "data.bin"
    (tmp_path / "data.bin").unlink()
    for elsewhere in ("file:///etc/passwd", "ftp://127.0.0.1/x"):
        server.faults = [elsewhere]
        with pytest.raises(FetchError, match=re.escape(elsewhere)):
            fetch_http.fetch(_file(server), tmp_path, patience=QUICK)
        assert _names(tmp_path) == []


def test_a_proxy_is_taken_from_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/data.bin"))
    file = RemoteFile(name="data.bin", url="http://host.invalid/data.bin", what="", sha256=SHA256)
    assert fetch_http.fetch(file, tmp_path).sha256 == SHA256
    assert server.seen[0][0] == "http://host.invalid/data.bin"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(min_value=0, max_value=400_000), max_size=4))
def test_wherever_the_line_breaks_the_file_is_the_same(cuts):
    with _running() as server, tempfile.TemporaryDirectory() as folder:
        server.faults = [_cut_after(cut) for cut in cuts]
        patience = Patience(timeout_seconds=2.0, attempts=6, first_wait_seconds=0.0)
        assert fetch_http.fetch(_file(server), Path(folder), patience=patience).path.read_bytes() == BODY


# The command, with a catalogue of its own.


@pytest.fixture
def catalogue(server, tmp_path):
    def write(known="", more=""):
        path = tmp_path / "downloads.toml"
        path.write_text(
            '[wlp]\ntitle = "T"\ncitation = "https://example.org/paper"\nlicence = "L"\nnext = "doa data build wlp"\n'
            f'[[wlp.files]]\nname = "data.bin"\nurl = "{server.url}"\nwhat = "all of it"\n{known}\n{more}\n'
            '[[wlp.by_hand]]\nwhat = "the rest"\nhow = "Write to them."\nurl = "https://example.org"\n'
        )
        return ["data", "fetch", "wlp", "--catalogue", str(path), "--output", str(tmp_path / "out")]

    return write


def test_the_first_download_is_recorded_and_later_ones_are_held_to_it(server, catalogue, tmp_path, capsys):
    words = catalogue()
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert "1,024,000 bytes, no hash known; SHA-256 noted in fetched.json for later runs" in printed
    assert "By hand: the rest" in printed and "Next, in" in printed
    entry = json.loads((tmp_path / "out" / "fetched.json").read_text())["files"]["data.bin"]
    assert (entry["sha256"], entry["bytes"], entry["url"]) == (SHA256, len(BODY), server.url)
    assert cli.main(words) == 0 and len(server.seen) == 1
    assert "there already (as first downloaded)" in capsys.readouterr().out

    (tmp_path / "out" / "data.bin").unlink()
    server.body, server.etag = BODY[::-1], '"v2"'
    assert cli.main(words) == 1
    assert "SHA-256 is" in capsys.readouterr().err and not (tmp_path / "out" / "data.bin").exists()


def test_a_changed_file_in_the_folder_is_reported_and_left_alone(server, catalogue, tmp_path, capsys):
    words = catalogue()
    assert cli.main(words) == 0
    (tmp_path / "out" / "data.bin").write_bytes(b"edited")
    assert cli.main(words) == 1
    assert "is another file: size is 6 bytes" in capsys.readouterr().err
    assert (tmp_path / "out" / "data.bin").read_bytes() == b"edited"


def test_one_failure_does_not_keep_the_other_files_away(server, catalogue, tmp_path, capsys):
    more = f'[[wlp.files]]\nname = "more.bin"\nurl = "{server.url}"\nwhat = "more"\n'
    server.faults = [404]
    assert cli.main(catalogue(more=more)) == 1
    captured = capsys.readouterr()
    assert "data.bin: http://127.0.0.1" in captured.err and "HTTP 404" in captured.err and "Next" not in captured.out
    assert (tmp_path / "out" / "more.bin").read_bytes() == BODY


def test_a_mirror_is_asked_by_file_name_and_held_to_the_same_hash(server, catalogue, tmp_path, capsys):
    mirror = server.url.removesuffix("/data.bin") + "/mirror"
    assert cli.main([*catalogue(f'sha256 = "{SHA256}"'), "--base-url", mirror]) == 0
    assert server.seen[0][0] == "/mirror/data.bin"
    assert cli.main([*catalogue(), "--base-url", "file:///tmp"]) == 2
    assert "--base-url is 'file:///tmp'; an http:// or https://" in capsys.readouterr().err


def test_listing_fetches_nothing(server, catalogue, capsys):
    assert cli.main([*catalogue(f'md5 = "{"0" * 32}"'), "--list"]) == 0
    printed = capsys.readouterr().out
    assert "known beforehand: md5" in printed and "licence: L" in printed and server.seen == []
    assert cli.main(["data", "fetch", "--list"]) == 0
    assert "fever-train-kilt.jsonl  38.9 MB; known beforehand: size, sha256" in capsys.readouterr().out


def test_a_damaged_record_is_named(catalogue, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fetched.json").write_text("{")
    assert cli.main(catalogue()) == 2
    assert "fetched.json is damaged" in capsys.readouterr().err


def test_a_record_of_another_address_is_not_held_against_the_file(server, tmp_path):
    (tmp_path / "fetched.json").write_text(
        json.dumps({"files": {"data.bin": {"url": "https://old.example/", "bytes": 1, "sha256": "0" * 64}}})
    )
    assert Records(tmp_path).expected(_file(server)).sha256 is None


def test_a_killed_download_goes_on_where_it_was_killed(server, catalogue, tmp_path):
    words = [sys.executable, "-m", "distill_or_annotate", *catalogue(f'sha256 = "{SHA256}"')]
    environment = {**os.environ, "no_proxy": "127.0.0.1"}
    server.pause_seconds = 0.1
    process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
    part = tmp_path / "out" / "data.bin.part"
    deadline = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size >= 250_000):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert not (tmp_path / "out" / "data.bin").exists()
    server.pause_seconds = 0.0
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "resumed" in done.stdout, done.stderr
    assert (tmp_path / "out" / "data.bin").read_bytes() == BODY
    assert int(re.fullmatch(r"bytes=(\d+)-", _ranges(server)[-1])[1]) >= 250_000


def test_an_encrypted_address_is_not_followed_to_a_plain_one():
    request = urllib.request.Request("https://example.org/x")
    with pytest.raises(urllib.error.URLError, match="without encryption"):
        fetch_http._Redirects().redirect_request(request, None, 302, "", {}, "http://example.org/x")
