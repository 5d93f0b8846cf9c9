"""fetched.json: size and hash of what was downloaded, against which later runs verify."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from pathlib import Path
from typing import Any

from distill_or_annotate.data.fetching.catalogue import RemoteFile
from distill_or_annotate.data.fetching.http import Fetched, MismatchError, differences, digests

NAME = "fetched.json"


class Records:
    """What is known of a folder's files from earlier downloads.

    Args:
      folder: the folder that holds the files and `fetched.json`.

    Raises:
      ValueError: `fetched.json` is not what this module writes.
    """

    def __init__(self, folder: Path):
        self._path = folder / NAME
        self._folder = folder
        self._files: dict[str, dict[str, Any]] = {}
        if self._path.exists():
            try:
                files = json.loads(self._path.read_text(encoding="utf-8"))["files"]
                self._files = {name: {**entry, "sha256": str(entry["sha256"])} for name, entry in files.items()}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{self._path} is damaged ({error}). Fix: remove it; files are then hashed anew."
                ) from error

    def expected(self, file: RemoteFile) -> RemoteFile:
        """The file with what an earlier download taught about it, where the catalogue knows less.

        Args:
          file: as in the catalogue.

        Returns:
          The same, with size and SHA-256 where either source has them.
        """
        entry = self._files.get(file.name)
        if file.sha256 or not entry or entry.get("url") != file.url:
            return file
        return dataclasses.replace(file, size_bytes=file.size_bytes or entry.get("bytes"), sha256=entry["sha256"])

    def at_hand(self, file: RemoteFile) -> str | None:
        """Checks a file that is in the folder already.

        Args:
          file: as `expected` returned it.

        Returns:
          A phrase that says what it was checked against; None when the folder has no such file.

        Raises:
          MismatchError: it is another file; it is left as it is.
        """
        path = self._folder / file.name
        if not path.exists():
            return None
        size_bytes, sha256, md5 = digests(path)
        problems = differences(file, size_bytes, sha256, md5)
        if problems:
            raise MismatchError(
                f"{path} is another file: {'; '.join(problems)}. It was left as it is. Fix: move it away and run again"
                + (
                    f"; if the change is meant, remove its entry from {self._path}."
                    if file.name in self._files
                    else "."
                )
            )
        if file.sha256:
            return (
                "size and SHA-256 as known"
                if file.name not in self._files or file.checked_by
                else "as first downloaded"
            )
        self._write(
            file.name, {"url": file.url, "bytes": size_bytes, "sha256": sha256, "origin": "found in the folder"}
        )
        return "MD5 as known; SHA-256 noted" if file.md5 else "nothing known to compare with; SHA-256 noted"

    def add(self, file: RemoteFile, fetched: Fetched) -> None:
        """Notes a download.

        Args:
          file: as in the catalogue; its own address identifies it, whatever mirror served it.
          fetched: what came of it.
        """
        entry = {"url": file.url, "bytes": fetched.size_bytes, "sha256": fetched.sha256, "origin": fetched.url}
        self._write(file.name, entry)

    def _write(self, name: str, entry: dict[str, Any]) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._files[name] = {**entry, "recorded_at": now}
        scratch = self._path.with_name(f"{NAME}.tmp")
        with scratch.open("w", encoding="utf-8") as handle:
            json.dump({"files": self._files}, handle, indent=1, sort_keys=True)
            handle.write("\n")
            handle.flush()
            os.fsync(handle.fileno())
        scratch.replace(self._path)
