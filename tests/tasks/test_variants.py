"""Names of variants stand for nested, seeded subsets, and for the pool as a teacher labelled it."""

import dataclasses
import itertools
import json

import pytest
import seqio
from hypothesis import given, settings
from hypothesis import strategies as st

import gin
from distill_or_annotate.tasks import registry, variants
from distill_or_annotate.tasks.spec import TaskSpec

TASK = "grown"
ROWS = {
    "train": [{"source": f"label {i}", "target": f"t{i}"} for i in range(60)],
    "validation": [{"source": "dev 0", "target": "d"}],
    "test": [{"source": "test 0", "target": "t"}, {"source": "test 1", "target": "u"}],
    # The targets stand for an embedded task, which knows the answers.
    "unlabeled": [{"source": f"pool {i}", "target": "hidden"} for i in range(30)]
    + [{"source": "TEST  0", "target": ""}, {"source": "dev 0", "target": ""}],
}


@pytest.fixture(autouse=True)
def _task(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path / "cache"))
    registry.register(
        TaskSpec(
            TASK,
            version=1,
            rows=ROWS.__getitem__,
            vocabulary=seqio.ByteVocabulary,
            input_tokens=32,
            target_tokens=16,
            metric="entity_f1",
            labels=("Action",),
            prefix="grown: ",
        )
    )


def _train(name):
    return [row["source"] for row in registry.rows(name, "train")]


def _predictions(path, sources, answer="p:{}".format):
    lines = [{"inputs": {"inputs_pretokenized": f"grown: {s}"}, "prediction": answer(s)} for s in sources]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@settings(deadline=None, max_examples=60)
@given(sizes=st.tuples(st.integers(1, 60), st.integers(1, 60)), seed=st.integers(0, 10**6))
def test_smaller_label_sets_lie_inside_larger_ones(sizes, seed):
    small, large = (_train(variants.labelled(TASK, n, seed)) for n in sorted(sizes))
    assert large[: len(small)] == small
    assert len(set(large)) == len(large) == max(sizes)


def test_seeds_give_different_labels_and_the_same_seed_the_same():
    subsets = [tuple(_train(variants.labelled(TASK, 20, seed))) for seed in range(5)]
    assert len(set(subsets)) == 5
    assert tuple(_train(variants.labelled(TASK, 20, 0))) == subsets[0]


def test_order_is_the_same_in_each_version():
    # Written down, since stored results name variants: a change here changes what their names mean.
    assert _train(variants.labelled(TASK, 4, 0)) == ["label 24", "label 9", "label 11", "label 57"]


def test_evaluation_splits_are_the_base_tasks():
    for name in (variants.labelled(TASK, 3, 1), variants.unlabeled(TASK, 3)):
        task = seqio.get_mixture_or_task(name)
        assert set(task.splits) >= {"train", "validation", "test"}
        dataset = task.get_dataset({"inputs": 32, "targets": 16}, "test", shuffle=False)
        assert [row["inputs_pretokenized"].numpy() for row in dataset] == [b"grown: test 0", b"grown: test 1"]


def test_pool_is_a_prefix_without_evaluation_sources_and_without_answers():
    assert variants.pool(TASK).n_excluded == 2
    rows = registry.rows(variants.unlabeled(TASK, 30), "unlabeled")
    assert [row["source"] for row in rows] == [f"pool {i}" for i in range(30)]
    assert {row["target"] for row in rows} == {""}
    assert registry.rows(variants.unlabeled(TASK, 7), "train") == rows[:7]


def test_pseudo_labels_are_the_predictions_for_the_first_of_the_pool(tmp_path):
    path = _predictions(tmp_path / "p.jsonl", [f"pool {i}" for i in reversed(range(30))])
    name = variants.pseudo(TASK, path, 5)
    assert name.startswith("grown_pseudo_u5_")
    assert registry.rows(name, "train") == [{"source": f"pool {i}", "target": f"p:pool {i}"} for i in range(5)]
    assert seqio.get_mixture_or_task(name).num_input_examples("train") == 5


