"""A task is described once and registered once; what SeqIO then does with a row is what the description says."""

import dataclasses

import pytest
import seqio

from distill_or_annotate.tasks import registry, vocabularies
from distill_or_annotate.tasks.spec import TaskSpec

ROWS = {
    "train": [{"source": "Mix it.", "target": "Mix [Action]"}, {"source": "Stop.", "target": ""}],
    "test": [{"source": "Mix reagents.", "target": "Mix [Action] reagents [Reagent]"}],
}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DOA_CACHE_DIR", str(tmp_path))


def _spec(name, **changes):
    fields = {
        "version": 1,
        "rows": ROWS.__getitem__,
        "vocabulary": seqio.ByteVocabulary,
        "input_tokens": 24,
        "target_tokens": 16,
        "metric": "entity_f1",
        "labels": ("Action", "Reagent"),
        "prefix": "wlp: ",
        "splits": ("train", "test"),
    }
    return TaskSpec(name, **(fields | changes))


def test_row_becomes_prefixed_input_and_target_with_end_of_sequence():
    name = registry.register(_spec("spec_row"))
    rows = list(seqio.get_mixture_or_task(name).get_dataset({"inputs": 24, "targets": 16}, "train", shuffle=False))
    decode = seqio.ByteVocabulary().decode
    assert [row["inputs_pretokenized"].numpy().decode() for row in rows] == ["wlp: Mix it.", "wlp: Stop."]
    assert decode(rows[0]["targets"].numpy().tolist()) == "Mix [Action]"
    assert rows[0]["targets"].numpy()[-1] == 1
    assert rows[1]["targets"].numpy().tolist() == [1]


def test_truncated_sequences_still_end():
    name = registry.register(_spec("spec_trimmed"))
    (row,) = seqio.get_mixture_or_task(name).get_dataset({"inputs": 8, "targets": 8}, "test", shuffle=False)
    assert row["inputs"].shape == row["targets"].shape == (8,)
    assert row["inputs"].numpy()[-1] == row["targets"].numpy()[-1] == 1


def test_metric_of_the_seqio_task_is_the_metric_of_the_scorer():
    task = seqio.get_mixture_or_task(registry.register(_spec("spec_metric")))
    (metric,) = task.predict_metric_fns
    targets, predictions = ["Mix [Action] reagents [Reagent]"], ["Mix [Action]"]
    # 1 found, 1 predicted, 2 in the target: F1 2/3, precision 1, recall 1/2.
    expected = {"entity_f1": 200 / 3, "entity_precision": 100.0, "entity_recall": 50.0}
    assert metric(targets, predictions) == pytest.approx(expected)
    assert registry.scorer("spec_metric").scores(targets, predictions) == pytest.approx(expected)


def test_evaluator_of_seqio_scores_whole_targets_even_where_lengths_cut_them():
    name = registry.register(_spec("spec_evaluated", target_tokens=8))
    evaluator = seqio.Evaluator(
        name, feature_converter=seqio.EncDecFeatureConverter(pack=False), eval_split="test",
        sequence_length={"inputs": 24, "targets": 8},
    )  # fmt: skip
    vocabulary = seqio.ByteVocabulary()
    answer = vocabulary.encode("Mix [Action]")
    metrics, _ = evaluator.evaluate(
        compute_metrics=True, step=0, predict_fn=lambda dataset: [(i, answer) for i, _ in dataset.enumerate()]
    )
    assert metrics.result()[name]["entity_recall"] == 50.0


def test_metric_is_given_all_accepted_answers_where_the_task_has_several():
    rows = [
        {"source": "who?", "target": "Ann", "targets": ["Ann", "Ann Lee"]},
        {"source": "when?", "target": "1999"},
    ]
    seen = []

    def spy(targets, predictions):
        seen.append(targets)
        return {"n": len(predictions)}

    changes = {"rows": lambda split: rows, "metric": "token_f1", "labels": (), "metric_fns": (spy,)}
    answer = seqio.ByteVocabulary().encode("Lee")
    results = {}
    for name, several in (("spec_several", True), ("spec_one", False)):
        registry.register(_spec(name, several_answers=several, **changes))
        evaluator = seqio.Evaluator(
            name, feature_converter=seqio.EncDecFeatureConverter(pack=False), eval_split="test",
            sequence_length={"inputs": 24, "targets": 16},
        )  # fmt: skip
        metrics, _ = evaluator.evaluate(
            compute_metrics=True, step=0, predict_fn=lambda dataset: [(i, answer) for i, _ in dataset.enumerate()]
        )
        results[name] = metrics.result()[name]["token_f1"]
    assert seen == [[["Ann", "Ann Lee"], ["1999"]], ["Ann", "1999"]]
    # `Lee` against `Ann Lee`: precision 1, recall 1/2, F1 2/3; mean with the other row's 0.
    assert results == {"spec_several": pytest.approx(100 / 3), "spec_one": 0.0}


def test_truncations_are_counted_at_the_tasks_lengths():
    registry.register(_spec("spec_truncated", input_tokens=12, target_tokens=13))
    counted = registry.truncations("spec_truncated")
    # `wlp: Mix it.` takes 12 bytes and its end, `Mix [Action]` 12 and its end.
    assert (counted.n_rows, counted.n_sources_truncated, counted.n_targets_truncated) == (2, 1, 0)


def test_registering_twice_is_harmless_and_another_task_of_the_name_is_refused():
    spec = _spec("spec_twice")
    assert registry.register(spec) == registry.register(dataclasses.replace(spec)) == "spec_twice"
    with pytest.raises(ValueError, match="'spec_twice' is registered already, with version 1"):
        registry.register(dataclasses.replace(spec, version=2))
    # The same version with another prefix is another task too: the models would read other text.
    with pytest.raises(ValueError, match=r"registered already, with prefix '.*', input_tokens \d+; give"):
        registry.register(dataclasses.replace(spec, prefix="other: ", input_tokens=spec.input_tokens + 1))


def test_unknown_name_lists_near_ones():
    registry.register(_spec("spec_near"))
    with pytest.raises(registry.UnknownTask, match=r"task 'spec_naer' is not registered. Near names: spec_near"):
        registry.get("spec_naer")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("input_tokens", 0, "input_tokens of task 'x': 0; a whole number of at least 1"),
        ("version", "1", "version of task 'x': '1'; a whole number"),
        ("mode", "fare", "mode of task 'x': 'fare' is neither"),
    ],
)
def test_fields_out_of_range_are_named(field, value, message):
    with pytest.raises(ValueError, match=message):
        _spec("x", **{field: value})


def test_splits_may_depend_on_what_is_there_and_odd_ones_are_refused():
    there = ["train"]
    spec = _spec("spec_splits", splits=lambda: there)
    task = seqio.get_mixture_or_task(registry.register(spec))
    assert tuple(task.splits) == ("train",)
    there.append("test")
    assert tuple(task.splits) == ("train", "test")
    there.append("dev")
    with pytest.raises(ValueError, match=r"\['dev'\] are not among"):
        spec.available_splits()


def test_missing_vocabulary_says_what_to_do():
    class Vocabulary(vocabularies.LazyVocabulary):
        remedy = "Run make pretrain."

    vocabulary = Vocabulary("/nowhere/vocab.model")
    with pytest.raises(
        vocabularies.VocabularyError, match=r"'/nowhere/vocab.model' cannot be read .*Run make pretrain"
    ):
        vocabulary.encode("a")
    assert vocabulary == seqio.SentencePieceVocabulary("/nowhere/vocab.model")
