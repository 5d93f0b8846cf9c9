"""Vocabularies at a path or an address: fetched whole and once, and an error with the fix where there is none."""

import http.server
import os
import pickle
import threading
import time

import pytest
import seqio

from distill_or_annotate.tasks import small_vocabulary, vocabularies
from distill_or_annotate.tasks.sources import cache_dir


class _Server(http.server.ThreadingHTTPServer):
    """Serves `content` at /vocab.model, saying that it has `n_missing` bytes more."""

    content, n_missing, asked = b"", 0, ()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked = (*self.server.asked, self.path)
        if self.path != "/vocab.model":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content) + self.server.n_missing))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(small_vocabulary_file, tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path / "cache"))
    server = _Server(("127.0.0.1", 0), _Handler)
    with open(small_vocabulary_file, "rb") as file:
        server.content = file.read()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def _address(server, path="vocab.model"):
    return f"http://127.0.0.1:{server.server_port}/{path}"


def test_a_vocabulary_at_an_address_is_fetched_once(server, small_vocabulary_file, monkeypatch):
    monkeypatch.setenv("DOA_T5_VOCAB", _address(server))
    there = seqio.SentencePieceVocabulary(small_vocabulary_file)
    for _ in range(2):
        vocabulary = vocabularies.t5_vocabulary()
        assert vocabulary.encode("Oil floats") == there.encode("Oil floats")
        assert vocabulary.encode_tf("Oil floats").numpy().tolist() == there.encode("Oil floats")
    assert server.asked == ("/vocab.model",)


def test_half_a_file_is_not_kept(server):
    server.n_missing = 5
    with pytest.raises(vocabularies.VocabularyError, match=r"vocab.model' cannot be read \(ConnectionError.*broke off"):
        vocabularies.LazyVocabulary(_address(server)).encode("a")
    assert not (cache_dir() / "vocabularies").exists()
    server.n_missing = 0
    assert vocabularies.LazyVocabulary(_address(server)).encode("a")


def test_an_address_without_the_file_says_so(server):
    with pytest.raises(vocabularies.VocabularyError, match=r"none.model' cannot be read .*404.*Set DOA_T5_VOCAB"):
        vocabularies.T5Vocabulary(_address(server, "none.model")).encode("a")


def test_a_storage_out_of_reach_fails_at_once_with_the_fix(server, monkeypatch):
    server.shutdown()
    server.server_close()
    monkeypatch.setattr(vocabularies, "_STORAGE", _address(server, ""))
    monkeypatch.delenv("DOA_T5_VOCAB", raising=False)
    began = time.monotonic()
    with pytest.raises(
        vocabularies.VocabularyError,
        match=r"'gs://t5-data/\S+' cannot be read \(URLError.*Set DOA_T5_VOCAB to a copy: gs://\S+ is public.*curl -O",
    ):
        vocabularies.t5_vocabulary().encode("a")
    assert time.monotonic() - began < 5


def test_a_missing_file_is_named_with_the_fix(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_T5_VOCAB", str(tmp_path / "t5.model"))
    with pytest.raises(vocabularies.VocabularyError, match=r"t5.model' cannot be read .*Set DOA_T5_VOCAB to a copy"):
        vocabularies.t5_vocabulary().encode("a")


def test_a_file_that_is_no_vocabulary_is_named(tmp_path):
    (tmp_path / "no.model").write_bytes(b"no vocabulary")
    with pytest.raises(vocabularies.VocabularyError, match=r"no.model' cannot be read"):
        vocabularies.T5Vocabulary(str(tmp_path / "no.model")).encode("a")


def test_it_equals_a_plain_vocabulary_of_its_address_and_travels_to_other_processes(small_vocabulary_file):
    vocabulary = vocabularies.T5Vocabulary(small_vocabulary_file)
    before = pickle.dumps(vocabulary)
    assert vocabulary.encode("Oil") == pickle.loads(before).encode("Oil")
    assert vocabulary == seqio.SentencePieceVocabulary(small_vocabulary_file)
    assert vocabulary != seqio.SentencePieceVocabulary(small_vocabulary_file, extra_ids=3)


def test_a_learnt_vocabulary_has_t5s_form():
    text = [f"the {word} sat on the mat" for word in ("cat", "dog", "ox")] * 5
    learnt = vocabularies.learn(text, 40, n_sentinels=3)
    assert learnt == vocabularies.learn(iter(text), 40, n_sentinels=3)
    assert learnt != vocabularies.learn(text, 40)


def test_sentinels_count_downwards_from_the_last_piece(small_vocabulary_file):
    vocabulary = vocabularies.T5Vocabulary(small_vocabulary_file)
    last = vocabulary.vocab_size - 1
    assert vocabulary.encode("<extra_id_0>")[-1] == last
    assert vocabulary.encode("<extra_id_99>")[-1] == last - 99
    assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.unk_id) == (0, 1, 2)


def test_small_vocabulary_of_tasks_is_written_whole(released, tmp_path, capsys):
    path = tmp_path / "new" / "vocab.model"
    small_vocabulary.main([str(path), "fever", "wlp", "--pieces", "90"])
    assert int(capsys.readouterr().out) == vocabularies.T5Vocabulary(str(path)).vocab_size == 190
    assert os.listdir(path.parent) == ["vocab.model"]
    assert vocabularies.T5Vocabulary(str(path)).decode(
        vocabularies.T5Vocabulary(str(path)).encode("SUPPORTS")
    ) == "SUPPORTS"  # fmt: skip