def test_several_shards_of_predictions_are_one(tmp_path):
    one = _predictions(tmp_path / "p.jsonl-00000-of-00002", ["pool 0", "pool 2"])
    _predictions(tmp_path / "p.jsonl-00001-of-00002", ["pool 1"])
    (tmp_path / "p.jsonl-00000-of-00002.COMPLETED").touch()
    by_glob = variants.pseudo(TASK, str(tmp_path / "p.jsonl-*"), 3)
    assert _train(by_glob) == ["pool 0", "pool 1", "pool 2"]
    assert variants.pseudo(TASK, [one, tmp_path / "p.jsonl-00001-of-00002"], 3) == by_glob


def test_gold_rows_are_mixed_in_as_often_as_asked(tmp_path):
    path = _predictions(tmp_path / "p.jsonl", [f"pool {i}" for i in range(30)])
    gold = variants.labelled(TASK, 4, 2)
    sources = _train(variants.pseudo(TASK, path, 20, gold=gold, gold_repeats=3))
    assert sorted(sources) == sorted([f"pool {i}" for i in range(20)] + 3 * _train(gold))
    assert sources[:20] != [f"pool {i}" for i in range(20)]
    assert sources == _train(variants.pseudo(TASK, path, 20, gold=gold, gold_repeats=3))


def test_mixture_draws_gold_rows_at_the_rate_asked_for(tmp_path):
    path = _predictions(tmp_path / "p.jsonl", [f"pool {i}" for i in range(30)])
    pseudo, gold = variants.pseudo(TASK, path, 20), variants.labelled(TASK, 4, 2)
    name = variants.mixture(pseudo, gold, gold_rate=0.25)
    assert name.startswith(f"{pseudo}_mix_") and variants.mixture(pseudo, gold, 0.25) == name
    assert variants.mixture(pseudo, gold, 0.5) != name != variants.mixture(pseudo, variants.labelled(TASK, 5), 0.25)
    dataset = seqio.get_mixture_or_task(name).get_dataset(
        {"inputs": 32, "targets": 16}, "train", seed=0, num_epochs=None, copy_pretokenized=True
    )
    drawn = [row["inputs_pretokenized"].decode() for row in dataset.take(2000).as_numpy_iterator()]
    assert set(drawn) == {f"grown: {source}" for source in _train(pseudo) + _train(gold)}
    # Standard deviation of the share: (0.25 * 0.75 / 2000) ** 0.5 = 0.0097.
    assert sum(text.startswith("grown: label") for text in drawn) / 2000 == pytest.approx(0.25, abs=0.04)


def test_mixture_is_a_value_in_gin(tmp_path):
    path = _predictions(tmp_path / "p.jsonl", [f"pool {i}" for i in range(30)])
    config = f"""
from __gin__ import dynamic_registration
from distill_or_annotate.tasks import variants
MIXTURE_OR_TASK_NAME = @variants.mixture()
variants.mixture.pseudo_task = @variants.pseudo()
variants.mixture.gold = @variants.labelled()
variants.mixture.gold_rate = 0.25
variants.pseudo.task = '{TASK}'
variants.pseudo.predictions = '{path}'
variants.pseudo.n_unlabeled = 20
variants.labelled.task = '{TASK}'
variants.labelled.n_labels = 4
"""
    with gin.unlock_config():
        gin.clear_config()
        gin.parse_config(config)
        name = gin.query_parameter("%MIXTURE_OR_TASK_NAME").scoped_configurable_fn()
        gin.clear_config()
    assert name == variants.mixture(variants.pseudo(TASK, path, 20), variants.labelled(TASK, 4), 0.25)
    assert name in seqio.MixtureRegistry.names()


def test_mixture_of_two_tasks_or_at_no_rate_is_refused(tmp_path):
    pseudo = variants.pseudo(TASK, _predictions(tmp_path / "p.jsonl", [f"pool {i}" for i in range(30)]), 20)
    gold = variants.labelled(TASK, 4)
    for rate in (0, 1, "0.5", float("nan")):
        with pytest.raises(ValueError, match=r"gold_rate: .*above 0 and below 1"):
            variants.mixture(pseudo, gold, rate)
    registry.register(dataclasses.replace(registry.get(TASK), name="grown_elsewhere"))
    with pytest.raises(ValueError, match=r"belongs to 'grown_elsewhere', but '.*' to 'grown'"):
        variants.mixture(pseudo, variants.labelled("grown_elsewhere", 4))
    with pytest.raises(registry.UnknownTask, match="'grown_nn4_s0' is not registered"):
        variants.mixture(pseudo, "grown_nn4_s0")


