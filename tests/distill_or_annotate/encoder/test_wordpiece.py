"""WordPiece ids: [CLS] and [SEP] around, cut at a length of ours and not at the file's."""

import pytest
import tiny_encoder

from distill_or_annotate.encoder.config import EncoderError
from distill_or_annotate.encoder.wordpiece import WordPiece


def test_words_are_cut_into_pieces_between_the_two_marks(tiny):
    pieces = WordPiece(tiny)
    ids = pieces.ids("Rain stopped play.", 20)
    assert [tiny_encoder.WORDS[i] for i in ids] == ["[CLS]", "rain", "stop", "##ped", "play", ".", "[SEP]"]
    assert pieces.ids("", 20).tolist() == [pieces.cls_id, pieces.sep_id]


def test_a_long_text_is_cut_and_still_ends(tiny):
    pieces = WordPiece(tiny)
    long = "play " * 300
    assert pieces.ids(long, 7).tolist() == [2, 7, 7, 7, 7, 7, 3]
    assert len(pieces.ids(long, 1000)) == 302
    assert [ids.tolist() for ids in pieces.batch(["play now", long], 4)] == [[2, 7, 13, 3], [2, 7, 7, 3]]


def test_the_lengths_that_minilms_file_brings_do_not_hold(minilm):
    ids = WordPiece(minilm).batch(["rain " * 200, "rain"], 512)
    assert [len(row) for row in ids] == [202, 3]


def test_lengths_are_those_of_whole_texts(tiny):
    assert WordPiece(tiny).lengths(["play " * 300, "", "play now"]).tolist() == [302, 2, 4]
    assert WordPiece(tiny).lengths([]).shape == (0,)


def test_more_pieces_than_the_weights_have_rows_are_refused(tiny):
    n_pieces = WordPiece(tiny).n_pieces
    assert WordPiece(tiny, n_pieces).n_pieces == n_pieces
    with pytest.raises(EncoderError, match=rf"{n_pieces} pieces, and the weights beside it have embeddings for"):
        WordPiece(tiny, n_pieces - 1).ids("play", 5)


def test_a_folder_without_a_tokenizer_or_with_another_ones_is_refused(tmp_path):
    with pytest.raises(EncoderError, match=r"no tokenizer.json or vocab.txt in .*Fix"):
        WordPiece(tmp_path)
    (tmp_path / "vocab.txt").write_text("a\nb\n[UNK]\n[CLS]\n[SEP]\n")
    with pytest.raises(EncoderError, match="Fix"):
        WordPiece(tmp_path).ids("a", 5)
