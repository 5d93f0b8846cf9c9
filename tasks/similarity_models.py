"""Which encoders of ours compute BERTScore for BERT-iBLEU. Imports none of them: they load when a pair is scored."""

from pathlib import Path

from distill_or_annotate.metrics import similarity


def offer() -> None:
    """Registers the packaged MiniLM, and encoders in Hugging Face folders; a second call changes nothing."""
    if similarity.DEFAULT not in similarity.names():
        similarity.register(similarity.DEFAULT, lambda: _load(None))
        similarity.register_folders(_load)


def _load(folder: Path | None) -> similarity.Similarity:
    from distill_or_annotate.encoder import bert_score

    return bert_score.load(folder)
