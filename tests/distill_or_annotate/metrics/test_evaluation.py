"""A score comes with its floors, its error and whether the model learnt anything."""

import json
import random

import pytest

from distill_or_annotate.metrics.evaluation import METRICS, Scorer, evaluate

LABELS = ("NO", "YES")
ROWS = [{"source": f"question {i}", "target": "YES" if i % 4 else "NO"} for i in range(200)]
ENTITY_TRAIN = [
    {"source": "Mix the buffer.", "target": "Mix [Action] buffer [Reagent]"},
    {"source": "Spin the tube.", "target": "Spin [Action] tube [Location]"},
]
ENTITY_ROWS = [
    {"source": "Mix the tube gently.", "target": "Mix [Action] tube [Location] gently [Modifier]"},
    {"source": "Spin fast.", "target": "Spin [Action] fast [Modifier]"},
] * 20


def _answers(n_right):
    flipped = {"YES": "NO", "NO": "YES"}
    order = random.Random(0).sample(range(200), 200)
    right = set(order[:n_right])
    return [row["target"] if i in right else flipped[row["target"]] for i, row in enumerate(ROWS)]


def test_constant_answer_is_flagged_by_its_share_and_its_floor():
    result = evaluate(Scorer("accuracy", LABELS), ROWS, ["YES"] * 200, ROWS)
    assert result["score"] == 75.0 and result["floors"]["constant"] == result["floors"]["constant:YES"] == 75.0
    assert result["floors"]["constant:NO"] == 25.0 and result["floors"]["empty"] == 0.0
    judged = result["degenerate"]
    assert judged["flagged"] and judged["constant_share"] == 1.0 and judged["distance"] == 0.0
    assert any("one answer in 100.0% of cases" in reason for reason in judged["reasons"])
    assert any("0.0 +- 0.0 above the floor 'constant' (75.0)" in reason for reason in judged["reasons"])


def test_good_model_is_not_flagged():
    result = evaluate(Scorer("accuracy", LABELS), ROWS, _answers(190), ROWS)
    assert not result["degenerate"]["flagged"] and result["degenerate"]["reasons"] == []
    assert result["degenerate"]["distance"] == pytest.approx(20.0)


def test_score_a_little_above_a_floor_is_within_noise():
    result = evaluate(Scorer("accuracy", LABELS), ROWS, _answers(152), ROWS)
    assert 0 < result["degenerate"]["distance"] < 2 * result["degenerate"]["distance_stderr"]
    assert result["degenerate"]["flagged"]


def test_constant_floor_is_the_most_frequent_training_answer():
    train = [{"source": "x", "target": "NO"}] * 3 + [{"source": "y", "target": "YES"}]
    assert evaluate(Scorer("accuracy", LABELS), ROWS, _answers(190), train)["floors"]["constant"] == 25.0


def test_lookup_tagger_is_a_floor_of_entity_tasks():
    result = evaluate(Scorer("entity_f1", ("Action", "Reagent", "Location", "Modifier")), ENTITY_ROWS,
                      [row["target"] for row in ENTITY_ROWS], ENTITY_TRAIN)  # fmt: skip
    # It knows mix, tube, spin: found 3 of 3 predicted and 5 in the targets, F1 = 6/8.
    assert result["floors"]["lookup"] == pytest.approx(75.0)
    assert result["score"] == 100.0 and not result["degenerate"]["flagged"]
    assert "lookup" not in evaluate(Scorer("entity_f1", ("Action",)), ENTITY_ROWS, [""] * 40)["floors"]


def test_model_below_the_lookup_tagger_is_flagged_with_that_reason():
    predictions = ["Mix [Action]", "Spin [Action] a [Location] b [Location]"] * 20
    result = evaluate(
        Scorer("entity_f1", ("Action", "Reagent", "Location", "Modifier")), ENTITY_ROWS, predictions, ENTITY_TRAIN
    )
    assert result["degenerate"]["floor"] == "lookup"
    (reason,) = result["degenerate"]["reasons"]
    assert "below the floor 'lookup' (75.0)" in reason


