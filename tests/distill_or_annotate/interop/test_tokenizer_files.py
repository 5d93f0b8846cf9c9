"""The tokenizer's files fit the model and keep sentencepiece's way of splitting."""

import json

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from distill_or_annotate.interop import tokenizer_files
from distill_or_annotate.tasks.mini import splits, vocabulary


def test_sentinels_fill_the_embedding_and_sentencepiece_splits_as_before(tmp_path):
    assert tokenizer_files.copy(vocabulary.PATH, tmp_path, 1024) == ["spiece.model", "tokenizer_config.json"]
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert settings["extra_ids"] == 24 and settings["additional_special_tokens"][-1] == "<extra_id_23>"
    before, after = (
        sentencepiece.SentencePieceProcessor(model_file=str(path))
        for path in (vocabulary.PATH, tmp_path / "spiece.model")
    )
    rows = [row["source"] for row in splits.mini_rows("test")[:200]]
    assert before.encode(rows) == after.encode(rows)


def test_user_defined_pieces_get_the_score_that_sentencepiece_gives_them(tmp_path):
    """transformers reads pieces and scores only; at the file's 0.0 it would split words into letters."""
    tokenizer_files.copy(vocabulary.PATH, tmp_path, 1024)
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString((tmp_path / "spiece.model").read_bytes())
    scores = {piece.score for piece in model.pieces if piece.type == 4}
    assert [round(score, 6) for score in scores] == [-0.1]


def test_a_padded_embedding_gets_no_more_than_a_hundred_sentinels(tmp_path):
    tokenizer_files.copy(vocabulary.PATH, tmp_path, 1128)
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["extra_ids"] == 100


def test_a_folder_is_copied_as_it_is(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    for name in ("spiece.model", "tokenizer.json"):
        (tmp_path / "from" / name).write_bytes(name.encode())
    assert tokenizer_files.copy(tmp_path / "from", tmp_path / "to", 10) == ["spiece.model", "tokenizer.json"]
    assert (tmp_path / "to" / "tokenizer.json").read_bytes() == b"tokenizer.json"


def test_a_vocabulary_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has 1000 pieces .*; a T5 of 999 rows wants at most that many"):
        tokenizer_files.copy(vocabulary.PATH, tmp_path, 999)
    (tmp_path / "other").write_bytes(b"\xff\xff no model")
    with pytest.raises(ValueError, match="is no sentencepiece model"):
        tokenizer_files.copy(tmp_path / "other", tmp_path, 999)
    with pytest.raises(FileNotFoundError, match="no tokenizer at"):
        tokenizer_files.copy(tmp_path / "absent", tmp_path, 999)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds none of spiece\.model"):
        tokenizer_files.copy(tmp_path / "empty", tmp_path, 999)
