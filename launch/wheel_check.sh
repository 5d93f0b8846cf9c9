#!/usr/bin/env bash
# Builds the wheels of both distributions and uses them in an empty environment, outside the checkout. `make wheel-check`.
set -euo pipefail
ROOT=$(cd "$(dirname "$0")/.." && pwd)
PYTHON=${PYTHON:-"$ROOT/${VENV:-.venv}/bin/python"}
UV=$(command -v uv || echo "$ROOT/${VENV:-.venv}/bin/uv")
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT

# From copies: a build leaves build/ in the tree, and a stale one ships files that were deleted.
mkdir -p "$WORK/src"
(cd "$ROOT" && git ls-files -z | xargs -0 cp --parents -t "$WORK/src")
"$UV" build --quiet --wheel --out-dir "$WORK/dist" "$WORK/src"
"$UV" build --quiet --wheel --out-dir "$WORK/dist" "$WORK/src/runtime"

"$UV" venv --quiet --python "$PYTHON" "$WORK/env"
"$UV" pip install --quiet --python "$WORK/env/bin/python" -r "$ROOT/requirements.lock"
"$UV" pip install --quiet --python "$WORK/env/bin/python" --no-deps "$WORK"/dist/*.whl

cd "$WORK"
"$WORK/env/bin/python" - <<'PY'
import importlib.metadata as metadata
import pathlib

import gin
import t5x

import distill_or_annotate
import distill_or_annotate.tasks

assert hasattr(gin, "parse_config_file"), "our gin/ folder shadows gin-config"
assert t5x.__runtime__ == "doa", t5x
home = pathlib.Path(distill_or_annotate.__file__).parent
assert "site-packages" in str(home), home
assert (home / "gin" / "experiments" / "quickstart.gin").exists(), "gin files are not in the wheel"
for name in ("distill-or-annotate", "doa-t5x"):
    bounds = metadata.metadata(name)["Requires-Python"].split(",")
    assert sorted(bounds) == ["<3.14", ">=3.11"], (name, bounds)
PY
"$WORK/env/bin/doa" cost --task wlp --n-labels 5000 --additional-usd 200
"$WORK/env/bin/doa" run smoke --run-dir "$WORK/run"
test -s "$WORK/run/report/index.html"
echo "wheel-check: both wheels work away from the checkout"
