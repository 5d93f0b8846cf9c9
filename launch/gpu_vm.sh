#!/usr/bin/env bash
# GPU machines of Google Cloud, from their creation to their end: one container, and in it one process, on each.
#   launch/gpu_vm.sh ACTION NAME --machine TYPE --zone ZONE [FLAGS] [-- ARGUMENTS OF THE PROGRAM]
# Actions:
#   create   machines NAME-0, NAME-1, ...
#   setup    code of --commit, its container and the bucket on every machine
#   run      start the program on every machine; it goes on when the connection ends. Again after a crash: it resumes
#   resume   after a preemption: remove what is left, then create, setup and run; the run goes on from its checkpoint
#   status   what the machines are doing       log   the output of machine 0
#   stop     SIGTERM: checkpoint, then end; the machines stay up
#   delete   the machines go, the spending ends; the bucket stays
# Flags:
#   --machine TYPE       a2-highgpu-1g (A100 40 GB), a2-ultragpu-8g (A100 80 GB), a3-highgpu-8g (H100), ...: -Ng has N GPUs
#   --hosts N            machines (default 1)
#   --zone ZONE          where; --project PROJECT too, unless gcloud knows it
#   --spot               cheaper, may be taken away at any time
#   --bucket NAME        a bucket in the machines' region, mounted at /mnt/doa on each
#   --model-dir PATH     MODEL_DIR of the run inside the bucket, such as runs/wlp
#   --module MODULE      t5x.train (default), t5x.infer or t5x.eval
#   --commit COMMIT      default HEAD         --accelerator cuda13|cuda12   JAX's CUDA (default cuda13)
#   --image-family NAME  of the project deeplearning-platform-release, with driver and container toolkit
#   --dry-run            print every command and what it would cost; do nothing
# Example: launch/gpu_vm.sh create mine --machine a2-ultragpu-1g --zone us-central1-a --spot --dry-run
# No credentials are kept: gcloud's own login here, the machines' service account there.
set -euo pipefail
# shellcheck source=launch/steps.sh
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

usage() { sed -n '2,/^set -euo/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//'; }

[ $# -gt 0 ] || { usage >&2; exit 2; }
case $1 in -h | --help | help) usage; exit 0 ;; esac
ACTION=$1
NAME=${2:-}
shift $(($# > 1 ? 2 : 1))

MACHINE="" HOSTS=1 ZONE="" PROJECT="" SPOT=0 BUCKET="" MODEL_DIR="" MODULE=t5x.train COMMIT=HEAD ACCELERATOR=cuda13
IMAGE_FAMILY=common-cu129-ubuntu-2204-nvidia-580 PORT=8476
ARGUMENTS=()
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) DRY_RUN=1 ;;
    --spot) SPOT=1 ;;
    --) shift; ARGUMENTS=("$@"); break ;;
    --machine | --hosts | --zone | --project | --bucket | --model-dir | --module | --commit | --accelerator | --image-family)
      [ $# -gt 1 ] || die "$1 needs a value"
      case $1 in
        --machine) MACHINE=$2 ;;
        --hosts) HOSTS=$2 ;;
        --zone) ZONE=$2 ;;
        --project) PROJECT=$2 ;;
        --bucket) BUCKET=$2 ;;
        --model-dir) MODEL_DIR=$2 ;;
        --module) MODULE=$2 ;;
        --commit) COMMIT=$2 ;;
        --accelerator) ACCELERATOR=$2 ;;
        --image-family) IMAGE_FAMILY=$2 ;;
      esac
      shift ;;
    *) die "unknown flag $1; the program's own arguments stand after --. Help: launch/gpu_vm.sh --help" ;;
  esac
  shift
done

is_name NAME "$NAME"
is_count --hosts "$HOSTS"
[ -n "$ZONE" ] || die "--zone is missing, such as --zone us-central1-a"
[ -z "$BUCKET" ] || is_bucket "$BUCKET"
case $ACCELERATOR in cuda12 | cuda13) ;; *) die "--accelerator is '$ACCELERATOR'; allowed: cuda13, cuda12" ;; esac
[[ $MACHINE =~ -([0-9]+)g$ ]] || die "--machine is '$MACHINE'; allowed: a type that ends in its GPUs, such as a2-ultragpu-1g"
GPUS=${BASH_REMATCH[1]}
case $MACHINE in
  a2-highgpu-* | a2-megagpu-*) DEVICE=a100_40gb ;;
  a2-ultragpu-*) DEVICE=a100_80gb ;;
  a3-highgpu-* | a3-megagpu-* | a3-edgegpu-*) DEVICE=h100_80gb ;;
  *) die "--machine is '$MACHINE'; priced are a2-highgpu, a2-megagpu, a2-ultragpu, a3-highgpu, a3-megagpu and a3-edgegpu" ;;
esac
WHERE=("--zone=$ZONE")
[ -z "$PROJECT" ] || WHERE+=("--project=$PROJECT")
AGAIN=(--machine "$MACHINE" --hosts "$HOSTS" --zone "$ZONE")
[ -z "$PROJECT" ] || AGAIN+=(--project "$PROJECT")
STOP="launch/gpu_vm.sh delete $NAME $(quoted "${AGAIN[@]}")"
ALL=()
for ((host = 0; host < HOSTS; host++)); do ALL+=("$NAME-$host"); done

