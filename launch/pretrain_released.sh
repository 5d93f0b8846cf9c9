#!/usr/bin/env bash
# Pre-trains mini_student on the text of FEVER, MultiPIT-Id and Stanceosaurus in DOA_DATA_DIR and keeps it in the cache.
# `make pretrain-released`. An interrupted run resumes at its last checkpoint. Extra arguments go to the training.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=${VENV:-.venv}/bin
: "${DOA_DATA_DIR:?pretrain-released: DOA_DATA_DIR is not set. Fix: point it at the folder that holds fever_dev_all.json}"

# The vocabulary first: the model and the tasks share it, and it stands where the weights will.
# In a variable of its own: the status of a command inside another's arguments would be lost.
VOCABULARY=$(TF_CPP_MIN_LOG_LEVEL=3 "$BIN/python" -m distill_or_annotate.tasks.released_pretraining | tail -n 1)
experiment=gin/experiments/released_pretrain_student.gin
"$BIN/python" -m t5x.train --gin_file="$experiment" "$@"
"$BIN/doa" convert runs/pretrain/released_student "$(dirname "$VOCABULARY")/mini_student.safetensors" \
  --note "python -m t5x.train --gin_file=$experiment"
