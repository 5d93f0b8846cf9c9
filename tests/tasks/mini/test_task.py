"""The SeqIO side of the embedded tasks, pre-training included."""

import itertools

import pytest
import seqio

from distill_or_annotate.tasks import registry
from distill_or_annotate.tasks.mini import splits, vocabulary


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "rows_cache"))


def _examples(name, n, split="test", seed=0):
    registry.get("mini")
    task = seqio.get_mixture_or_task(name)
    dataset = task.get_dataset({"inputs": 20, "targets": 20}, split, shuffle=False, seed=seed, use_cached=False)
    return list(itertools.islice(dataset.as_numpy_iterator(), n))


def _text(ids):
    assert ids[-1] == 1, "no end of sequence"
    return vocabulary.vocabulary().tokenizer.decode(ids[:-1].tolist())


@pytest.mark.parametrize(("name", "rows"), [("mini", splits.mini_rows), ("mini_cls", splits.mini_cls_rows)])
def test_examples_are_the_rows_in_order(name, rows):
    examples = _examples(name, 50)
    assert [(_text(e["inputs"]), _text(e["targets"])) for e in examples] == [
        (row["source"], row["target"]) for row in rows("test")[:50]
    ]


def test_copies_have_the_corpus_as_targets_and_noise_as_inputs():
    examples = _examples("mini_pretrain_copies", 40, "train")
    assert [_text(e["targets"]) for e in examples] == [row["source"] for row in splits.mini_rows("pretrain")[:40]]
    mask = vocabulary.N_PIECES
    assert sum(mask in e["inputs"] for e in examples) > 30


def test_spans_have_sentinels_in_inputs_and_targets_and_end():
    first_sentinel = vocabulary.N_PIECES + vocabulary.N_SENTINELS - 1
    for example in _examples("mini_pretrain_spans", 40, "train"):
        assert first_sentinel in example["inputs"]
        assert example["targets"][0] == first_sentinel and example["targets"][-1] == 1


def test_mixture_has_half_of_each():
    mixture = seqio.get_mixture_or_task("mini_pretrain")
    dataset = mixture.get_dataset({"inputs": 20, "targets": 20}, "train", shuffle=False, seed=0, num_epochs=None)
    first_sentinel = vocabulary.N_PIECES + vocabulary.N_SENTINELS - 1
    spans = sum(e["targets"][0] == first_sentinel for e in itertools.islice(dataset.as_numpy_iterator(), 400))
    # Binomial(400, 1/2): standard deviation 10.
    assert 150 < spans < 250
