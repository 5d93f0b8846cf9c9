"""One file over HTTP: resumed where it stopped, put in place only when whole.

What has arrived stands in `NAME.part`, and what it is a part of in `NAME.part.json`. A resumed request carries
`If-Range`, so that a server whose file has changed sends it whole; one that names no version is asked from the start.
"""

from __future__ import annotations

import dataclasses
import email.message
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from distill_or_annotate import __version__
from distill_or_annotate.data.fetching.catalogue import CatalogueError, RemoteFile, check_url

_CHUNK_BYTES = 1 << 18
# A server that sends without end must not fill the disk; the largest file of the catalogue has a twentieth of this.
_LIMIT_BYTES = 4 << 30
_WORTH_A_RETRY = frozenset({408, 425, 429, 500, 502, 503, 504})

Progress = Callable[[int, int | None], None]


class FetchError(OSError):
    """A file could not be fetched; the message says what to do."""


class MismatchError(FetchError):
    """What arrived is not the file that was expected; nothing of it is kept."""


class _Transient(Exception):
    """The same request may succeed later."""


@dataclasses.dataclass(frozen=True)
class Fetched:
    """A file that is in place.

    Attributes:
      path: where it stands.
      size_bytes: its size.
      sha256: its SHA-256.
      url: where it came from.
      resumed: whether a part of it came from an earlier attempt.
    """

    path: Path
    size_bytes: int
    sha256: str
    url: str
    resumed: bool


@dataclasses.dataclass(frozen=True)
class Patience:
    """How long to try.

    Attributes:
      timeout_seconds: longest silence of a server, above 0.
      attempts: attempts in a row that bring nothing new, at least 1.
      first_wait_seconds: wait before the second attempt; doubled for each further one.
    """

    timeout_seconds: float = 30.0
    attempts: int = 5
    first_wait_seconds: float = 1.0


_DEFAULT_PATIENCE = Patience()


def fetch(
    file: RemoteFile,
    folder: Path,
    url: str | None = None,
    progress: Progress = lambda done, total: None,
    patience: Patience = _DEFAULT_PATIENCE,
) -> Fetched:
    """Downloads one file into a folder.

    Args:
      file: what to fetch, with what is known of its size and hash.
      folder: an existing folder; the caller holds its lock.
      url: address to take in place of the file's own (a mirror).
      progress: called with the bytes at hand and the total, None where the server does not say.
      patience: timeouts and attempts.

    Returns:
      The file, in place.

    Raises:
      MismatchError: size or hash differ from what is known; nothing is kept.
      FetchError: unreachable, refused, gone, or still failing after all attempts; the part that arrived is kept.
    """
    transfer = _Transfer(file, folder, url or file.url, progress, patience)
    has_earlier_part = transfer.bytes_at_hand() > 0
    transfer.complete()
    try:
        return transfer.put_in_place()
    except MismatchError:
        if not (has_earlier_part and transfer.resumed):
            raise
    # The earlier part may have been what was damaged: once more, from the start.
    transfer = _Transfer(file, folder, url or file.url, progress, patience)
    transfer.complete()
    return transfer.put_in_place()


