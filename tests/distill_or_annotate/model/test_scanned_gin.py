"""gin/models/scanned.gin after an experiment: its models are scanned, each of its size, its checkpoints ordinary."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[3]
_CODE = """
import json
import gin
from t5x import gin_utils, train

def built(*files):
    gin.clear_config()
    # A task that is there, in place of the predictions that no teacher has written here.
    task = ["MIXTURE_OR_TASK_NAME = 'mini'", "N_EXAMPLES = 100"]
    gin_utils.parse_for(train, "train", gin_files=["gin/experiments/mini_distill.gin", *files], gin_bindings=task)
    bound = gin.get_bindings("train")
    trainer = gin.get_bindings("distill.DistillTrainer")
    models = {"student": bound["model"], "teacher": trainer["teacher_model"]}
    restore = {"student": bound["checkpoint_cfg"].restore, "teacher": trainer["teacher_restore_cfg"]}
    about = lambda fn: [fn.__name__, getattr(fn, "only_renames", False)]
    return {
        "modules": {name: [type(m.module).__module__, m.module.config.emb_dim] for name, m in models.items()},
        "restore": {name: list(map(about, cfg.state_transformation_fns)) for name, cfg in restore.items()},
        "save": [fn.__name__ for fn in bound["checkpoint_cfg"].save.state_transformation_fns],
    }

print(json.dumps([built(), built("gin/models/scanned.gin")]))
"""


@pytest.fixture(scope="module")
def built():
    words = [sys.executable, "-c", _CODE]
    done = subprocess.run(words, cwd=_ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(("without", "with"), json.loads(done.stdout.splitlines()[-1]), strict=True))


def test_student_and_teacher_are_scanned_and_keep_their_sizes(built):
    scanned, unscanned = "distill_or_annotate.model.scanned", "t5x.examples.t5.network"
    assert built["without"]["modules"] == {"student": [unscanned, 64], "teacher": [unscanned, 160]}
    assert built["with"]["modules"] == {"student": [scanned, 64], "teacher": [scanned, 160]}


def test_checkpoints_are_stacked_when_read_and_unstacked_when_written(built):
    # The mark tells the runtime that nothing has to be read before a leaf's own turn.
    stacking = [["stack_on_restore", True]]
    assert built["with"]["restore"] == {"student": stacking, "teacher": stacking}
    assert built["with"]["save"] == ["unstack_on_save"]
    assert built["without"]["save"] == [] == built["without"]["restore"]["teacher"]
