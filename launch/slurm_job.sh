#!/usr/bin/env bash
# The job that launch/slurm.sh submits: the program on every node, and back into the queue when it was told to stop.
#   sbatch ... slurm_job.sh MODULE [ARGUMENT...]     on the first node; starts itself on every node:
#   srun ... slurm_job.sh --process MODULE [ARGUMENT...]
# Example: sbatch --nodes=2 --ntasks-per-node=1 launch/slurm_job.sh t5x.train --gin_file=gin/experiments/mini_annotate.gin
set -euo pipefail
PYTHON=${PYTHON:-.venv/bin/python}
EXIT_STATUS_SAVED=143 # of the runtime after SIGTERM: the checkpoint is whole

if [ "${1:-}" = --process ]; then
  shift
  module=$1
  shift
  several=()
  [ "${SLURM_NNODES:-1}" = 1 ] ||
    several=(--multiprocess_gpu "--coordinator_address=$COORDINATOR" "--process_count=$SLURM_NTASKS" "--process_index=$SLURM_PROCID")
  # In the shell's place: SIGTERM must reach the program.
  exec "$PYTHON" -m "$module" "${several[@]}" "$@"
fi

# The spooled copy that SLURM runs lies elsewhere; sbatch --chdir names the checkout.
script=launch/slurm_job.sh
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# A port of the job's own: two jobs may share a node.
export COORDINATOR="$first:$((20000 + SLURM_JOB_ID % 20000))"
echo "slurm_job: turn $((${SLURM_RESTART_COUNT:-0} + 1)) of job $SLURM_JOB_ID on ${SLURM_NNODES:-1} node(s)"
# `scancel` and a preemption reach this shell too and end it here; the signal before the time limit reaches the processes
# alone. One process that dies gets the others five minutes to end by themselves: they may be saving.
status=0
srun --wait=300 bash "$script" --process "$@" || status=$?
if [ "$status" = "$EXIT_STATUS_SAVED" ]; then
  if [ "${SLURM_RESTART_COUNT:-0}" -ge "${MAX_TURNS:-50}" ]; then
    echo "slurm_job: ${MAX_TURNS:-50} turns are enough; submit it again if it should go on" >&2
    exit 1
  fi
  echo "slurm_job: saved after SIGTERM; back into the queue"
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
