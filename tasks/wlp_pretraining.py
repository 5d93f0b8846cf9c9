"""What pre-training mini models on WLP needs: a vocabulary learnt from its text, and the mixture `wlp_pretrain`.

Run as a program (`python -m distill_or_annotate.tasks.wlp_pretraining`, part of `make pretrain-wlp`) it learns the
vocabulary from the unlabeled pool and writes it where `wlp_mini` looks for it.
"""

import io
import os
from pathlib import Path

from distill_or_annotate.metrics.entities import WLP_TYPES
from distill_or_annotate.preprocess.rows import Row
from distill_or_annotate.tasks import pretraining, variants, wlp

N_PIECES = 2048 - wlp.N_SENTINELS


def pool_rows(split: str) -> list[Row]:
    """The unlabeled pool, which holds no source of dev or test, as the corpus."""
    del split  # one corpus, no parts
    return variants.pool("wlp_mini").rows


def learn_vocabulary(sentences: list[str]) -> bytes:
    """A sentencepiece model of `N_PIECES` pieces, in which each ` [Type]` is one.

    Args:
      sentences: text to learn from.

    Returns:
      The serialized model; equal sentences give equal bytes.
    """
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=model,
        model_type="unigram",
        vocab_size=N_PIECES,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        user_defined_symbols=[f"▁[{name}]" for name in WLP_TYPES],
        num_threads=1,  # more threads may sum in another order
        minloglevel=2,
    )
    return model.getvalue()


def main() -> None:
    """Write the vocabulary, unless it is there."""
    path = Path(wlp.mini_vocabulary().sentencepiece_model_file)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        scratch.write_bytes(learn_vocabulary([row["source"] for row in pool_rows("train")]))
        scratch.replace(path)
    print(path)


pretraining.register("wlp", pool_rows, wlp.mini_vocabulary)

if __name__ == "__main__":
    main()
