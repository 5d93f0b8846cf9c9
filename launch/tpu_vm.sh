#!/usr/bin/env bash
# A TPU slice of Google Cloud, from its creation to its end.
#   launch/tpu_vm.sh ACTION NAME --accelerator TYPE --zone ZONE [FLAGS] [-- ARGUMENTS OF THE PROGRAM]
# Actions:
#   create   ask for the slice, and wait until it is up
#   setup    code of --commit, environment and bucket on every worker
#   run      start the program on every worker; it goes on when the connection ends. Again after a crash: it resumes
#   resume   after a preemption: remove what is left, then create, setup and run; the run goes on from its checkpoint
#   status   what the slice is doing           log   the output of worker 0
#   stop     SIGTERM: checkpoint, then end; the slice stays up
#   delete   the slice goes, the spending ends; the bucket stays
# Flags:
#   --accelerator TYPE   v4-8, v5p-8 (cores), v5e-16, v6e-8 (chips), ...
#   --zone ZONE          where; --project PROJECT too, unless gcloud knows it
#   --spot               cheaper, may be taken away at any time
#   --queued             as a queued resource: waits in line for free chips (--valid-for 6h: no longer than that)
#   --bucket NAME        a bucket in the slice's region, mounted at /mnt/doa on every worker
#   --model-dir PATH     MODEL_DIR of the run inside the bucket, such as runs/wlp
#   --module MODULE      t5x.train (default), t5x.infer or t5x.eval
#   --commit COMMIT      default HEAD         --runtime VERSION   image; default by type
#   --dry-run            print every command and what it would cost; do nothing
# Example: launch/tpu_vm.sh create mine --accelerator v5p-8 --zone us-east5-a --spot --dry-run
# No credentials are kept: gcloud's own login here, the slice's service account there.
set -euo pipefail
# shellcheck source=launch/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

usage() { sed -n '2,/^set -euo/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//'; }

[ $# -gt 0 ] || { usage >&2; exit 2; }
case $1 in -h | --help | help) usage; exit 0 ;; esac
ACTION=$1
NAME=${2:-}
shift $(($# > 1 ? 2 : 1))

ACCELERATOR="" ZONE="" PROJECT="" SPOT=0 QUEUED=0 VALID_FOR="" BUCKET="" MODEL_DIR="" MODULE=t5x.train COMMIT=HEAD RUNTIME=""
ARGUMENTS=()
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) DRY_RUN=1 ;;
    --spot) SPOT=1 ;;
    --queued) QUEUED=1 ;;
    --) shift; ARGUMENTS=("$@"); break ;;
    --accelerator | --zone | --project | --valid-for | --bucket | --model-dir | --module | --commit | --runtime)
      [ $# -gt 1 ] || die "$1 needs a value"
      case $1 in
        --accelerator) ACCELERATOR=$2 ;;
        --zone) ZONE=$2 ;;
        --project) PROJECT=$2 ;;
        --valid-for) VALID_FOR=$2 ;;
        --bucket) BUCKET=$2 ;;
        --model-dir) MODEL_DIR=$2 ;;
        --module) MODULE=$2 ;;
        --commit) COMMIT=$2 ;;
        --runtime) RUNTIME=$2 ;;
      esac
      shift ;;
    *) die "unknown flag $1; the program's own arguments stand after --. Help: launch/tpu_vm.sh --help" ;;
  esac
  shift
done

is_name NAME "$NAME"
[ -n "$ZONE" ] || die "--zone is missing, such as --zone us-east5-a"
[ -n "$ACCELERATOR" ] || die "--accelerator is missing, such as --accelerator v5p-8"
[ -z "$BUCKET" ] || is_bucket "$BUCKET"
[ -z "$VALID_FOR" ] || [ "$QUEUED" = 1 ] || die "--valid-for goes with --queued"

# Chips and hosts of a slice: v4 and v5p are named by cores, two a chip, four chips a host; v5e and v6e by chips, up to
# eight of them on one host, else four a host.
GENERATION=${ACCELERATOR%%-*}
SIZE=${ACCELERATOR#*-}
is_count --accelerator "$SIZE"
GCLOUD_TYPE=$ACCELERATOR
case $GENERATION in
  v4 | v5p)
    [ $((SIZE % 8)) = 0 ] || die "--accelerator is '$ACCELERATOR'; $GENERATION counts cores, in eights"
    CHIPS=$((SIZE / 2)) HOSTS=$((SIZE / 8)) ;;
  v5e | v5litepod | v6e)
    CHIPS=$SIZE HOSTS=$((SIZE <= 8 ? 1 : SIZE / 4))
    case $GENERATION in v5litepod) GENERATION=v5e ;; v5e) GCLOUD_TYPE=v5litepod-$SIZE ;; esac ;;
  *) die "--accelerator is '$ACCELERATOR'; allowed: v4-N, v5p-N (N cores), v5e-N, v6e-N (N chips)" ;;
esac
case $GENERATION in
  v4) IMAGE=tpu-ubuntu2204-base ;;
  v5p) IMAGE=v2-alpha-tpuv5 ;;
  v5e) IMAGE=v2-alpha-tpuv5-lite ;;
  v6e) IMAGE=v2-alpha-tpuv6e ;;
esac
WHERE=("--zone=$ZONE")
[ -z "$PROJECT" ] || WHERE+=("--project=$PROJECT")
AGAIN=(--accelerator "$ACCELERATOR" --zone "$ZONE")
[ -z "$PROJECT" ] || AGAIN+=(--project "$PROJECT")
[ "$QUEUED" = 0 ] || AGAIN+=(--queued)
STOP="launch/tpu_vm.sh delete $NAME $(quoted "${AGAIN[@]}")"
TPU=(gcloud compute tpus tpu-vm)
QUEUE=(gcloud compute tpus queued-resources)

