"""The header of a store: all that must be the same for its shards to belong together and for a student to read them."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill_or_annotate.capture.collecting import KINDS, stored_dtype
from distill_or_annotate.capture.decoding import PADDINGS

FORMAT_VERSION = 1
FILE = "header.json"
TARGETS_RULES = ("greedy", "labels")


class StoreError(ValueError):
    """A store cannot be read, or is not what it is taken for."""


@dataclasses.dataclass(frozen=True)
class Header:
    """What a store is.

    Args:
      kind: `hidden`, `topk` or `full`.
      task: name of the SeqIO task whose examples these are.
      split: its split.
      given_task: task whose examples, with targets that were given (gold labels), follow the pool; '' for none.
      temperature: softmax temperature of the log-probabilities of `topk`; the one that training is meant for.
      k: tokens that `topk` keeps; 0 in other kinds.
      dtype: float type of the stored numbers.
      padding: `masked` or `counted`.
      targets_rule: `greedy` or `labels`.
      labels: label words of the rule `labels`.
      input_tokens: longest input in tokens.
      target_tokens: longest target in tokens; decoder positions that a batch needs.
      counts_start: whether the start token takes one of the `target_tokens`.
      batch_size: examples decoded together.
      shard_examples: examples of a whole shard; the last one may hold fewer.
      vocab_size: rows of the teacher's embedding, which bound the ids.
      vocabulary: identity of the vocabulary: `size` in pieces, and `sha256` of its SentencePiece file.
      teacher: identity of the teacher: `checkpoint`, `step`, `fingerprint`, and its `sizes`.
      tied: whether the head is the embedding; only `hidden` needs it.
      logit_scale: what the product of a hidden state and the head is multiplied by.
      format_version: version of this format.
      counts: what a finished store holds, see `writer.finish`; None while it is being written.
    """

    kind: str
    task: str
    split: str
    temperature: float
    k: int
    dtype: str
    padding: str
    targets_rule: str
    labels: tuple[str, ...]
    input_tokens: int
    target_tokens: int
    counts_start: bool
    batch_size: int
    shard_examples: int
    vocab_size: int
    vocabulary: Mapping[str, Any]
    teacher: Mapping[str, Any]
    given_task: str = ""
    tied: bool = False
    logit_scale: float = 1.0
    format_version: int = FORMAT_VERSION
    counts: Mapping[str, Any] | None = None

    def __post_init__(self):
        allowed = {"kind": KINDS, "padding": PADDINGS, "targets_rule": TARGETS_RULES}
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise StoreError(f"{name} is {getattr(self, name)!r}; allowed: {', '.join(values)}.")
        stored_dtype(self.kind, self.dtype)
        for name in ("input_tokens", "target_tokens", "batch_size", "shard_examples", "vocab_size"):
            if getattr(self, name) < 1:
                raise StoreError(f"{name} is {getattr(self, name)}; at least 1 is needed.")
        if self.temperature <= 0:
            raise StoreError(f"temperature is {self.temperature}; it must be above 0 (the paper's reference uses 2).")
        if self.kind == "topk" and not 1 <= self.k <= self.vocab_size:
            raise StoreError(f"k is {self.k}; a store of kind 'topk' needs 1 to vocab_size ({self.vocab_size}).")
        if self.padding == "counted" and self.shard_examples % self.batch_size:
            raise StoreError(
                f"shard_examples is {self.shard_examples}; in padding='counted' it must be a multiple of batch_size "
                f"({self.batch_size}), or a shard's last batch would be shorter than the reference's."
            )
        if self.padding == "counted" and self.targets_rule == "labels":
            raise StoreError(
                "targets_rule='labels' cannot go with padding='counted': the paper's reference decodes greedily. Take "
                "targets_rule='greedy', or padding='masked'."
            )

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON holds them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def check_temperature(self, temperature: float) -> None:
        """Refuses a temperature that the store's numbers do not fit.

        Args:
          temperature: what training asks for, above 0.

        Raises:
          StoreError: naming the kind that fits every temperature.
        """
        if self.kind == "topk" and temperature != self.temperature:
            raise StoreError(
                f"temperature is {temperature!r}, but this store keeps the {self.k} best tokens at temperature "
                f"{self.temperature:g}, and its tail cannot be turned into another's. Train at {self.temperature:g}, "
                "or capture a store of kind 'hidden', which serves every temperature and schedule of temperatures."
            )

    def differences(self, other: Header) -> list[str]:
        """Names of the fields, counts aside, in which `other` differs."""
        mine, theirs = self.as_dict(), other.as_dict()
        return sorted(name for name in mine if name != "counts" and mine[name] != theirs[name])


def write(folder: Path, header: Header, host: int = 0) -> None:
    """Writes a header whole or not at all.

    Args:
      folder: the store's folder.
      header: what to write.
      host: number of the host that writes.
    """
    replace_text(folder / FILE, json.dumps(header.as_dict(), indent=1, sort_keys=True) + "\n", host)


def read(folder: Path) -> Header:
    """Reads a store's header.

    Args:
      folder: the store's folder.

    Returns:
      The header.

    Raises:
      StoreError: no store there, a damaged header, or one of another version.
    """
    path = Path(folder) / FILE
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = (
            [] if not Path(folder).parent.is_dir() else [p.parent.name for p in Path(folder).parent.glob(f"*/{FILE}")]
        )
        close = difflib.get_close_matches(Path(folder).name, near, n=3, cutoff=0.3)
        hint = f" Near: {', '.join(close)}." if close else ""
        raise StoreError(
            f"{folder} is no captured store: it has no {FILE}.{hint} Fix: run doa capture first."
        ) from None
    except ValueError as error:
        raise StoreError(f"{path} is damaged ({error}). Fix: capture again into another folder.") from error
    version = fields.get("format_version") if isinstance(fields, dict) else None
    if version != FORMAT_VERSION:
        raise StoreError(
            f"{path}: format_version is {version!r}; this program reads {FORMAT_VERSION}. Fix: capture again, or use "
            "the version that wrote it."
        )
    known = {field.name for field in dataclasses.fields(Header)}
    required = {f.name for f in dataclasses.fields(Header) if f.default is dataclasses.MISSING}
    if unknown := sorted(set(fields) - known) or sorted(required - set(fields)):
        raise StoreError(f"{path} has unknown or lacks needed fields: {', '.join(unknown)}. Fix: capture again.")
    return Header(**{**fields, "labels": tuple(fields["labels"])})


def replace_text(path: Path, text: str, host: int = 0) -> None:
    """Replaces a file; a reader, or a kill, finds the old one or the new one, never a part.

    Args:
      path: the file.
      text: its new contents.
      host: number of the host that writes, which tells its scratch files from another's.
    """
    scratch = path.with_name(f"{path.name}.tmp-{host}-{os.getpid()}")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
