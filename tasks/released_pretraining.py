"""What pre-training a mini model on the three tasks of `released_mini` needs: a vocabulary, and `released_pretrain`.

Run as a program (`python -m distill_or_annotate.tasks.released_pretraining`, part of `make pretrain-released`) it
learns the vocabulary from the pools of the three tasks and writes it where `released_mini` looks for it.
"""

import os
from pathlib import Path

from distill_or_annotate.preprocess.rows import Row
from distill_or_annotate.tasks import pretraining, registry, released_mini, variants, vocabularies

N_PIECES = 2048 - released_mini.N_SENTINELS


def pool_rows(split: str) -> list[Row]:
    """The three pools, none of which holds a source of dev or test, as the corpus."""
    del split  # one corpus, no parts
    return [row for task in released_mini.TASKS for row in variants.pool(f"{task}_mini").rows]


def learn_vocabulary(sentences: list[str]) -> bytes:
    """A sentencepiece model of `N_PIECES` pieces.

    Args:
      sentences: text to learn from.

    Returns:
      The serialized model; equal sentences give equal bytes.
    """
    words = sorted({label for task in released_mini.TASKS for label in registry.get(task).labels})
    # Often enough that each label word is one piece or few.
    return vocabularies.learn(sentences + words * 50, N_PIECES)


def main() -> None:
    """Write the vocabulary, unless it is there."""
    path = Path(released_mini.vocabulary().sentencepiece_model_file)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        scratch.write_bytes(learn_vocabulary([row["source"] for row in pool_rows("train")]))
        scratch.replace(path)
    print(path)


pretraining.register("released", pool_rows, released_mini.vocabulary)

if __name__ == "__main__":
    main()
