"""A similarity that needs no encoder: words in common, weighed by how rare they are among the references."""

import math
from collections import Counter

import numpy as np
import pytest

from distill_or_annotate.metrics import similarity


class CommonWords:
    """F1 over words, each weighing log((n + 1) / (references that have it + 1)), as BERTScore weighs its pieces."""

    name = "common words"

    def f1(self, predictions, references):
        flat = [text.split() for texts in references for text in texts]
        seen = Counter(word for words in flat for word in set(words))

        def weight(words):
            return sum(math.log((len(flat) + 1) / (seen[word] + 1)) + 0.1 for word in words)

        def score(prediction, reference):
            common = prediction & reference
            return 2 * weight(common.elements()) / (weight(prediction.elements()) + weight(reference.elements()))

        return np.array(
            [
                max(score(Counter(text.split()), Counter(other.split())) for other in texts)
                for text, texts in zip(predictions, references, strict=True)
            ]
        )


@pytest.fixture(autouse=True)
def common_words(monkeypatch):
    """Scores meanings by common words in every test of this folder, unless it chooses another."""
    monkeypatch.setattr(similarity, "_LOADERS", dict(similarity._LOADERS))
    monkeypatch.setattr(similarity, "_LOADED", {})
    monkeypatch.setattr(similarity, "_FOLDER_LOADERS", [])
    similarity.register("common_words", CommonWords)
    monkeypatch.setenv(similarity.VARIABLE, "common_words")
