"""A metric that compares with the source is given it, without the task's prefix, whole where lengths cut it."""

import pytest
import seqio

from distill_or_annotate.tasks import registry
from distill_or_annotate.tasks.spec import TaskSpec

SOURCE = "a storm hit the coast on monday"
ROWS = {"test": [{"source": SOURCE, "target": SOURCE}, {"source": "the shop was shut", "target": "it was closed"}]}


def _spec(name, mode):
    return TaskSpec(
        name,
        version=1,
        rows=ROWS.__getitem__,
        vocabulary=seqio.ByteVocabulary,
        input_tokens=16,
        target_tokens=64,
        metric="chrf_ibleu",
        mode=mode,
        prefix="gen: ",
        splits=("test",),
    )


def _evaluated(name):
    evaluator = seqio.Evaluator(
        name, feature_converter=seqio.EncDecFeatureConverter(pack=False), eval_split="test",
        sequence_length={"inputs": 16, "targets": 64},
    )  # fmt: skip
    answer = seqio.ByteVocabulary().encode(SOURCE)
    metrics, _ = evaluator.evaluate(
        compute_metrics=True, step=0, predict_fn=lambda dataset: [(i, answer) for i, _ in dataset.enumerate()]
    )
    return metrics.result()[name]


def test_seqio_scores_against_the_source():
    scores = _evaluated(registry.register(_spec("scored_rows", "fair")))
    # The first prediction copies its source, of which only 10 bytes fit into the inputs; the second has none of it.
    assert scores == pytest.approx(registry.scorer("scored_rows").scores(ROWS["test"], [SOURCE, SOURCE]))
    assert scores["copied"] == 50.0


def test_paper_mode_does_without_the_source():
    name = registry.register(_spec("scored_rows_paper", "paper"))
    assert registry.scored_row("x", {"inputs_pretokenized": b"gen: a"}, True, "gen: ")["source"] == "a"
    assert _evaluated(name)["copied"] == 50.0