def digests(path: Path) -> tuple[int, str, str]:
    """Size, SHA-256 and MD5 of a file.

    Args:
      path: the file.

    Returns:
      Bytes, and two hexadecimal digests.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            sha256.update(chunk)
            md5.update(chunk)
    return path.stat().st_size, sha256.hexdigest(), md5.hexdigest()


def differences(file: RemoteFile, size_bytes: int, sha256: str, md5: str) -> list[str]:
    """What of a file differs from what is known of it.

    Args:
      file: what is known.
      size_bytes: size at hand.
      sha256: SHA-256 at hand.
      md5: MD5 at hand.

    Returns:
      One phrase for each difference; empty when all that is known agrees.
    """
    pairs = (
        ("size", file.size_bytes, size_bytes, " bytes"),
        ("SHA-256", file.sha256, sha256, ""),
        ("MD5", file.md5, md5, ""),
    )
    return [
        f"{name} is {received}{unit}, expected {expected}{unit}"
        for name, expected, received, unit in pairs
        if expected is not None and expected != received
    ]


class _Transfer:
    def __init__(self, file: RemoteFile, folder: Path, url: str, progress: Progress, patience: Patience):
        self.file, self.url = file, url
        self.part = folder / f"{file.name}.part"
        self.about = folder / f"{file.name}.part.json"
        self.target = folder / file.name
        self.progress, self.patience = progress, patience
        self.resumed = False
        # Proxies come from the environment (https_proxy, no_proxy), as urllib reads it.
        self.opener = urllib.request.build_opener(_Redirects())

    def bytes_at_hand(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def complete(self) -> None:
        """Attempts until all has arrived or patience is at its end."""
        high_water, failures = self.bytes_at_hand(), 0
        while True:
            try:
                return self._attempt()
            except _Transient as error:
                # Attempts count only while they bring nothing new, so a shaky line can carry a large file.
                failures = 1 if self.bytes_at_hand() > high_water else failures + 1
                high_water = max(high_water, self.bytes_at_hand())
                if failures >= self.patience.attempts:
                    at_hand = self.bytes_at_hand()
                    kept = f" {at_hand:,} bytes are kept; the same command goes on from there." if at_hand else ""
                    raise FetchError(f"{self.file.name}: {error}, {failures} times from {self.url}.{kept}") from error
                time.sleep(self.patience.first_wait_seconds * 2 ** (failures - 1))

    def _attempt(self) -> None:
        """Asks for what is missing, and writes it; returns when the server says that it was all."""
        headers = {"User-Agent": f"distill-or-annotate/{__version__}", "Accept-Encoding": "identity"}
        version = self._version_of_part()
        if version:
            headers |= {"Range": f"bytes={self.bytes_at_hand()}-", "If-Range": version}
        try:
            with self.opener.open(
                urllib.request.Request(self.url, headers=headers), timeout=self.patience.timeout_seconds
            ) as response:
                self._receive(response)
        except urllib.error.HTTPError as error:
            error.close()
            self._refused(error.code, error.headers)
        except urllib.error.URLError as error:
            self._unreachable(error.reason)
        except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise _Transient(f"the transfer broke off ({type(error).__name__})") from error

    def put_in_place(self) -> Fetched:
        """Compares with what is known, then gives the file its name."""
        size_bytes, sha256, md5 = digests(self.part)
        problems = differences(self.file, size_bytes, sha256, md5)
        if problems:
            self._discard()
            raise MismatchError(
                f"{self.file.name} from {self.url}: {'; '.join(problems)}. Nothing of it was kept. Fix: try again; "
                "if it stays so, the file was changed or the mirror has another: compare with the data set's own page."
            )
        os.replace(self.part, self.target)
        self.about.unlink(missing_ok=True)
        return Fetched(self.target, size_bytes, sha256, self.url, self.resumed)

    def _receive(self, response: http.client.HTTPResponse) -> None:
        start = self.bytes_at_hand() if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        if response.status == 206:
            first, total = _content_range(response.headers.get("Content-Range", ""), total)
            if first != start:
                self._discard()
                raise _Transient(f"the server sent bytes from {first} where {start} was asked for")
        elif total is None and not response.chunked and self.file.size_bytes is None:
            raise FetchError(
                f"{self.file.name}: {self.url} does not say where its file ends. Fix: download it by hand."
            )
        if response.headers.get_content_type() == "text/html" and not (self.file.sha256 or self.file.md5):
            self._discard()
            raise FetchError(
                f"{self.file.name}: {self.url} answers with a web page (a login, a notice?). Fix: open it in a browser."
            )
        self.resumed = start > 0
        self._check_room(total)
        self._note(response.headers, total)
        ceiling = self.file.size_bytes or total or _LIMIT_BYTES
        done = start
        with self.part.open("r+b" if start else "wb") as handle:
            handle.seek(start)
            self.progress(done, total)
            while chunk := response.read(_CHUNK_BYTES):
                done += len(chunk)
                if done > ceiling:
                    handle.close()
                    self._discard()
                    raise MismatchError(
                        f"{self.file.name}: {self.url} sends more than {ceiling:,} bytes. Nothing was kept."
                    )
                handle.write(chunk)
                self.progress(done, total)
            handle.flush()
            os.fsync(handle.fileno())
        if total is not None and done < total:
            raise _Transient(f"the transfer broke off after {done:,} of {total:,} bytes")

    def _refused(self, status: int, headers: email.message.Message) -> None:
        if status == 416 and self.bytes_at_hand():
            _, total = _content_range(headers.get("Content-Range", ""), None)
            if total == self.bytes_at_hand():
                return  # all of it had arrived; the name was still to come
            self._discard()
            raise _Transient("the server's file is shorter than the part at hand")
        if status in _WORTH_A_RETRY:
            raise _Transient(f"the server answered {status}")
        if 300 <= status < 400:
            raise FetchError(f"{self.file.name}: {self.url} points on to {headers.get('Location')!r}; not followed.")
        meaning = {401: "asks for a login", 403: "refuses", 404: "has no such file", 410: "has it no longer"}
        raise FetchError(
            f"{self.file.name}: {self.url} {meaning.get(status, 'does not send it')} (HTTP {status}). Fix: see the "
            "data set's page (doa data fetch TASK --list), or give a mirror with --base-url."
        )

    def _unreachable(self, reason: object) -> None:
        if isinstance(reason, CatalogueError):
            raise FetchError(f"{self.file.name}: {reason}") from reason
        if isinstance(reason, socket.gaierror):
            raise FetchError(
                f"{self.file.name}: the host of {self.url} cannot be found ({reason.strerror}). Fix: check the "
                "network; behind a proxy set https_proxy; or give a mirror that is in reach with --base-url."
            ) from reason
        if isinstance(reason, OSError) and not hasattr(reason, "verify_code"):
            raise _Transient(f"no connection ({reason.strerror or reason})")
        raise FetchError(f"{self.file.name}: no connection to {self.url} ({reason}).")

    def _version_of_part(self) -> str | None:
        """The validator under which the part was received; None when there is no part or it cannot be trusted."""
        if not self.bytes_at_hand():
            return None
        try:
            about = json.loads(self.about.read_text(encoding="utf-8"))
            version = about["version"] if about["url"] == self.url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return version if isinstance(version, str) and re.fullmatch(r"[\x20-\x7e]+", version) else None

    def _note(self, headers: email.message.Message, total: int | None) -> None:
        tag = headers.get("ETag")
        # A weak tag promises the same meaning, not the same bytes.
        version = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified") if not tag else None
        content = {"url": self.url, "version": version, "total": total}
        scratch = self.about.with_name(f"{self.about.name}.tmp")
        scratch.write_text(json.dumps(content), encoding="utf-8")
        # Before the first byte: no part may be taken for that of another version.
        os.replace(scratch, self.about)

    def _check_room(self, total: int | None) -> None:
        missing = (total or self.file.size_bytes or 0) - self.bytes_at_hand()
        free = shutil.disk_usage(self.part.parent).free
        if missing > free:
            raise FetchError(f"{self.file.name}: {missing:,} bytes are missing, {self.part.parent} has {free:,} free.")

    def _discard(self) -> None:
        self.part.unlink(missing_ok=True)
        self.about.unlink(missing_ok=True)


def _content_range(value: str, otherwise: int | None) -> tuple[int | None, int | None]:
    """First byte and total of a Content-Range header."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", value.strip())
    if not found:
        return None, otherwise
    return (int(found[1]) if found[1] else None), (int(found[2]) if found[2] != "*" else otherwise)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and never from https down to http."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        try:
            check_url(newurl, f"the address that {req.full_url} points on to")
            if req.full_url.startswith("https:") and not newurl.startswith("https:"):
                raise CatalogueError(f"{req.full_url} points on to {newurl}, without encryption; not followed.")
        except CatalogueError as error:
            raise urllib.error.URLError(error) from error
        return super().redirect_request(req, fp, code, msg, headers, newurl)