def test_name_of_pseudo_labels_changes_with_what_determines_them(tmp_path):
    path = _predictions(tmp_path / "p.jsonl", [f"pool {i}" for i in range(30)])
    other = _predictions(tmp_path / "q.jsonl", [f"pool {i}" for i in range(30)], answer="q:{}".format)
    copied = _predictions(tmp_path / "copy.jsonl", [f"pool {i}" for i in range(30)])
    gold = {seed: variants.labelled(TASK, 4, seed) for seed in (0, 1)}
    names = [
        variants.pseudo(TASK, path, 5),
        variants.pseudo(TASK, path, 6),
        variants.pseudo(TASK, other, 5),
        variants.pseudo(TASK, path, 5, gold=gold[0]),
        variants.pseudo(TASK, path, 5, gold=gold[1]),
        variants.pseudo(TASK, path, 5, gold=gold[0], gold_repeats=2),
        variants.pseudo(TASK, path, 5, gold=gold[0], seed=1),
    ]
    assert all(a != b for a, b in itertools.combinations(names, 2))
    assert variants.pseudo(TASK, copied, 5) == names[0]


def test_missing_predictions_are_counted_and_named(tmp_path):
    path = _predictions(tmp_path / "p.jsonl", ["pool 0", "pool 1"])
    with pytest.raises(variants.PredictionsError, match=r"lack 2 of the first 4 sources.*'pool 2'.*grown_u4"):
        variants.pseudo(TASK, path, 4)
    with pytest.raises(variants.PredictionsError, match=r"run t5x\.infer first"):
        variants.pseudo(TASK, tmp_path / "none.jsonl", 4)


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"prediction": "x"}', '{"inputs": {"inputs_pretokenized": 3}, "prediction": ""}']
)
def test_unreadable_prediction_is_named_by_line(tmp_path, line):
    path = _predictions(tmp_path / "p.jsonl", ["pool 0"])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(variants.PredictionsError, match=r"p.jsonl, line 2: .*inputs_pretokenized"):
        variants.pseudo(TASK, path, 1)


def test_more_than_there_is_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="n_labels: 61 are asked for, but there are 60"):
        _train(variants.labelled(TASK, 61))
    with pytest.raises(ValueError, match=r"n_unlabeled: 31 are asked for, but there are 30 .*2 left out"):
        _train(variants.unlabeled(TASK, 31))
    with pytest.raises(ValueError, match="n_labels: 0; a whole number of at least 1"):
        variants.labelled(TASK, 0)


def test_default_sizes_are_plain_names_and_read_nothing(monkeypatch):
    read = []
    registry.register(
        TaskSpec(
            "lazy",
            version=1,
            rows=lambda split: read.append(split) or ROWS[split],
            vocabulary=seqio.ByteVocabulary,
            input_tokens=8,
            target_tokens=8,
            metric="entity_f1",
            labels=("Action",),
        )
    )
    names = variants.register_defaults("lazy", n_labels=(1, 2), n_unlabeled=(3,), seeds=range(2))
    assert names == ["lazy_n1_s0", "lazy_n1_s1", "lazy_n2_s0", "lazy_n2_s1", "lazy_u3"]
    assert set(names) <= set(seqio.TaskRegistry.names()) and not read


def test_any_name_of_the_form_can_be_resolved():
    assert variants.variant("grown_n17_s9") == "grown_n17_s9"
    assert len(_train("grown_n17_s9")) == 17
    assert variants.variant("grown_u9") == "grown_u9"
    with pytest.raises(registry.UnknownTask, match=r"task 'grwn' is not registered. Near names: .*grown"):
        variants.variant("grwn_n17_s9")
