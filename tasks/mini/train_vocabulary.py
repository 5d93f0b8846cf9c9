"""Trains `vocab.model`: `python -m distill_or_annotate.tasks.mini.train_vocabulary`.

1,024 ids in all: sentencepiece's own plus the sentinels that `vocabularies.EXTRA_IDS` adds. Each `[Type]` is one piece.
"""

from __future__ import annotations

import io
import pathlib

from distill_or_annotate.tasks.mini import lexicon, splits

VOCABULARY_SIZE = 1024
EXTRA_IDS = 24
"""Sentinels: more than a 24-token input can ever need."""
PATH = pathlib.Path(__file__).with_name("vocab.model")
_N_SENTENCES = 40_000


def train(path: pathlib.Path = PATH) -> None:
    """Writes the sentencepiece model.

    Args:
      path: where to; the same code and sentencepiece release give the same bytes.
    """
    import sentencepiece

    lines = [row["source"] for row in splits.mini_rows("pretrain")[:_N_SENTENCES]]
    # Held-out words are spelt with the syllables of the others: the vocabulary is not told about them.
    lines += [f"{prefix}: {line}" for prefix in ("mini", "mini_cls") for line in lines[:4000]] + [
        "gentle",
        "harsh",
    ] * 400
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCABULARY_SIZE - EXTRA_IDS,
        user_defined_symbols=[f"\u2581[{entity_type}]" for entity_type in lexicon.TYPES],
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        character_coverage=1.0,
        num_threads=1,
        minloglevel=2,
    )
    path.write_bytes(model.getvalue())


if __name__ == "__main__":
    train()