on_host() { # INDEX COMMAND: over ssh
  step gcloud compute ssh "$NAME-$1" "${WHERE[@]}" "--command=$2"
}

create() {
  local flags=(--maintenance-policy=TERMINATE --boot-disk-size=200GB --scopes=storage-rw)
  [ "$SPOT" = 0 ] || flags+=(--provisioning-model=SPOT --instance-termination-action=STOP)
  MAY_BE_UP="Which of ${ALL[*]} are up is not known; look: ${STOP/ delete / status }"
  step gcloud compute instances create "${ALL[@]}" "${WHERE[@]}" "--machine-type=$MACHINE" \
    "--image-family=$IMAGE_FAMILY" --image-project=deeplearning-platform-release "${flags[@]}"
  MAY_BE_UP="${ALL[*]}: still up, and cost money."
}

setup() {
  local folder archive host mount="true"
  [ -z "$BUCKET" ] || mount="bash doa/launch/worker_setup.sh mount-only --bucket $BUCKET"
  # The name stays the same in a dry run, which makes no folder.
  folder=/tmp
  [ "$DRY_RUN" = 1 ] || folder=$(mktemp -d)
  archive=$folder/doa.tar.gz
  make_archive "$COMMIT" "$archive"
  for ((host = 0; host < HOSTS; host++)); do
    step gcloud compute scp "$archive" "$NAME-$host:doa.tar.gz" "${WHERE[@]}"
    on_host "$host" "mkdir -p doa && tar -xzf doa.tar.gz -C doa && $mount && sudo docker build --quiet --build-arg ACCELERATOR=$ACCELERATOR -f doa/launch/Containerfile -t doa doa"
  done
  step rm "$archive"
  [ "$DRY_RUN" = 1 ] || rmdir "$folder"
}

run_program() {
  local host words
  for ((host = 0; host < HOSTS; host++)); do
    words=("$MODULE")
    [ "$HOSTS" = 1 ] ||
      words+=(--multiprocess_gpu "--coordinator_address=$NAME-0:$PORT" "--process_count=$HOSTS" "--process_index=$host")
    words+=("${ARGUMENTS[@]}")
    [ -z "$MODEL_DIR" ] || words+=("--gin.MODEL_DIR='/mnt/doa/$MODEL_DIR'")
    # A container of that name may be left from a run before; one that still runs is not removed, and its name refuses another.
    on_host "$host" "sudo docker rm doa >/dev/null 2>&1; sudo docker run --detach --init --name doa --gpus all --network host --ipc host --stop-timeout 600 --volume /mnt/doa:/mnt/doa doa $(quoted "${words[@]}")"
  done
}

check_run() {
  [ ${#ARGUMENTS[@]} -gt 0 ] || die "what to run stands after --, such as: -- --gin_file=gin/experiments/mini_annotate.gin"
  case $MODULE in t5x.train | t5x.infer | t5x.eval) ;; *) die "--module is '$MODULE'; allowed: t5x.train, t5x.infer, t5x.eval" ;; esac
  [ -z "$MODEL_DIR" ] || { is_inside --model-dir "$MODEL_DIR"; [ -n "$BUCKET" ] || die "--model-dir needs --bucket: machines see each other's checkpoints there"; }
  [ -n "$MODEL_DIR" ] || [ "$MODULE" != t5x.train ] || note "no --model-dir: checkpoints go where the arguments say, and end with the container unless that is /mnt/doa/..."
}

remove() { step gcloud compute instances delete "${ALL[@]}" "${WHERE[@]}" --quiet; }

LIST=(gcloud compute instances list "--filter=name=(${ALL[*]})")
[ -z "$PROJECT" ] || LIST+=("--project=$PROJECT")

are_up() { # asked before machines are removed as preempted
  local said
  note "only if this does not print RUNNING for every machine:"
  quoted "${LIST[@]}" "--format=value(status)"
  [ "$DRY_RUN" = 1 ] && return 1
  said=$("${LIST[@]}" "--format=value(status)")
  FOUND=$(grep -c . <<<"$said" || true)
  [ "$(grep -cx RUNNING <<<"$said" || true)" = "$HOSTS" ]
}

case $ACTION in create | setup | run | resume | stop) set_spend "$DEVICE" $((GPUS * HOSTS)) "$STOP" ;; esac
MAY_BE_UP="${ALL[*]}: still up, and cost money."
case $ACTION in
  create) create ;;
  setup) setup ;;
  run) check_run; run_program ;;
  resume)
    check_run
    FOUND=$HOSTS
    ! are_up || die "${ALL[*]}: all up; nothing was taken away. Go on with: launch/gpu_vm.sh run"
    [ "$FOUND" = 0 ] || remove
    create
    setup
    run_program
    ;;
  status)
    MAY_BE_UP=""
    step "${LIST[@]}" "--format=value(name,status)"
    ;;
  log) MAY_BE_UP=""; on_host 0 "sudo docker logs --follow --tail 50 doa" ;;
  stop)
    for ((host = 0; host < HOSTS; host++)); do on_host "$host" "sudo docker kill --signal TERM doa"; done
    note "${ALL[*]}: still up."
    ;;
  delete)
    SPEND="Try again: $STOP"
    remove
    note "${ALL[*]}: gone; what is in the bucket stays, and costs what buckets cost."
    ;;
  *) MAY_BE_UP=""; die "'$ACTION' is no action; allowed: create, setup, run, resume, status, log, stop, delete" ;;
esac
