"""SentencePiece vocabularies that load on first use and, where they cannot, say what to do; T5's own among them."""

import hashlib
import http.client
import io
import os
import pathlib
import tempfile
import urllib.request
from collections.abc import Iterable

import seqio

from distill_or_annotate.tasks.sources import cache_dir

T5_VOCABULARY = "gs://t5-data/vocabs/cc_all.32000.100extra/sentencepiece.model"
T5_VOCABULARY_VARIABLE = "DOA_T5_VOCAB"

_STORAGE = "https://storage.googleapis.com/"
_CONNECT_SECONDS = 10


class VocabularyError(FileNotFoundError):
    """A vocabulary's file cannot be read."""


class LazyVocabulary(seqio.SentencePieceVocabulary):
    """A SentencePiece vocabulary at a path or URL, whose missing file is an error with a remedy in it.

    It equals a plain `seqio.SentencePieceVocabulary` of the same address, so T5X's check of the model's vocabulary
    against the task's holds. A file at `https://`, `http://` or `gs://` is fetched once, into the cache folder.
    """

    # A class attribute: instance state takes part in SeqIO's comparison of vocabularies.
    remedy = "Check the path."

    @property
    def tokenizer(self):
        """Returns the Python tokenizer, loading the file at the first call."""
        self._load()
        return seqio.SentencePieceVocabulary.tokenizer.fget(self)

    @property
    def sp_model(self):
        """Returns the serialized model, loading the file at the first call."""
        self._load()
        return seqio.SentencePieceVocabulary.sp_model.fget(self)

    def _load(self) -> None:
        if self._model:
            return
        address = self.sentencepiece_model_file
        try:
            local = seqio.SentencePieceVocabulary.__new__(seqio.SentencePieceVocabulary)
            local.__setstate__(self.__getstate__() | {"_sentencepiece_model_file": os.fspath(local_copy(address))})
            local.load_model()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise VocabularyError(f"vocabulary file {address!r} cannot be read ({reason}). {self.remedy}") from error
        self._model = local._model


class T5Vocabulary(LazyVocabulary):
    """T5's vocabulary of 32,000 pieces and 100 sentinels."""

    remedy = (
        f"Set {T5_VOCABULARY_VARIABLE} to a copy: {T5_VOCABULARY} is public. Where there is a network: "
        f"curl -O {T5_VOCABULARY.replace('gs://', _STORAGE)}"
    )


def t5_vocabulary() -> T5Vocabulary:
    """Makes the vocabulary of the paper's six tasks, also for `models.EncoderDecoderModel` in gin.

    Returns:
      The file that `DOA_T5_VOCAB` names (a path, or an address at https:// or gs://), by default the public one; read
      on first use.
    """
    return T5Vocabulary(os.environ.get(T5_VOCABULARY_VARIABLE) or T5_VOCABULARY)


def local_copy(address: str) -> pathlib.Path:
    """Finds a file, fetching it into the cache folder if it stands on a server and is not there yet.

    Args:
      address: a path, or an address at http://, https:// or, publicly readable, gs://.
    Returns:
      A path; of an address, to a whole file.
    Raises:
      OSError: the server cannot be reached within 10 seconds, has no such file, or breaks off.
    """
    url = address.replace("gs://", _STORAGE, 1) if address.startswith("gs://") else address
    if not url.startswith(("http://", "https://")):
        return pathlib.Path(address).expanduser()
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    path = cache_dir() / "vocabularies" / f"{digest}-{url.rsplit('/', 1)[-1]}"
    if path.exists():
        return path
    try:
        with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as answer:
            content = answer.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"the answer of {url} broke off ({type(error).__name__})") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    # Renaming is atomic: a reader sees a whole file or none.
    handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=".unfinished-")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(unfinished, path)
    return path


def learn(sentences: Iterable[str], n_pieces: int, n_sentinels: int = 0) -> bytes:
    """Learns a unigram vocabulary of T5's form: pad, end and unknown first, sentinels last, counted downwards.

    Args:
      sentences: text to learn from.
      n_pieces: pieces without sentinels, at least 10; fewer where the text does not hold as many.
      n_sentinels: sentinels `<extra_id_0>` (the last piece) and on, at least 0.
    Returns:
      The serialized model; equal arguments give equal bytes.
    """
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    serialized = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences),
        model_writer=serialized,
        model_type="unigram",
        vocab_size=n_pieces,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        num_threads=1,  # more threads may sum in another order
        minloglevel=2,
    )
    model = sentencepiece_model_pb2.ModelProto.FromString(serialized.getvalue())
    for number in reversed(range(n_sentinels)):
        piece = model.pieces.add(piece=f"<extra_id_{number}>", score=0.0)
        piece.type = sentencepiece_model_pb2.ModelProto.SentencePiece.USER_DEFINED
    return model.SerializeToString()
