"""A store on disk: resumed at the last whole shard, shared by hosts, flat in memory, and damage is named."""

import dataclasses
import itertools
import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_or_annotate.capture import collecting, frames, header, records, writer

_HEADER = header.Header(
    kind="topk",
    task="pool",
    split="train",
    temperature=2.0,
    k=4,
    dtype="float16",
    padding="masked",
    targets_rule="greedy",
    labels=(),
    input_tokens=8,
    target_tokens=8,
    counts_start=False,
    batch_size=2,
    shard_examples=10,
    vocab_size=100,
    vocabulary={"size": 100, "sha256": "v"},
    teacher={"checkpoint": None, "step": 3, "fingerprint": "f", "sizes": {"emb_dim": 16}},
)


def _examples(count):
    return (records.Example(f"text {i}", np.array([i % 90 + 2, 1], np.int32)) for i in range(count))


def _capture(examples, first):
    for index, example in enumerate(examples, start=first):
        length = 1 + index % 3
        rng = np.random.default_rng(index)
        kept = {
            collecting.TOPK_IDS: rng.integers(0, 100, (length, 4)),
            collecting.TOPK_LOGPROBS: rng.normal(size=(length, 4)).astype(np.float16),
            collecting.TAIL_LOGMASS: rng.normal(size=length).astype(np.float16),
        }
        yield records.Record(index, False, example.text, example.inputs, example.inputs, "t", 9, -1.5, kept)


def _read(folder):
    types = records.feature_types(header.read(folder))
    for index in writer.indices(folder):
        for frame in frames.read_frames(folder / index.file):
            yield records.parse(frame[12:-4], types)


def _fill(folder, count, store=_HEADER, **hosts):
    with writer.StoreWriter(folder, store, **hosts) as out:
        return writer.write_all(out, _examples(count), _capture)


def test_every_example_comes_back_as_it_was(tmp_path):
    assert _fill(tmp_path, 25) == 25
    found = list(_read(tmp_path))
    assert [record.index for record in found] == list(range(25))
    for record, expected in zip(found, _capture(_examples(25), 0), strict=True):
        np.testing.assert_array_equal(record.inputs, expected.inputs)
        assert record.text == expected.text and record.log_probability == -1.5 and record.batch_length == 9
        for name, values in expected.kept.items():
            np.testing.assert_array_equal(record.kept[name], values)
    assert header.read(tmp_path).counts["examples"] == 25
    assert writer.verify(tmp_path) == []


def test_a_stopped_capture_goes_on_at_the_first_shard_that_is_not_whole(tmp_path):
    captured = []

    def stopping(examples, first):
        if first == 20 and len(captured) == 2:
            raise KeyboardInterrupt
        captured.append(first)
        return _capture(examples, first)

    with pytest.raises(KeyboardInterrupt), writer.StoreWriter(tmp_path, _HEADER) as out:
        writer.write_all(out, _examples(35), stopping)
    assert header.read(tmp_path).counts is None
    assert any("not finished (2 whole shards)" in line for line in writer.verify(tmp_path))
    captured.append("resumed")
    with writer.StoreWriter(tmp_path, _HEADER) as out:
        writer.write_all(out, _examples(35), stopping)
    assert captured == [0, 10, "resumed", 20, 30]
    assert [record.index for record in _read(tmp_path)] == list(range(35))


def test_a_shard_without_its_index_is_made_again(tmp_path):
    _fill(tmp_path, 25)
    before = (tmp_path / "part-00001.tfrecord").read_bytes()
    (tmp_path / "part-00001.json").unlink()
    (tmp_path / "part-00001.tfrecord").write_bytes(before[:50])
    _fill(tmp_path, 25)
    assert (tmp_path / "part-00001.tfrecord").read_bytes() == before
    assert writer.verify(tmp_path) == []


@settings(max_examples=8, deadline=None)
@given(count=st.integers(1, 45), n_hosts=st.integers(1, 4), order=st.randoms(use_true_random=False))
def test_hosts_share_a_store_without_talking(tmp_path_factory, count, n_hosts, order):
    folder = tmp_path_factory.mktemp("store")
    hosts = list(range(n_hosts))
    order.shuffle(hosts)
    for number, host in enumerate(hosts):
        assert (header.read(folder).counts if number else None) is None or number * 10 >= count
        _fill(folder, count, host=host, n_hosts=n_hosts)
    assert [record.index for record in _read(folder)] == list(range(count))
    assert header.read(folder).counts["examples"] == count


