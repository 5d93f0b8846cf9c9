"""The embedded tasks' vocabulary: 1,000 sentencepiece pieces and 24 sentinels.

Every piece is chosen, none is learnt: closed-class words, label words and each ` [Type]` are one piece; an open-class
word is its onset and its ending, or one piece if it is among the most frequent ones of the pre-training text. So an
ending that tells a type is a piece of its own, and a word that pre-training never showed has pieces that it did show.

Rebuild (same bytes): `python -m distill_or_annotate.tasks.mini.vocabulary`.
"""

from __future__ import annotations

import collections
import io
import os
from pathlib import Path

from distill_or_annotate.tasks.mini import grammar, lexicon, splits

N_PIECES, N_SENTINELS = 1000, 24
PATH = Path(__file__).with_name("vocab.model")
LABEL_WORDS = ("gentle", "harsh")
_LEARNT = "0123456789.,-"
"""Characters that the grammar never uses. Sentencepiece wants some to learn, and other text may hold them."""


def vocabulary():
    """The SeqIO vocabulary of `mini` and `mini_cls`; loads on first use."""
    from distill_or_annotate.tasks.vocabularies import LazyVocabulary

    return LazyVocabulary(os.fspath(PATH), extra_ids=N_SENTINELS)


def pieces() -> list[str]:
    """The pieces besides padding, end of sequence and unknown, `▁` being the space before a word."""
    counts = collections.Counter(word for row in splits.mini_rows("pretrain") for word in row["source"].split())
    starts = [*(f"[{name}]" for name in lexicon.TYPES), *LABEL_WORDS, *grammar.CLOSED_WORDS, *sorted(lexicon.ONSETS)]
    chosen = [f"▁{start}" for start in starts]
    chosen += sorted({*lexicon.OPAQUE_ENDINGS, *(ending for group in lexicon.SUFFIXES.values() for ending in group)})
    chosen += list("abcdefghijklmnopqrstuvwxyz")
    chosen = list(dict.fromkeys(chosen))
    closed = set(grammar.CLOSED_WORDS)
    frequent = (
        f"▁{word}" for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if word not in closed
    )
    # Besides these: three control pieces, the learnt characters and the space.
    while len(chosen) < N_PIECES - 3 - len(_LEARNT) - 1:
        chosen.append(next(frequent))
    return chosen


def build() -> bytes:
    """The serialized sentencepiece model.

    Raises:
      RuntimeError: if sentencepiece made another number of pieces.
    """
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(_LEARNT)] * 20),
        model_writer=model,
        model_type="unigram",
        vocab_size=N_PIECES,
        hard_vocab_limit=False,
        character_coverage=1.0,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        user_defined_symbols=pieces(),
        minloglevel=2,
    )
    made = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()
    if made != N_PIECES:
        raise RuntimeError(f"sentencepiece made {made} pieces, {N_PIECES} were planned")
    return model.getvalue()


if __name__ == "__main__":
    PATH.write_bytes(build())
    print(f"{PATH}: {PATH.stat().st_size} bytes")
