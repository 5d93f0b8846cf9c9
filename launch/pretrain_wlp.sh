#!/usr/bin/env bash
# Pre-trains mini models on the unlabeled WLP text of DOA_DATA_DIR and keeps them in the cache. `make pretrain-wlp`.
# An interrupted run resumes at its last checkpoint. Extra arguments go to both trainings.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${VENV:-.venv}/bin
: "${DOA_DATA_DIR:?pretrain-wlp: DOA_DATA_DIR is not set. Fix: point it at the folder that holds wlp_train_all.json}"

# The vocabulary first: both models and the task share it, and it stands where the weights will.
# In a variable of its own: the status of a command inside another's arguments would be lost.
VOCABULARY=$(TF_CPP_MIN_LOG_LEVEL=3 "$BIN/python" -m distill_or_annotate.tasks.wlp_pretraining | tail -n 1)
KEEP=$(dirname "$VOCABULARY")
for model in mini_student mini_teacher; do
  experiment=gin/experiments/wlp_pretrain_${model#mini_}.gin
  "$BIN/python" -m t5x.train --gin_file="$experiment" "$@"
  "$BIN/doa" convert "runs/pretrain/wlp_${model#mini_}" "$KEEP/$model.safetensors" \
    --note "python -m t5x.train --gin_file=$experiment"
done
