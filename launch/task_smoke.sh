#!/usr/bin/env bash
# Does each of the six tasks work, from the files of DOA_DATA_DIR to its metric? `make task-smoke`.
#   launch/task_smoke.sh [FOLDER]
# For each task: `doa data build` (all labelled files of the task, split 80/10/10), three steps of a tiny model through
# `python -m t5x.train`, its score on test. Then `seqio_cache_tasks` for two tasks, and training from that cache for one.
# FOLDER (default: a temporary one, removed at the end) keeps what is made; a second run in it builds and caches nothing anew.
# Tasks whose files are not in DOA_DATA_DIR are named and left out. About five minutes on two idle cores.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=$(cd "${VENV:-.venv}/bin" && pwd)
SOURCE=${DOA_DATA_DIR:?task-smoke: DOA_DATA_DIR is not set. Fix: point it at the folder with the released files}
SOURCE=$(cd "$SOURCE" && pwd)
TASKS=${TASKS:-wlp stanceosaurus fever multipit_id multipit_gen natural_questions}
CACHED=${CACHED:-fever natural_questions}
if [ $# -gt 0 ]; then
  mkdir -p "$1"
  WORK=$(cd "$1" && pwd)
else
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
fi
mkdir -p "$WORK/data" "$WORK/logs"
export DOA_DATA_DIR="$WORK/data" DOA_CACHE_DIR="$WORK/cache" DOA_T5_VOCAB="$WORK/vocab.model"
export TF_CPP_MIN_LOG_LEVEL=3
shopt -s nullglob

run() { # NAME COMMAND...: quiet unless it fails, then with the end of what it said
  local log="$WORK/logs/$1.log"
  shift
  "$@" >"$log" 2>&1 || { status=$?; tail -n 30 "$log" >&2; echo "task-smoke: failed: $*" >&2; exit "$status"; }
}

train() { # TASK RUN FLAGS...: the run's folder starts empty, since a finished one would only be resumed
  local task=$1 name=$2
  shift 2
  rm -rf "$WORK/runs/$name"
  echo "task-smoke: training $name" >&2
  run "train_$name" "$BIN/python" -m t5x.train --gin_file="gin/experiments/tiny_$task.gin" \
    --gin.MODEL_DIR="'$WORK/runs/$name'" --gin.VOCAB_SIZE=1152 "$@"
}

present=()
for task in $TASKS; do
  case $task in multipit_gen) prefix=multipit ;; natural_questions) prefix=nq ;; *) prefix=$task ;; esac
  files=("$SOURCE/${prefix}"_train_all*.json "$SOURCE/${prefix}"_dev_all*.json "$SOURCE/${prefix}"_test_all*.json)
  if [ ${#files[@]} -eq 0 ]; then
    echo "task-smoke: $task left out: $SOURCE has no ${prefix}_{train,dev,test}_all*.json" >&2
    continue
  fi
  present+=("$task")
  [ -d "$DOA_DATA_DIR/built/$task" ] || run "build_$task" "$BIN/doa" data build "$task" --from "${files[@]}" --split 80/10/10
done
[ ${#present[@]} -gt 0 ] || { echo "task-smoke: no task has files in $SOURCE" >&2; exit 2; }
[ -f "$DOA_T5_VOCAB" ] || run vocabulary "$BIN/python" -m distill_or_annotate.tasks.small_vocabulary "$DOA_T5_VOCAB" "${present[@]}"

for task in "${present[@]}"; do train "$task" "$task"; done

cached=()
for task in $CACHED; do [[ " ${present[*]} " != *" $task "* ]] || cached+=("$task"); done
if [ ${#cached[@]} -gt 0 ]; then
  echo "task-smoke: caching ${cached[*]}" >&2
  run cache "$BIN/seqio_cache_tasks" --tasks="$(IFS=,; echo "${cached[*]}")" --output_cache_dir="$WORK/seqio" --min_shards=2 \
    "${cached[@]/#/--module_import=distill_or_annotate.tasks.}"
  train "${cached[0]}" "${cached[0]}_from_cache" --gin.USE_CACHED_TASKS=True --seqio_additional_cache_dirs="$WORK/seqio"
  grep -q "Using cache directory $WORK/seqio" "$WORK/logs/train_${cached[0]}_from_cache.log" ||
    { echo "task-smoke: ${cached[0]} was not read from its cache" >&2; exit 1; }
fi

"$BIN/python" - "$WORK" <<'PY' 2>/dev/null
import json
import pathlib
import sys

import tensorflow as tf

from distill_or_annotate.preprocess import built

work = pathlib.Path(sys.argv[1])


def losses(run):
    found = {}
    for path in sorted((run / "train").glob("events.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tag == "loss_per_nonpadding_target_token":
                    found[event.step] = float(tf.make_ndarray(value.tensor))
    return [found[step] for step in sorted(found)]


def rows(task):
    info = json.loads((built.folder(task) / "dataset_info.json").read_text())
    return {split["name"]: sum(map(int, split["shardLengths"])) for split in info["splits"]}


print(f"{'run':30} {'train':>7} {'test':>6}  {'loss per token, step 1 2 3':28} score on test")
for run in sorted((work / "runs").iterdir(), key=lambda run: run.stat().st_mtime):
    counts = rows(run.name.removesuffix("_from_cache"))
    (metrics,) = (run / "inference_eval").glob("*-metrics.jsonl")
    scores = json.loads(metrics.read_text().splitlines()[-1])
    shown = ", ".join(f"{name} {value:.2f}" for name, value in scores.items() if name != "step")
    loss = " ".join(f"{value:8.4f}" for value in losses(run))
    print(f"{run.name:30} {counts['train']:7,} {counts['test']:6,}  {loss:28} {shown}")
for folder in sorted((work / "seqio").glob("*/COMPLETED")):
    stats = {path.name.split(".")[1]: json.loads(path.read_text())["examples"] for path in folder.parent.glob("stats.*")}
    print(f"cached {folder.parent.name}: {', '.join(f'{n:,} {split}' for split, n in sorted(stats.items()))}")
PY
