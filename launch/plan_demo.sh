#!/usr/bin/env bash
# The planner's loop on the embedded task: plan from the prior alone, pilot, plan, run, plan again with what is left.
# `make plan-demo`. Everything lands in runs/plan_demo; what is finished there is not done again.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${VENV:-.venv}/bin
OUT=runs/plan_demo
export DOA_STAGES_DIR="$OUT/stages"
BUDGET_USD=60 RESERVE_USD=15
plan() { "$BIN/doa" plan --task mini --book quickstart_scaled --max-unlabeled 8000 "$@"; }
mkdir -p "$OUT"

echo "== 1. Nothing is known: what should \$$BUDGET_USD buy?"
plan --budget-usd "$BUDGET_USD"

echo "== 2. A pilot: two N, with and without a pool"
"$BIN/doa" run quickstart --run-dir "$OUT/pilot" --set "name=pilot" --set "n_labels=(20, 60)" --set "additional_usd=()" \
  --set "n_unlabeled=(0, 400)" --set "force=True"

echo "== 3. The plan for all but \$$RESERVE_USD of what is left"
plan --budget-usd $((BUDGET_USD - RESERVE_USD)) --pilot "$OUT/pilot" --write-gin "$OUT/plan.gin"

echo "== 4. The plan is run under its cap"
MAX_USD=$(sed -n 's/^# Command: .*--max-usd //p' "$OUT/plan.gin")
"$BIN/doa" run "$OUT/plan.gin" --run-dir "$OUT/plan" --max-usd "$MAX_USD"

echo "== 5. What is left, and what it should buy now"
plan --budget-usd "$BUDGET_USD" --pilot "$OUT/pilot" "$OUT/plan" --html "$OUT/plan.html"
