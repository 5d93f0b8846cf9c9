#!/usr/bin/env bash
# On a machine with accelerators: one process that outlives the connection which started it.
#   bash worker_run.sh start MODULE [ARGUMENT...]   python -m MODULE ARGUMENT..., its output in run.log
#   bash worker_run.sh stop                         SIGTERM, and wait: the runtime saves and exits with 143
#   bash worker_run.sh log                          the end of run.log, and on as it grows
# Example: bash worker_run.sh start t5x.train --gin_file=gin/experiments/mini_annotate.gin
set -euo pipefail
cd "$(dirname "$0")/.."
ACTION=${1:?worker_run: start, stop or log}
shift

is_running() { [ -s run.pid ] && kill -0 "$(cat run.pid)" 2>/dev/null; }

case $ACTION in
  start)
    if is_running; then
      echo "worker_run: process $(cat run.pid) runs already; stop it first" >&2
      exit 1
    fi
    nohup "${PYTHON:-.venv/bin/python}" -m "$@" >>run.log 2>&1 </dev/null &
    echo $! >run.pid
    # One that dies at once (a wrong flag) should be heard of now, not in an hour.
    sleep "${SETTLE_SECONDS:-5}"
    if is_running; then
      echo "worker_run: process $(cat run.pid) on $(hostname)"
    elif wait $!; then
      echo "worker_run: it has ended already, without an error (a finished run only says so again)"
    else
      status=$?
      tail -n 20 run.log >&2
      echo "worker_run: it ended at once, with status $status" >&2
      exit 1
    fi
    ;;
  stop)
    is_running || { echo "worker_run: nothing runs here"; exit 0; }
    kill -TERM "$(cat run.pid)"
    while is_running; do sleep 1; done
    echo "worker_run: stopped on $(hostname)"
    ;;
  log) tail -n 50 -F run.log ;;
  *) echo "worker_run: '$ACTION' is no action; allowed: start, stop, log" >&2; exit 2 ;;
esac