def test_memory_stays_flat_over_a_hundred_thousand_examples(tmp_path, monkeypatch):
    """What is alive between shards must not grow with their number; serializing is left out, it is not what grows."""
    record = next(iter(_capture(_examples(1), 0)))
    blob = b"x" * 64
    monkeypatch.setattr(records, "serialize", lambda *_: blob)
    store = dataclasses.replace(_HEADER, shard_examples=1000)
    alive, held = [], []

    def capture(examples, first):
        alive.append(tracemalloc.get_traced_memory()[0])
        for index in range(first, first + len(examples)):
            yield dataclasses.replace(record, index=index)

    tracemalloc.start()
    try:
        with writer.StoreWriter(tmp_path, store) as out:
            assert writer.write_all(out, _examples(100_000), capture, held.append) == 100_000
    finally:
        tracemalloc.stop()
    assert len(alive) == 100 and len(held) == 100
    # One shard of examples is alive at each call, never more.
    assert max(alive[50:]) - min(alive[2:50]) < 0.5 * 2**20


@pytest.mark.parametrize("place", ["first", "length", "middle", "last"])
def test_a_flipped_byte_is_found_and_named(tmp_path, place):
    _fill(tmp_path, 25)
    index = writer.indices(tmp_path)[1]
    number = {"first": 0, "length": 3, "middle": 4, "last": 9}[place]
    start = sum(index.frame_bytes[:number])
    offset = start + {"first": 20, "length": 1, "middle": 40, "last": index.frame_bytes[9] - 1}[place]
    path = tmp_path / index.file
    damaged = bytearray(path.read_bytes())
    damaged[offset] ^= 1
    path.write_bytes(damaged)
    (line,) = writer.verify(tmp_path)
    end = start + index.frame_bytes[number] - 1
    assert line == f"{path}: record {number} (example {10 + number}, bytes {start} to {end}) is damaged."


def test_what_is_missing_is_named(tmp_path):
    _fill(tmp_path, 25)
    (tmp_path / "part-00002.tfrecord").unlink()
    (tmp_path / "part-00000.json").unlink()
    found = " ".join(writer.verify(tmp_path))
    assert "part-00002.tfrecord: missing (5 examples from 20 on)" in found
    assert "part-00000.tfrecord: its index is missing" in found


def test_another_capture_in_the_same_folder_is_refused_by_field(tmp_path):
    _fill(tmp_path, 5)
    with pytest.raises(header.StoreError, match=r"temperature was 2.0, is 1.0.*Fix: give another folder"):
        writer.StoreWriter(tmp_path, dataclasses.replace(_HEADER, temperature=1.0))


def test_two_processes_of_one_host_are_kept_apart(tmp_path):
    with writer.StoreWriter(tmp_path, _HEADER):
        with pytest.raises(header.StoreError, match="being written by another process"):
            writer.StoreWriter(tmp_path, _HEADER)
        writer.StoreWriter(tmp_path, _HEADER, host=1, n_hosts=2).close()
    with pytest.raises(header.StoreError, match="host is 2; allowed: 0 to 1"):
        writer.StoreWriter(tmp_path, _HEADER, host=2, n_hosts=2)


def test_records_out_of_turn_are_refused(tmp_path):
    with (
        writer.StoreWriter(tmp_path, _HEADER) as out,
        pytest.raises(header.StoreError, match="example 1 stands where 0"),
    ):
        out.write(0, itertools.islice(_capture(_examples(3), 0), 1, None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "tops"}, "kind is 'tops'; allowed: hidden, topk, full"),
        ({"padding": "mask"}, "padding is 'mask'; allowed: masked, counted"),
        ({"k": 0}, "k is 0; a store of kind 'topk' needs 1 to vocab_size"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be above 0"),
        ({"batch_size": 0}, "batch_size is 0; at least 1"),
        ({"padding": "counted", "targets_rule": "labels"}, "targets_rule='labels' cannot go with padding='counted'"),
        ({"padding": "counted", "batch_size": 3}, "shard_examples is 10; in padding='counted' it must be a multiple"),
    ],
)
def test_a_header_that_fits_nothing_is_refused(change, message):
    with pytest.raises(header.StoreError, match=message):
        dataclasses.replace(_HEADER, **change)


def test_another_temperature_names_the_kind_that_serves_it():
    _HEADER.check_temperature(2.0)
    with pytest.raises(header.StoreError, match="kind 'hidden', which serves every temperature"):
        _HEADER.check_temperature(1.0)
    dataclasses.replace(_HEADER, kind="hidden", k=0, dtype="bfloat16").check_temperature(1.0)


def test_a_folder_that_is_no_store_is_named_with_its_neighbours(tmp_path):
    _fill(tmp_path / "mini_store", 3)
    with pytest.raises(header.StoreError, match=r"has no header.json. Near: mini_store. Fix"):
        header.read(tmp_path / "mini_stor")
    path = tmp_path / "mini_store" / "header.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "format_version": 99}))
    with pytest.raises(header.StoreError, match="format_version is 99; this program reads 1"):
        header.read(tmp_path / "mini_store")
    path.write_text("{")
    with pytest.raises(header.StoreError, match="is damaged"):
        header.read(tmp_path / "mini_store")
