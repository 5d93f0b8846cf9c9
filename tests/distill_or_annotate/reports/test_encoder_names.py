"""A score by an encoder is shown with the encoder's name, and is not computed again for a report."""

import json

from distill_or_annotate.reports import blocks_of, read_run
from distill_or_annotate.reports.predictions import Predictions


def test_the_encoder_stands_beside_the_metric(write_run, rows):
    for row in rows:
        row |= {"metric": "bert_ibleu", "similarity_model": "minilm_L5_idf"}
    (block,) = blocks_of(read_run(write_run(rows)))
    assert block.metric_name == "bert ibleu by minilm L5 idf"


def test_other_metrics_stand_alone(run_folder):
    (block,) = blocks_of(read_run(run_folder))
    assert " by " not in block.metric_name


def test_no_encoder_is_run_for_a_report(write_run, rows):
    folder = write_run(rows)
    evaluated = folder / "stages" / "evaluate-1"
    evaluated.mkdir(parents=True)
    run_id = rows[0]["run_ids"][0]
    facts = {"subject": run_id, "metric": "bert_ibleu", "mode": "fair", "labels": []}
    (evaluated / "evaluation.json").write_text(json.dumps(facts))
    (evaluated / "predictions.jsonl").write_text(json.dumps({"source": "a", "target": "a", "prediction": "b"}))
    assert Predictions(read_run(folder)).of(run_id) is None
