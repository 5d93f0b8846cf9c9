"""SentencePiece vocabularies that load on first use and, where they cannot, say what to do."""

import seqio


class VocabularyError(FileNotFoundError):
    """A vocabulary's file cannot be read."""


class LazyVocabulary(seqio.SentencePieceVocabulary):
    """A SentencePiece vocabulary whose missing file is an error with a remedy in it.

    It equals a plain `seqio.SentencePieceVocabulary` of the same file, so T5X's check of the model's vocabulary against
    the task's holds.
    """

    # A class attribute: instance state takes part in SeqIO's comparison of vocabularies.
    remedy = "Check the path."

    @property
    def tokenizer(self):
        """Returns the Python tokenizer, loading the file at the first call."""
        return self._with_remedy(lambda: seqio.SentencePieceVocabulary.tokenizer.fget(self))

    @property
    def sp_model(self):
        """Returns the serialized model, loading the file at the first call."""
        return self._with_remedy(lambda: seqio.SentencePieceVocabulary.sp_model.fget(self))

    def _with_remedy(self, load):
        try:
            return load()
        except Exception as error:
            raise VocabularyError(
                f"vocabulary file {self.sentencepiece_model_file!r} cannot be read ({type(error).__name__}). "
                f"{self.remedy}"
            ) from error
