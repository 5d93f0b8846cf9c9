"""What a task says of broken data in the data folder, before anything is trained on it."""

import json

import pytest
import seqio

from distill_or_annotate.metrics.classification import UnknownLabels
from distill_or_annotate.preprocess.rows import RowError
from distill_or_annotate.tasks import registry, variants


@pytest.fixture
def released(tmp_path, monkeypatch):
    """Writes `fever_<split>_all.json` files into a data folder of their own."""
    monkeypatch.setenv("DOA_DATA_DIR", str(tmp_path))

    def write(split, targets):
        lines = [json.dumps({"source": f"Tea {i} is hot.", "target": target}) for i, target in enumerate(targets)]
        (tmp_path / f"fever_{split}_all.json").write_text("\n".join(lines), encoding="utf-8")

    return write


def _source(task):
    registry.get(task)
    return seqio.TaskRegistry.get(task).source


def test_unknown_labels_are_listed_with_the_nearest_before_training(released):
    released("train", ["SUPPORTS", "REFUTES", "SUPORTS", "suports", "", "Supports"] * 3)
    with pytest.raises(UnknownLabels) as error:
        _source("fever_paper").get_dataset("train")
    assert str(error.value) == (
        "split 'train' of task 'fever_paper': target: 'SUPORTS' (6 rows, nearest 'SUPPORTS'), '' (3 rows) not among "
        "the labels ('REFUTES', 'SUPPORTS'). Fix the rows, or add the label."
    )
    with pytest.raises(UnknownLabels, match=r"split 'train' of task 'fever_paper_n5_s3': target: '(?i:suports)'"):
        _source(variants.labelled("fever_paper", 5, 3)).get_dataset("train")
    # What looks at the data without training on it still can.
    assert len(registry.rows("fever_paper", "train")) == 18


def test_labels_of_a_pool_are_not_asked_for(released):
    released("train", ["SUPPORTS", "REFUTES"])
    released("unlabeled", ["", "", ""])
    assert _source("fever_paper").num_input_examples("unlabeled") == 3
    assert _source(variants.unlabeled("fever_paper", 3)).num_input_examples("train") == 3


def test_malformed_row_is_named_by_file_and_line(released, tmp_path):
    released("train", ["SUPPORTS", "REFUTES"])
    with (tmp_path / "fever_train_all.json").open("ab") as file:
        file.write(b'\n{"source": "Th\xe9 is hot.", "target": "REFUTES"}\n')
    with pytest.raises(RowError, match=r"fever_train_all\.json, line 3, field 'encoding': byte 0xe9 at column 15"):
        registry.rows("fever", "train")
