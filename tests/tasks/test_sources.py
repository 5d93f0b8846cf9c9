"""Rows become a native data source: whole files only, any host count, iterators that can be saved."""

import os
import subprocess
import sys

import pytest
import seqio
import tensorflow as tf

from distill_or_annotate.tasks.sources import RowsDataSource, cache_dir, materialise

ROWS = [{"source": f"source {i} µ\u2028", "target": "" if i == 3 else f"target {i}"} for i in range(11)]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path / "cache"))


def _read(dataset):
    return [{key: value.decode() for key, value in row.items()} for row in dataset.as_numpy_iterator()]


def test_rows_come_back_whole_and_in_order():
    source = RowsDataSource(lambda split: ROWS, ("train",))
    assert _read(source.get_dataset("train")) == ROWS
    assert source.num_input_examples("train") == 11


def test_answers_are_those_of_the_row_or_its_target():
    rows = [*ROWS, {"source": "q?", "target": "a", "targets": ["a", "µ", ""]}]
    source = RowsDataSource(lambda split: rows, ("train",), several_answers=True)
    examples = list(source.get_dataset("train").as_numpy_iterator())
    assert examples[-1]["answers"].tolist() == [b"a", "µ".encode(), b""]
    assert [example["answers"].tolist() for example in examples[:-1]] == [[row["target"].encode()] for row in ROWS]
    assert _read(RowsDataSource(lambda split: rows, ("train",)).get_dataset("train"))[-1] == {
        "source": "q?", "target": "a",
    }  # fmt: skip


def test_bytes_of_a_row_without_several_answers_are_the_same_in_each_version():
    # Written down: the name of a file is its content, and caches are shared between versions.
    name = "561a513bcad00446fa463891c28d014a.tfrecord"
    assert materialise([{"source": "a", "target": "b"}]).name == name
    assert materialise([{"source": "a", "target": "b", "targets": ["b", "c"]}]).name != name


def test_shards_of_any_number_part_the_rows():
    source = RowsDataSource(lambda split: ROWS, ("train",))
    for n_shards in (1, 2, 3):
        shards = [_read(source.get_dataset("train", shard_info=seqio.ShardInfo(i, n_shards))) for i in range(n_shards)]
        assert all(shards)
        assert sorted(str(row) for shard in shards for row in shard) == sorted(map(str, ROWS))


def test_nothing_is_read_before_the_first_use():
    calls = []
    source = RowsDataSource(lambda split: calls.append(split) or ROWS, ("train",))
    assert source.splits == ("train",) and not calls
    source.list_shards("train")
    assert calls == ["train"]


def test_file_is_named_by_content_and_written_once():
    first = materialise(ROWS)
    written = first.stat().st_mtime_ns
    assert materialise([dict(row) for row in ROWS]) == first
    assert first.stat().st_mtime_ns == written
    assert materialise(ROWS[:-1]) != first
    assert sorted(os.listdir(cache_dir() / "rows")) == sorted({first.name, materialise(ROWS[:-1]).name})


def test_changed_rows_and_a_cleared_cache_are_noticed():
    current = [list(ROWS)]
    source = RowsDataSource(lambda split: current[0], ("train",))
    (before,) = source.list_shards("train")
    os.unlink(before)
    assert _read(source.get_dataset("train")) == ROWS
    current[0] = ROWS[:2]
    assert _read(source.get_dataset("train")) == ROWS[:2]


def test_failed_write_leaves_no_file(monkeypatch):
    class Full(Exception):
        pass

    def fail(*args):
        raise Full

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(Full):
        materialise(ROWS)
    assert not os.listdir(cache_dir() / "rows")


def test_concurrent_writers_leave_one_whole_file():
    program = (
        "from distill_or_annotate.tasks.sources import materialise\n"
        "print(materialise([{'source': str(i), 'target': 't' * 50} for i in range(2000)]))\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=os.environ.copy())
        for _ in range(2)
    ]
    paths = {writer.communicate(timeout=120)[0].strip() for writer in writers}
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(paths) == 1 and os.listdir(cache_dir() / "rows") == [os.path.basename(min(paths))]
    assert sum(1 for _ in tf.data.TFRecordDataset(list(paths))) == 2000


@pytest.mark.parametrize("shuffle", [False, True])
def test_iterator_of_a_task_resumes_where_it_was_saved(tmp_path, shuffle):
    feature = seqio.Feature(seqio.ByteVocabulary(), add_eos=True)
    task = seqio.Task(
        "resumes",
        RowsDataSource(lambda split: ROWS, ("train",)),
        preprocessors=[
            lambda dataset: dataset.map(lambda row: {"inputs": row["source"], "targets": row["target"]}),
            seqio.preprocessors.tokenize,
            seqio.preprocessors.append_eos,
        ],
        output_features={"inputs": feature, "targets": feature},
    )

    def iterator():
        return iter(task.get_dataset({"inputs": 32, "targets": 32}, "train", shuffle=shuffle, seed=1, num_epochs=2))

    original = iterator()
    for _ in range(5):
        next(original)
    path = tf.train.Checkpoint(iterator=original).write(str(tmp_path / "iterator"))
    rest = [row["inputs_pretokenized"].numpy() for row in original]
    restored = iterator()
    tf.train.Checkpoint(iterator=restored).read(path)
    assert [row["inputs_pretokenized"].numpy() for row in restored] == rest
    assert len(rest) == 2 * 11 - 5


def test_unknown_split_and_empty_split_are_refused():
    source = RowsDataSource(lambda split: [], ("train", "test"))
    with pytest.raises(ValueError, match=r"split: 'tset' is not one of \('train', 'test'\)"):
        source.get_dataset("tset")
    with pytest.raises(ValueError, match="split 'test' has no rows"):
        source.num_input_examples("test")
