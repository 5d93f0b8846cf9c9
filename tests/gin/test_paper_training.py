"""Paper mode trains as the reference code does: what its gin files come to, stage by stage."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from distill_or_annotate import paper

_ROOT = Path(__file__).parents[2]
_READ = """
import copy, json, sys
from pathlib import Path
import gin
from distill_or_annotate.pipeline import program as programs_of, programs, study
from distill_or_annotate.pipeline.gin_files import search_paths
from distill_or_annotate.scenarios import expand_all
from t5x import gin_utils

asked = ["TASK", "BATCH_SIZE", "EPOCHS", "LEARNING_RATE", "TRAIN_STEPS", "LOSS_NORMALIZING_FACTOR"]
for table, task in (("table3", "wlp"), ("table3", "natural_questions"), ("table10", "fever")):
    scenario, _ = study.read(table, ["FORM=xxl", f"TASK={task}"])
    stages = expand_all(scenario, study.prices(scenario))
    for stage in stages:
        if stage.kind not in (("general_distill",) if table == "table10" else ("finetune", "annotate", "distill")):
            continue
        made = programs.program(stage, Path("stages"))
        gin.clear_config()
        module, _ = programs_of._entry_point(made.module)
        with programs_of._standing_in_for_main(module):
            gin_utils.parse_gin_flags(search_paths(), list(made.gin_files), made.bindings())
            found = {name: copy.deepcopy(gin.query_parameter(f"%{name}")) for name in asked}
            rate = copy.deepcopy(gin.query_parameter("%SCHEDULE"))
            steps = found["TRAIN_STEPS"]
            found["rates"] = [float(rate(step)) for step in (0, steps // 2, steps)]
            found["decay"] = gin.query_parameter("optax.adamw.weight_decay")
            found["clip"] = gin.query_parameter("optax.clip_by_global_norm.max_norm")
            found["of_adamw"] = str(gin.query_parameter("optax.adamw.learning_rate"))
            trainer = {"distill": "distill.DistillTrainer"}.get(stage.kind, "progress.ProgressTrainer")
            found["of_trainer"] = str(gin.query_parameter(f"{trainer}.learning_rate_fn"))
            found["parts"] = [str(part) for part in gin.query_parameter("optimizers.chain.transformations")]
            model = "classifier.from_folder" if table == "table10" else "models.EncoderDecoderModel"
            found["optimizer"] = str(gin.query_parameter(f"{model}.optimizer_def"))
            if stage.kind == "distill":
                found["gold"] = gin.query_parameter("variants.pseudo.gold")
                found["counted"] = [copy.deepcopy(gin.query_parameter(f"%{n}")) for n in ("PADDING", "NORMALIZE_BY")]
            gin.clear_config()
        print(json.dumps([task, stage.kind, stage.n_labels, stage.n_unlabeled, found]))
"""


@pytest.fixture(scope="module")
def stages():
    """One process for all: importing the entry points takes seconds."""
    done = subprocess.run([sys.executable, "-c", _READ], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def test_both_tasks_have_a_teacher_a_baseline_and_two_distilled_students(stages):
    kinds = ["annotate", "distill", "distill", "finetune"]
    assert sorted((task, kind) for task, kind, *_ in stages if kind in kinds) == [
        (task, kind) for task in ("natural_questions", "wlp") for kind in kinds
    ]


def test_the_generally_distilled_encoder_is_trained_like_the_others(stages):
    """On the paper's rows; the optimizer's tests below read it too."""
    found = [found for task, kind, *_, found in stages if (task, kind) == ("fever", "general_distill")]
    assert found and {(one["TASK"], one["EPOCHS"], one["LEARNING_RATE"]) for one in found} == {
        ("fever_paper", 50, 3e-5)
    }


def test_table_8_is_what_they_train_with(stages):
    for task, kind, n_labels, n_unlabeled, found in stages:
        if kind == "general_distill":
            continue  # Table 8 has no encoder
        facts = {name: entry["value"] for name, entry in paper.task(task).items() if "value" in entry}
        is_teacher = kind == "finetune"
        epochs = facts["teacher_epochs" if is_teacher else "epochs"]
        rate = facts["teacher_learning_rate" if is_teacher else "learning_rate"]
        assert (found["BATCH_SIZE"], found["EPOCHS"], found["LEARNING_RATE"]) == (facts["batch_size"], epochs, rate)
        n_examples = n_unlabeled if kind == "distill" else n_labels
        assert found["TRAIN_STEPS"] == -(-n_examples * epochs // facts["batch_size"])
    rates = {(task, kind): found["LEARNING_RATE"] for task, kind, *_, found in stages}
    assert rates["wlp", "annotate"] == 3e-5 and rates["natural_questions", "annotate"] == 1e-3
    assert rates["natural_questions", "finetune"] == 3e-5


def test_rows_pool_and_metric_are_those_of_the_reference(stages):
    assert {found["TASK"] for task, *_, found in stages if task == "wlp"} == {"wlp_paper"}
    assert {found["TASK"] for task, *_, found in stages if task != "wlp"} == {"natural_questions_paper", "fever_paper"}


def test_the_rate_falls_in_a_line_to_zero_without_warm_up(stages):
    for *_, found in stages:
        first, middle, last = found["rates"]
        assert first == pytest.approx(found["LEARNING_RATE"]) and last == 0
        assert middle == pytest.approx(first / 2, rel=0.01)
        assert "SCHEDULE" in found["of_adamw"] and "SCHEDULE" in found["of_trainer"]


def test_the_optimizer_is_adamw_without_decay_clipped_at_one(stages):
    for *_, found in stages:
        assert (found["decay"], found["clip"]) == (0.0, 1.0)
        assert ["clip_by_global_norm" in found["parts"][0], "adamw" in found["parts"][1]] == [True, True]
        assert "OPTIMIZER" in found["optimizer"]
        assert found["LOSS_NORMALIZING_FACTOR"] == "NUM_REAL_TARGET_TOKENS"


def test_the_paper_s_objective_counts_pads_and_mixes_no_gold_in(stages):
    distilled = [found for _, kind, *_, found in stages if kind == "distill"]
    assert distilled
    for found in distilled:
        assert found["gold"] is None and found["counted"] == ["counted", "positions"]