def test_result_is_plain_json_with_the_agreed_keys():
    result = evaluate(Scorer("accuracy", LABELS), ROWS, _answers(190), ROWS)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert {"score", "metric", "stderr", "floors", "degenerate", "parts"} <= set(result)
    assert result["metric"] == "accuracy" and result["parts"]["accuracy"] == result["score"] == 95.0
    # 100 sqrt(0.95 * 0.05 / 200) = 1.54
    assert result["stderr"] == pytest.approx(1.54, rel=0.1)


def test_outputs_outside_the_labels_are_counted():
    result = evaluate(Scorer("accuracy", LABELS), ROWS, _answers(190)[:150] + [""] * 50, ROWS)
    assert result["degenerate"]["invalid_share"] == 0.25


def test_no_rows_and_wrong_number_of_predictions_are_errors():
    with pytest.raises(ValueError, match="rows: received none"):
        evaluate(Scorer("accuracy", LABELS), [], [])
    with pytest.raises(ValueError, match="200 targets and 3 predictions"):
        evaluate(Scorer("accuracy", LABELS), ROWS, ["YES"] * 3)


def test_targets_may_be_strings_or_lists_of_accepted_ones():
    assert Scorer("accuracy", LABELS).scores([["YES"], "NO"], ["YES", "YES"])["accuracy"] == 50.0
    with pytest.raises(ValueError, match=r"received 2 accepted answers \['YES', 'NO'\] for one example; .*'token_f1'"):
        Scorer("accuracy", LABELS).scores([["YES", "NO"]], ["YES"])
    for odd in ([], [None], None):
        with pytest.raises(ValueError, match="targets: a string or a list of at least one string is needed"):
            Scorer("token_f1").scores([odd], ["YES"])


def test_rows_score_as_their_fields_do():
    rows = [{"source": "who?", "target": "Ann", "targets": ["Ann", "Ann Lee"]}, {"source": "when?", "target": "1989"}]
    scores = Scorer("token_f1").scores([["Ann", "Ann Lee"], "1989"], ["Lee", "no"])
    assert Scorer("token_f1").scores(rows, ["Lee", "no"]) == scores
    assert evaluate(Scorer("token_f1"), rows, ["Lee", "no"])["parts"] == scores
    # One word of two, against one: 2/3 and nothing.
    assert scores["token_f1"] == pytest.approx(100 / 3)


def test_metrics_without_labels_ignore_them_and_the_others_ask_for_them():
    assert Scorer("token_f1", ("x",)).scores(["Ann"], ["Ann"])["token_f1"] == 100.0
    for metric in ("accuracy", "macro_f1", "entity_f1"):
        with pytest.raises(ValueError, match=f"labels: metric '{metric}' needs the entity types or label words"):
            Scorer(metric)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("mode", ["fair", "paper"])
def test_headline_is_a_part_of_which_more_is_better(name, mode):
    scorer = Scorer(name, LABELS, mode)
    targets = ["Mix [YES]"] if name == "entity_f1" else ["YES"]
    parts = scorer.scores(targets, targets, ["a question"])
    assert scorer.metric in parts and scorer.metric not in METRICS[name].lower_is_better
    assert METRICS[name].lower_is_better <= set(parts)


def test_rows_bring_the_sources_that_a_metric_needs():
    scorer = Scorer("chrf_ibleu")
    row = {"source": "a storm hit the coast", "target": "a storm hit the coast"}
    assert scorer.needs_sources and not Scorer("chrf_ibleu", mode="paper").needs_sources
    assert scorer.scores([row], [row["source"]])["copied"] == 100.0
    assert not any(Scorer(name, LABELS).needs_sources for name in METRICS if "ibleu" not in name)
