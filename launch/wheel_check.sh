#!/usr/bin/env bash
# Builds the wheels of both distributions and uses them in an empty environment, outside the checkout. `make wheel-check`.
# WHEEL_CHECK_SCENARIO=smoke takes one minute in place of the quickstart's five; WHEEL_CHECK_KEEP=1 keeps the folder.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-"$ROOT/${VENV:-.venv}/bin/python"}
UV=$(command -v uv || echo "$ROOT/${VENV:-.venv}/bin/uv")
SCENARIO=${WHEEL_CHECK_SCENARIO:-quickstart}
WORK=$(mktemp -d)
trap '[ -n "${WHEEL_CHECK_KEEP:-}" ] && echo "wheel-check: kept $WORK" || rm -rf "$WORK"' EXIT
step() { printf '\nwheel-check, %4d s: %s\n' "$SECONDS" "$*"; }

step "building both wheels"
# From copies: a build leaves build/ in the tree, and a stale one ships files that were deleted.
mkdir -p "$WORK/src"
(cd "$ROOT" && git ls-files -z | xargs -0 cp --parents -t "$WORK/src")
"$UV" build --quiet --wheel --out-dir "$WORK/dist" "$WORK/src"
"$UV" build --quiet --wheel --out-dir "$WORK/dist" "$WORK/src/runtime"
"$PYTHON" "$ROOT/launch/wheel_listing.py" "$WORK/src" "$WORK"/dist/*.whl
rm -rf "$WORK/src"

step "installing them with the locked versions into an empty environment"
"$UV" venv --quiet --python "$PYTHON" "$WORK/env"
"$UV" pip install --quiet --python "$WORK/env/bin/python" -r "$ROOT/requirements.lock"
"$UV" pip install --quiet --python "$WORK/env/bin/python" --no-deps "$WORK"/dist/*.whl

# A folder and a cache of its own, and nothing of the checkout on the path.
mkdir "$WORK/away"
cd "$WORK/away"
unset PYTHONPATH DOA_DATA_DIR
export DOA_CACHE_DIR="$WORK/cache" TF_CPP_MIN_LOG_LEVEL=3 PATH="$WORK/env/bin:$PATH"

step "doa doctor"
doa doctor

step "what is imported comes from the wheels"
python - <<'PY'
import importlib
import importlib.metadata as metadata
import pathlib

import gin
import t5x

import distill_or_annotate
from distill_or_annotate.tasks import registry

assert hasattr(gin, "parse_config_file"), "our gin/ folder shadows gin-config"
assert t5x.__runtime__ == "doa", t5x
home = pathlib.Path(distill_or_annotate.__file__).parent
for module in (distill_or_annotate, t5x, registry):
    assert "site-packages" in module.__file__, module
assert (home / "gin" / "experiments" / "quickstart.gin").exists(), "gin files are not in the wheel"
for task in ("wlp", "stanceosaurus", "fever", "multipit_id", "multipit_gen", "natural_questions"):
    module = importlib.import_module(f"distill_or_annotate.tasks.{task}")
    assert module.__doc__ and registry.get(task).name == task
    assert registry.get(f"{task}_paper").prefix == f"{task}: ", registry.get(f"{task}_paper").prefix
for name in ("distill-or-annotate", "doa-t5x"):
    bounds = metadata.metadata(name)["Requires-Python"].split(",")
    assert sorted(bounds) == ["<3.14", ">=3.11"], (name, bounds)
print("six tasks in both modes, gin files and the runtime: from the wheels")
PY
doa cost --task wlp --n-labels 5000 --additional-usd 200
doa data fetch --list > /dev/null

step "a gin file of the user's, which includes packaged ones, with python -m t5x.train"
cat > mine.gin <<'GIN'
# The packaged experiment on fewer labels and for a few steps.
from __gin__ import dynamic_registration

include 'gin/experiments/mini_annotate.gin'

MODEL_DIR = 'mine'
N_LABELS = 40
MIN_STEPS = 1
MAX_STEPS = 6
GIN
python -m t5x.train --gin_file=mine.gin 2> train.log || { tail -20 train.log >&2; exit 1; }
test -d mine/checkpoint_6 && test -s mine/config.gin
echo "trained 6 steps: $(cd mine && echo *)"

step "a scenario of the user's, which includes a packaged one"
cat > my_study.gin <<'GIN'
# The packaged scenario with other dollars.
from __gin__ import dynamic_registration

from distill_or_annotate import scenarios

include 'gin/experiments/smoke.gin'

scenarios.Scenario.name = 'my_study'
scenarios.Scenario.additional_usd = (0,)
GIN
doa run my_study.gin --dry-run

step "doa run $SCENARIO"
START=$SECONDS
doa run "$SCENARIO" --run-dir run
test -s run/report/index.html
step "both wheels work away from the checkout; doa run $SCENARIO took $((SECONDS - START)) s"
