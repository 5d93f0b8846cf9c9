"""WLP from its released file: official rows with T5's vocabulary, and the split of our own for mini models."""

import dataclasses
import json
import os
import pathlib

import pytest
import sentencepiece
import seqio

import gin
from distill_or_annotate.metrics import floors
from distill_or_annotate.preprocess.rows import DataFolderError
from distill_or_annotate.preprocess.text import source_key
from distill_or_annotate.tasks import registry, variants, wlp
from distill_or_annotate.tasks.vocabularies import VocabularyError

RELEASED = pathlib.Path(
    os.environ.get("DOA_DATA_DIR") or pathlib.Path(__file__).parents[3] / "shared" / "data" / "released"
)
MIX = {"source": "Mix reagents completely.", "target": "Mix [Action] reagents [Reagent] completely [Modifier]"}
ROWS = [MIX, {"source": "Note", "target": ""}] + [
    {"source": f"Wait {i % 100} min.", "target": f"{i % 100} min [{'Time' if i < 200 else 'Amount'}]"}
    for i in range(300)
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "wlp_train_all.json").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


@pytest.fixture(scope="module")
def vocabulary_file(tmp_path_factory):
    prefix = tmp_path_factory.mktemp("vocab") / "vocab"
    sentencepiece.SentencePieceTrainer.Train(
        sentence_iterator=iter([f"wlp: {row['source']} {row['target']}" for row in ROWS]),
        model_prefix=str(prefix), vocab_size=120, hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        minloglevel=2,
    )  # fmt: skip
    return f"{prefix}.model"


def _rows(dataset):
    return [(row["inputs_pretokenized"].decode(), row["targets_pretokenized"].decode()) for row in dataset]


def test_row_reads_as_the_docstring_says(folder, vocabulary_file):
    spec = dataclasses.replace(
        registry.get("wlp_paper"),
        name="wlp_released",
        vocabulary=lambda: seqio.SentencePieceVocabulary(vocabulary_file),
    )
    task = seqio.get_mixture_or_task(registry.register(spec))
    assert tuple(task.splits) == ("train",)
    dataset = task.get_dataset(spec.lengths(), "train", shuffle=False).take(2).as_numpy_iterator()
    assert _rows(dataset) == [(f"wlp: {MIX['source']}", MIX["target"]), ("wlp: Note", "")]
    assert registry.scorer("wlp").scores([MIX["target"]], ["Mix [Action] reagents [Device]"])["entity_f1"] == 40.0


def test_official_splits_are_those_whose_files_are_there(folder):
    (folder / "wlp_dev_all.json").write_text(json.dumps(MIX))
    assert tuple(seqio.get_mixture_or_task("wlp").splits) == ("train", "validation")
    assert registry.rows("wlp", "validation") == [MIX]
    with pytest.raises(ValueError, match=r"split: 'test' of task 'wlp' is not one of \('train', 'validation'\)"):
        registry.rows("wlp", "test")


def test_own_splits_share_no_source_and_lose_none(folder):
    parts = {split: registry.rows("wlp_mini", split) for split in ("train", "validation", "test", "unlabeled")}
    keys = {split: {source_key(row["source"]) for row in rows} for split, rows in parts.items()}
    assert not keys["train"] & keys["test"] and not keys["train"] & keys["validation"]
    assert not keys["validation"] & keys["test"]
    assert keys["train"] | keys["validation"] | keys["test"] == {source_key(row["source"]) for row in ROWS}
    assert keys["unlabeled"] == keys["train"] and len(parts["unlabeled"]) == len(keys["train"])
    assert all(len(parts[split]) == len(keys[split]) > 0 for split in ("validation", "test"))
    # Two of the three rows of each of the sources say Time.
    assert all("[Amount]" not in row["target"] for row in parts["test"])


def test_extra_text_widens_the_pool_but_never_with_evaluation_sources(folder, monkeypatch):
    held_out = registry.rows("wlp_mini", "test")[0]["source"]
    n_before = len(registry.rows("wlp_mini", "unlabeled"))
    wlp._mini_splits.cache_clear()
    (folder / "wlp_unlabeled.txt").write_text(f"Centrifuge it.\n\n{held_out.upper()}\nNote\n")
    pool = [row["source"] for row in registry.rows("wlp_mini", "unlabeled")]
    assert "Centrifuge it." in pool and held_out.upper() not in pool
    assert len(pool) == n_before + 1
    wlp._mini_splits.cache_clear()


def test_vocabularies_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("DOA_WLP_VOCAB", raising=False)
    with pytest.raises(VocabularyError, match=r"pretrained/wlp/vocab.model' cannot be read .*make pretrain-wlp"):
        wlp.mini_vocabulary().encode("a")


def test_no_data_folder_is_an_error_that_names_the_fix(monkeypatch):
    monkeypatch.delenv("DOA_DATA_DIR", raising=False)
    with pytest.raises(DataFolderError, match="DOA_DATA_DIR is not set"):
        registry.rows("wlp_mini", "train")


def test_variants_are_values_in_gin():
    config = """
from __gin__ import dynamic_registration
from distill_or_annotate.tasks import variants
import distill_or_annotate.tasks.wlp
labelled = @gold/variants.labelled()
gold/variants.labelled.task = 'wlp_mini'
gold/variants.labelled.n_labels = 77
"""
    with gin.unlock_config():
        gin.clear_config()
        gin.parse_config(config)
        assert gin.query_parameter("%labelled").scoped_configurable_fn() == "wlp_mini_n77_s0"
        gin.clear_config()
    assert "wlp_mini_n77_s0" in seqio.TaskRegistry.names()


def test_common_sizes_are_plain_names():
    assert {"wlp_n1000_s0", "wlp_mini_n100_s4", "wlp_mini_u4000", "wlp_u100000"} <= set(seqio.TaskRegistry.names())


@pytest.mark.skipif(not (RELEASED / "wlp_train_all.json").exists(), reason="the released WLP file is not here")
def test_released_file_has_the_known_counts_and_the_known_floor(monkeypatch):
    monkeypatch.setenv("DOA_DATA_DIR", str(RELEASED))
    rows = registry.rows("wlp", "train")
    assert len(rows) == 14271
    assert len({row["source"] for row in rows}) == 9958
    assert sum(not row["target"] for row in rows) == 139
    test = registry.rows("wlp_mini", "test")
    scorer = registry.scorer("wlp_mini")
    for n_labels, expected in ((100, 41), (1000, 60)):
        train = registry.rows(variants.labelled("wlp_mini", n_labels, 0), "train")
        predictions = floors.lookup_floor(test, train, scorer.labels)
        score = scorer.scores([row["target"] for row in test], predictions)["entity_f1"]
        assert score == pytest.approx(expected, abs=3)
