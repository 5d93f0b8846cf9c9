#!/usr/bin/env bash
# On a machine with accelerators: the environment from requirements.lock with the accelerator's JAX, and the bucket's mount.
#   bash worker_setup.sh tpu|cuda13|cuda12|cpu|mount-only [--bucket NAME] [--mount FOLDER]
# Example: bash worker_setup.sh tpu --bucket my-bucket
# Idempotent. Keeps no credentials: gcsfuse uses the machine's own service account.
set -euo pipefail
cd "$(dirname "$0")/.."
ACCELERATOR=${1:?worker_setup: which accelerator? tpu, cuda13, cuda12 or cpu}
shift
BUCKET=""
MOUNT=/mnt/doa
while [ $# -gt 0 ]; do
  case $1 in
    --bucket) BUCKET=$2 ;;
    --mount) MOUNT=$2 ;;
    *) echo "worker_setup: unknown flag $1; allowed: --bucket, --mount" >&2; exit 2 ;;
  esac
  shift 2
done

environment() {
  local jax
  # TPU images bring Python 3.10: uv fetches 3.11 where it is missing.
  command -v uv >/dev/null 2>&1 || python3 -m pip install --quiet --user uv
  export PATH="$HOME/.local/bin:$PATH"
  [ -x .venv/bin/python ] || uv venv --quiet --python 3.11 .venv
  # JAX of the accelerator in the locked version: its plug-in must be of the same release.
  jax=$(sed -n "s/^jax==\([0-9.]*\).*< '3.12'.*/\1/p; s/^jax==\([0-9.]*\)$/\1/p" requirements.lock | head -n 1)
  local packages=()
  [ "$ACCELERATOR" = cpu ] || packages=("jax[$ACCELERATOR]==$jax")
  uv pip install --quiet --python .venv/bin/python --compile-bytecode -r requirements.lock "${packages[@]}"
  uv pip install --quiet --python .venv/bin/python --compile-bytecode --no-deps -e . -e runtime
}

mount_bucket() {
  if ! command -v gcsfuse >/dev/null 2>&1; then
    curl -fsSL https://packages.cloud.google.com/apt/doc/apt-key.gpg |
      sudo tee /usr/share/keyrings/cloud.google.asc >/dev/null
    echo "deb [signed-by=/usr/share/keyrings/cloud.google.asc] https://packages.cloud.google.com/apt gcsfuse-$(lsb_release -cs) main" |
      sudo tee /etc/apt/sources.list.d/gcsfuse.list >/dev/null
    sudo apt-get update -q
    sudo apt-get install -y -q gcsfuse
  fi
  sudo mkdir -p "$MOUNT"
  sudo chown "$(id -u):$(id -g)" "$MOUNT"
  # A checkpoint is written beside its place and renamed; without the limit gcsfuse refuses to rename a full folder.
  local mounter=(gcsfuse)
  # A container's root may look into nobody else's mount.
  [ "$ACCELERATOR" != mount-only ] || mounter=(sudo gcsfuse -o allow_other)
  mountpoint -q "$MOUNT" || "${mounter[@]}" --implicit-dirs --rename-dir-limit=1000000 "$BUCKET" "$MOUNT"
}

case $ACCELERATOR in
  tpu | cuda12 | cuda13 | cpu) environment ;;
  mount-only) ;; # the environment is in a container
  *) echo "worker_setup: '$ACCELERATOR' is no accelerator; allowed: tpu, cuda13, cuda12, cpu, mount-only" >&2; exit 2 ;;
esac
[ -z "$BUCKET" ] || mount_bucket