on_workers() { # WHICH COMMAND: over ssh
  step "${TPU[@]}" ssh "$NAME" "${WHERE[@]}" "--worker=$1" "--command=$2"
}

create() {
  local flags=()
  [ "$SPOT" = 0 ] || flags+=(--spot)
  MAY_BE_UP="Whether $NAME is up is not known; look: ${STOP/ delete / status }"
  if [ "$QUEUED" = 1 ]; then
    [ -z "$VALID_FOR" ] || flags+=("--valid-until-duration=$VALID_FOR")
    step "${QUEUE[@]}" create "$NAME" "${WHERE[@]}" "--node-id=$NAME" "--accelerator-type=$GCLOUD_TYPE" \
      "--runtime-version=${RUNTIME:-$IMAGE}" "${flags[@]}"
    until_says ACTIVE "${QUEUE[@]}" describe "$NAME" "${WHERE[@]}" "--format=value(state.state)"
  else
    step "${TPU[@]}" create "$NAME" "${WHERE[@]}" "--accelerator-type=$GCLOUD_TYPE" "--version=${RUNTIME:-$IMAGE}" \
      "${flags[@]}"
  fi
  MAY_BE_UP="$NAME is still up and costs money."
}

setup() {
  local folder archive bucket=""
  [ -z "$BUCKET" ] || bucket=" --bucket $BUCKET"
  # The name stays the same in a dry run, which makes no folder.
  folder=/tmp
  [ "$DRY_RUN" = 1 ] || folder=$(mktemp -d)
  archive=$folder/doa.tar.gz
  make_archive "$COMMIT" "$archive"
  step "${TPU[@]}" scp "$archive" "$NAME:doa.tar.gz" "${WHERE[@]}" --worker=all
  step rm "$archive"
  [ "$DRY_RUN" = 1 ] || rmdir "$folder"
  on_workers all "mkdir -p doa && tar -xzf doa.tar.gz -C doa && bash doa/launch/worker_setup.sh tpu$bucket"
}

run_program() {
  local words=("$MODULE")
  # One process a host; JAX finds the coordinator of a slice by itself.
  [ "$HOSTS" = 1 ] || words+=(--multiprocess_gpu)
  words+=("${ARGUMENTS[@]}")
  [ -z "$MODEL_DIR" ] || words+=("--gin.MODEL_DIR='/mnt/doa/$MODEL_DIR'")
  on_workers all "bash doa/launch/worker_run.sh start $(quoted "${words[@]}")"
}

check_run() {
  [ ${#ARGUMENTS[@]} -gt 0 ] || die "what to run stands after --, such as: -- --gin_file=gin/experiments/mini_annotate.gin"
  case $MODULE in t5x.train | t5x.infer | t5x.eval) ;; *) die "--module is '$MODULE'; allowed: t5x.train, t5x.infer, t5x.eval" ;; esac
  [ -z "$MODEL_DIR" ] || { is_inside --model-dir "$MODEL_DIR"; [ -n "$BUCKET" ] || die "--model-dir needs --bucket: a spot slice takes its disk with it"; }
  [ -n "$MODEL_DIR" ] || [ "$MODULE" != t5x.train ] || note "no --model-dir: checkpoints go where the arguments say, and end with the slice unless that is /mnt/doa/..."
}

remove() {
  if [ "$QUEUED" = 1 ]; then
    step "${QUEUE[@]}" delete "$NAME" "${WHERE[@]}" --force --quiet
  else
    step "${TPU[@]}" delete "$NAME" "${WHERE[@]}" --quiet
  fi
}

is_up() { # asked before a slice is removed as preempted
  local state
  note "only if this does not print READY:"
  quoted "${TPU[@]}" describe "$NAME" "${WHERE[@]}" "--format=value(state)"
  [ "$DRY_RUN" = 1 ] && return 1
  state=$("${TPU[@]}" describe "$NAME" "${WHERE[@]}" "--format=value(state)" 2>/dev/null) || state=""
  [ "$state" = READY ]
}

is_there() { # a queue entry outlives its slice
  [ "$DRY_RUN" = 1 ] && return 0
  if [ "$QUEUED" = 1 ]; then
    "${QUEUE[@]}" describe "$NAME" "${WHERE[@]}" >/dev/null 2>&1
  else
    "${TPU[@]}" describe "$NAME" "${WHERE[@]}" >/dev/null 2>&1
  fi
}

case $ACTION in create | setup | run | resume | stop) set_spend "$GENERATION" "$CHIPS" "$STOP" ;; esac
MAY_BE_UP="$NAME is still up and costs money."
case $ACTION in
  create) create ;;
  setup) setup ;;
  run) check_run; run_program ;;
  resume)
    check_run
    ! is_up || die "$NAME is up; nothing was taken away. Go on with: launch/tpu_vm.sh run"
    ! is_there || remove
    create
    setup
    run_program
    ;;
  status)
    MAY_BE_UP=""
    if [ "$QUEUED" = 1 ]; then
      step "${QUEUE[@]}" describe "$NAME" "${WHERE[@]}" "--format=value(state.state)"
    else
      step "${TPU[@]}" describe "$NAME" "${WHERE[@]}" "--format=value(state)"
    fi
    ;;
  log) MAY_BE_UP=""; on_workers 0 "bash doa/launch/worker_run.sh log" ;;
  stop) on_workers all "bash doa/launch/worker_run.sh stop"; note "$NAME stays up." ;;
  delete)
    SPEND="Try again: $STOP"
    remove
    note "$NAME is gone; what is in the bucket stays, and costs what buckets cost."
    ;;
  *) MAY_BE_UP=""; die "'$ACTION' is no action; allowed: create, setup, run, resume, status, log, stop, delete" ;;
esac
