"""A SentencePiece vocabulary of the user's own text for the mini models, and lengths that fit the data."""

from __future__ import annotations

import io
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence

from distill_or_annotate.own_tasks.tables import TableError
from distill_or_annotate.preprocess.rows import Row

# With the sentinels of span corruption the 2,048 rows of the mini models' embeddings.
MOST_PIECES, N_SENTINELS = 2024, 24
# Different signs that get a piece each; a script of more has its rare ones spelt in bytes, of which there are 256.
_MOST_SIGNS = 1200
_QUANTILE, _GRID = 0.99, 8


def learn(sentences: Sequence[str], symbols: Sequence[str]) -> tuple[bytes, int]:
    """Learns a vocabulary that can spell any text.

    Args:
      sentences: text to learn from, at least one.
      symbols: label words or `[Type]`s, each of which becomes one piece.

    Returns:
      The serialized model, and how many pieces it has; equal text gives equal bytes.

    Raises:
      TableError: SentencePiece can make none.
    """
    from sentencepiece import sentencepiece_model_pb2

    signs = Counter(sign for sentence in sentences for sign in sentence)
    rare = str.maketrans("", "", "".join(sign for sign, _ in signs.most_common()[_MOST_SIGNS:]))
    try:
        written = _train([sentence.translate(rare) for sentence in sentences], symbols)
    except (RuntimeError, OSError) as error:
        problem = str(error).split("\n")[0]
        raise TableError(f"vocabulary: SentencePiece cannot learn one from this text ({problem}).") from error
    model = sentencepiece_model_pb2.ModelProto.FromString(written)
    model.normalizer_spec.normalization_rule_tsv = ""  # a file that is gone
    return model.SerializeToString(deterministic=True), len(model.pieces)


def _train(sentences: Sequence[str], symbols: Sequence[str]) -> bytes:
    import sentencepiece

    written = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        # A target must come out as it went in, so nothing is normalised but a space that nobody sees. (With no rule at
        # all, TensorFlow's SentencePiece writes a line to the terminal for every data set.)
        rules.write("200B\t\n")
        rules.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=written,
            model_type="unigram",
            vocab_size=MOST_PIECES,
            hard_vocab_limit=False,  # little text has fewer pieces
            character_coverage=1.0,
            byte_fallback=True,  # so that a sign without a piece is spelt, not lost
            normalization_rule_tsv=rules.name,
            max_sentence_length=1 << 16,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            user_defined_symbols=[f"▁{symbol.replace(' ', '▁')}" for symbol in symbols],
            num_threads=1,  # more threads may sum in another order
            minloglevel=2,
        )
    return written.getvalue()


def encoder(model: bytes) -> Callable[[str], list[int]]:
    """Returns a vocabulary's text to ids, without end of sequence.

    Args:
      model: a serialized SentencePiece model.
    """
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_proto=model).encode


def vocab_size(n_pieces: int) -> int:
    """Returns the rows of the model's embedding: pieces and sentinels, rounded up to a multiple of 128.

    Args:
      n_pieces: pieces of the SentencePiece model.
    """
    return 128 * math.ceil((n_pieces + N_SENTINELS) / 128)


def lengths(
    rows: Sequence[Row], pool: Sequence[Row], encode: Callable[[str], Sequence[int]], prefix: str, most_tokens: int
) -> tuple[int, int]:
    """Returns input and target lengths, end of sequence included, that hold 99 of 100 texts whole.

    Args:
      rows: labelled rows.
      pool: unlabeled rows, whose sources count too.
      encode: text to ids, without end of sequence.
      prefix: what stands before each source.
      most_tokens: upper bound of both, a multiple of 8.

    Returns:
      Tokens of inputs and of targets, multiples of 8.
    """
    sources = [len(encode(prefix + row["source"])) + 1 for row in [*rows, *pool]]
    return _fitting(sources, most_tokens), _fitting([len(encode(row["target"])) + 1 for row in rows], most_tokens)


def _fitting(tokens: list[int], most_tokens: int) -> int:
    needed = sorted(tokens)[math.ceil(_QUANTILE * len(tokens)) - 1]
    return min(_GRID * math.ceil(needed / _GRID), most_tokens)
