#!/usr/bin/env bash
# Pre-trains the two shipped mini models and writes them to tasks/mini/ as bfloat16 safetensors. `make pretrain-mini`.
# An interrupted run resumes at its last checkpoint. Extra arguments go to both trainings.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${VENV:-.venv}/bin

for model in mini_student mini_teacher; do
  experiment=gin/experiments/mini_pretrain_${model#mini_}.gin
  "$BIN/python" -m t5x.train --gin_file="$experiment" "$@"
  "$BIN/doa" convert "runs/pretrain/$model" "tasks/mini/$model.safetensors" --dtype bfloat16 \
    --note "python -m t5x.train --gin_file=$experiment"
done
