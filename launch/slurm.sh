#!/usr/bin/env bash
# A run on a SLURM cluster: one process a node, put back in the queue when it is preempted or its time is up.
#   launch/slurm.sh ACTION [FLAGS] [-- ARGUMENTS OF THE PROGRAM]
# Actions:
#   setup    the environment .venv in this checkout, which every node must see (run it on a node like those that will work)
#   submit   the job; after a failure the same command resumes, from the checkpoints in --model-dir
#   status   where the job is                delete   out of the queue; SIGTERM first, so it saves
# Flags:
#   --name NAME          the job's name
#   --nodes N            nodes (default 1)     --gpus-per-node N   (default 1)
#   --time MINUTES       limit of one turn (default 240); the job saves and queues again before it ends
#   --partition NAME     --account NAME        as the cluster wants them
#   --model-dir PATH     MODEL_DIR of the run, on a disk that every node sees
#   --module MODULE      t5x.train (default), t5x.infer or t5x.eval
#   --accelerator cuda13|cuda12|cpu            JAX of the environment (setup; default cuda13)
#   --device NAME        a100_40gb, a100_80gb or h100_80gb: what an hour would cost at a cloud's prices
#   --dry-run            print every command; do nothing
# Example: launch/slurm.sh submit --name mine --nodes 2 --gpus-per-node 1 --model-dir /scratch/me/mine --dry-run -- --gin_file=gin/experiments/mini_annotate.gin
set -euo pipefail
# shellcheck source=launch/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

usage() { sed -n '2,/^set -euo/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//'; }

[ $# -gt 0 ] || { usage >&2; exit 2; }
case $1 in -h | --help | help) usage; exit 0 ;; esac
ACTION=$1
shift

NAME="" NODES=1 GPUS=1 MINUTES=240 PARTITION="" ACCOUNT="" MODEL_DIR="" MODULE=t5x.train ACCELERATOR=cuda13 DEVICE=""
ARGUMENTS=()
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) DRY_RUN=1 ;;
    --) shift; ARGUMENTS=("$@"); break ;;
    --name | --nodes | --gpus-per-node | --time | --partition | --account | --model-dir | --module | --accelerator | --device)
      [ $# -gt 1 ] || die "$1 needs a value"
      case $1 in
        --name) NAME=$2 ;;
        --nodes) NODES=$2 ;;
        --gpus-per-node) GPUS=$2 ;;
        --time) MINUTES=$2 ;;
        --partition) PARTITION=$2 ;;
        --account) ACCOUNT=$2 ;;
        --model-dir) MODEL_DIR=$2 ;;
        --module) MODULE=$2 ;;
        --accelerator) ACCELERATOR=$2 ;;
        --device) DEVICE=$2 ;;
      esac
      shift ;;
    *) die "unknown flag $1; the program's own arguments stand after --. Help: launch/slurm.sh --help" ;;
  esac
  shift
done
is_count --nodes "$NODES"
is_count --gpus-per-node "$GPUS"
is_count --time "$MINUTES"
[ "$MINUTES" -ge 15 ] || die "--time is $MINUTES; allowed: at least 15 minutes, of which the last 5 are for saving"
[ "$ACTION" = setup ] || is_name --name "$NAME"

submit() {
  local flags=("--job-name=$NAME" "--nodes=$NODES" --ntasks-per-node=1 "--gpus-per-node=$GPUS" "--time=$MINUTES")
  # SIGTERM to the processes five minutes before the limit, and at a preemption; a job put back appends to its log.
  flags+=(--requeue --signal=TERM@300 --open-mode=append "--output=$NAME-%j.log" "--chdir=$ROOT")
  [ -z "$PARTITION" ] || flags+=("--partition=$PARTITION")
  [ -z "$ACCOUNT" ] || flags+=("--account=$ACCOUNT")
  local words=("$MODULE" "${ARGUMENTS[@]}")
  [ -z "$MODEL_DIR" ] || words+=("--gin.MODEL_DIR='$MODEL_DIR'")
  step sbatch "${flags[@]}" "$ROOT/launch/slurm_job.sh" "${words[@]}"
}

case $ACTION in
  setup) step bash "$ROOT/launch/worker_setup.sh" "$ACCELERATOR" ;;
  submit)
    [ ${#ARGUMENTS[@]} -gt 0 ] || die "what to run stands after --, such as: -- --gin_file=gin/experiments/mini_annotate.gin"
    case $MODULE in t5x.train | t5x.infer | t5x.eval) ;; *) die "--module is '$MODULE'; allowed: t5x.train, t5x.infer, t5x.eval" ;; esac
    if [ "$MODULE" = t5x.train ]; then
      [[ $MODEL_DIR =~ ^/[A-Za-z0-9_./-]+$ ]] ||
        die "--model-dir is '$MODEL_DIR'; allowed: an absolute path of letters, digits and _ . / -, which every node sees"
    fi
    if [ -n "$DEVICE" ]; then
      set_spend "$DEVICE" $((NODES * GPUS)) "launch/slurm.sh delete --name $NAME"
    else
      note "spend: $((NODES * GPUS)) GPUs of the cluster's while it runs; --device NAME gives the price at a cloud. Stop it: launch/slurm.sh delete --name $NAME"
    fi
    submit
    ;;
  status) step squeue --me "--name=$NAME" "--format=%i %j %T %M %R" ;;
  delete) step scancel --me "--name=$NAME" ;;
  *) die "'$ACTION' is no action; allowed: setup, submit, status, delete" ;;
esac
