"""A SentencePiece vocabulary that reads and writes text as SeqIO does, without SeqIO and TensorFlow, slow to start."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_MOST_SENTINELS = 100


class VocabularyError(ValueError):
    """A file is no vocabulary, or not that of the model."""


class Vocabulary:
    """Text to ids and back, with sentinels `<extra_id_0>` and on behind the file's pieces where it has none.

    Args:
      path: a SentencePiece model of T5's form: padding 0, end of sequence 1, unknown 2.
      rows: rows of the model's embedding; sentinels fill them beyond the file's pieces, 100 at most.

    Raises:
      VocabularyError: the file is no such model, or has more pieces than there are rows.
      FileNotFoundError: there is no file.
    """

    pad_id, eos_id, unk_id = 0, 1, 2

    def __init__(self, path: Path, rows: int) -> None:
        import sentencepiece
        from google.protobuf.message import DecodeError
        from sentencepiece import sentencepiece_model_pb2

        if not path.is_file():
            raise FileNotFoundError(f"no vocabulary at {path}. Fix: --vocabulary with a SentencePiece model.")
        content = path.read_bytes()
        try:
            proto = sentencepiece_model_pb2.ModelProto.FromString(content)
        except DecodeError as error:
            raise VocabularyError(f"{path} is no SentencePiece model: {error}.") from error
        pieces = [piece.piece for piece in proto.pieces]
        if pieces[:3] != ["<pad>", "</s>", "<unk>"]:
            raise VocabularyError(
                f"{path} begins with the pieces {pieces[:3]}; a T5's begins with <pad>, </s>, <unk>. Fix: give the "
                "SentencePiece model that the model was trained with."
            )
        if len(pieces) > rows:
            raise VocabularyError(
                f"{path} has {len(pieces)} pieces and the model's embedding {rows} rows. Fix: give the vocabulary that "
                "the model was trained with."
            )
        if not any(piece.endswith("<extra_id_0>") for piece in pieces):
            for number in reversed(range(min(_MOST_SENTINELS, rows - len(pieces)))):
                piece = proto.pieces.add(piece=f"▁<extra_id_{number}>", score=0.0)
                piece.type = sentencepiece_model_pb2.ModelProto.SentencePiece.USER_DEFINED
        self.path = path
        self.sha256 = hashlib.sha256(content).hexdigest()
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())

    @property
    def vocab_size(self) -> int:
        """Number of pieces, sentinels included; at most the rows of the embedding."""
        return self._processor.get_piece_size()

    def serialized(self) -> bytes:
        """The SentencePiece model, sentinels included."""
        return self._processor.serialized_model_proto()

    def encode(self, text: str) -> list[int]:
        """Ids of `text`, without end of sequence."""
        return self._processor.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of `ids` up to the first end of sequence; ids beyond the pieces are unknown words."""
        known = [int(i) if i < self.vocab_size else self.unk_id for i in ids]
        if self.eos_id in known:
            known = known[: known.index(self.eos_id)]
        return self._processor.decode(known)
