"""The WordPiece tokenizer of a Hugging Face folder, read on first use by the `tokenizers` library."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill_or_annotate.encoder import config
from distill_or_annotate.encoder.config import EncoderError

_FILES = ("tokenizer.json", "vocab.txt")


class WordPiece:
    """Text to ids, `[CLS]` first and `[SEP]` last.

    Args:
      folder: holds `tokenizer.json`, or `vocab.txt` and optionally `tokenizer_config.json`.
      most_pieces: rows of the embedding that they index; None for a tokenizer without a network.

    Raises:
      EncoderError: the folder holds neither file; on first use, the `tokenizers` library is missing, the file can't be
        read, a token that BERT needs is not in it, or it has more pieces than the embedding has rows.
    """

    def __init__(self, folder: str | os.PathLike[str], most_pieces: int | None = None):
        self.folder, self._most_pieces = Path(folder), most_pieces
        self._file = next((path for name in _FILES if (path := self.folder / name).is_file()), None)
        if self._file is None:
            raise EncoderError(
                f"no {' or '.join(_FILES)} in {self.folder}. Fix: save the tokenizer there (in transformers: "
                "tokenizer.save_pretrained(folder))."
            )

    @functools.cached_property
    def _loaded(self) -> Any:
        try:
            import tokenizers
        except ImportError as error:
            raise EncoderError(
                "encoders need the tokenizers library. Fix: pip install 'distill-or-annotate[encoder]'."
            ) from error
        try:
            if self._file.name == "tokenizer.json":
                found = tokenizers.Tokenizer.from_file(os.fspath(self._file))
            else:
                asked = self.folder / "tokenizer_config.json"
                known = config.read_json(self.folder, asked.name) if asked.is_file() else {}
                lowercase = bool(known.get("do_lower_case", True))
                found = tokenizers.BertWordPieceTokenizer(os.fspath(self._file), lowercase=lowercase)
        except Exception as error:  # the library raises Exception itself
            raise EncoderError(f"{self._file} can't be read ({error}). Fix: fetch it again.") from error
        # A tokenizer.json may bring lengths of its own; MiniLM's has 128.
        found.no_truncation()
        found.no_padding()
        missing = [token for token in ("[CLS]", "[SEP]", "[PAD]") if found.token_to_id(token) is None]
        if missing or found.token_to_id("[PAD]") != 0:
            raise EncoderError(
                f"{self._file}: {', '.join(missing) or '[PAD], which is not id 0,'} is needed as BERT has it. Fix: "
                "give the tokenizer of a BERT or DistilBERT model."
            )
        if self._most_pieces is not None and found.get_vocab_size() > self._most_pieces:
            raise EncoderError(
                f"{self._file} has {found.get_vocab_size():,} pieces, and the weights beside it have embeddings for "
                f"{self._most_pieces:,}. Fix: give the tokenizer that the weights were trained with."
            )
        return found

    @property
    def cls_id(self) -> int:
        """The id that begins an input."""
        return self._loaded.token_to_id("[CLS]")

    @property
    def sep_id(self) -> int:
        """The id that ends an input."""
        return self._loaded.token_to_id("[SEP]")

    @property
    def n_pieces(self) -> int:
        """Pieces in the vocabulary."""
        return self._loaded.get_vocab_size()

    def ids(self, text: str, max_tokens: int) -> np.ndarray:
        """Cuts a text into pieces.

        Args:
          text: any text; may be empty.
          max_tokens: longest result, at least 2; a longer one is cut and still ends with `[SEP]`.

        Returns:
          int32 [at most max_tokens], `[CLS]` and `[SEP]` included.
        """
        ids = self._loaded.encode(text).ids
        if len(ids) > max_tokens:
            ids = [*ids[: max_tokens - 1], self.sep_id]
        return np.asarray(ids, np.int32)

    def batch(self, texts: Sequence[str], max_tokens: int) -> list[np.ndarray]:
        """Cuts several `texts` into pieces, on all cores; `max_tokens` and results as in `ids`."""
        found = [encoding.ids for encoding in self._loaded.encode_batch(list(texts))]
        cut = [ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], self.sep_id] for ids in found]
        return [np.asarray(ids, np.int32) for ids in cut]

    def lengths(self, texts: Sequence[str]) -> np.ndarray:
        """Pieces of `texts`, `[CLS]` and `[SEP]` included, int32 [n]; nothing is cut."""
        return np.asarray([len(encoding.ids) for encoding in self._loaded.encode_batch(list(texts))], np.int32)

    def file_hash(self) -> str:
        """SHA-256 of the tokenizer's file, in hexadecimal."""
        return hashlib.sha256(self._file.read_bytes()).hexdigest()
