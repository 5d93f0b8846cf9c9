# shellcheck shell=bash
# Sourced by the launchers: steps that are printed before they are taken, and what is still up when one fails.
#   step COMMAND...   print it; take it unless --dry-run; a failure ends the script
#   note WORDS...     a comment between steps
DRY_RUN=${DRY_RUN:-0}
SPEND=""   # the spend line, once known
MAY_BE_UP="" # what costs money should the script end early; empty: nothing
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SELF=$(basename "$0" .sh)

die() { # MESSAGE: for what a person can mend
  echo "$SELF: $*" >&2
  exit 2
}

quoted() { # WORD...: one line that a shell reads back as the same words; plain words stay as they are
  local word out=""
  for word in "$@"; do
    if [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]]; then
      out+=" $word"
    else
      out+=" '${word//\'/\'\\\'\'}'"
    fi
  done
  printf '%s\n' "${out# }"
}

note() { echo "# $*"; }

step() {
  quoted "$@"
  [ "$DRY_RUN" = 1 ] || "$@"
}

until_says() { # WORDS COMMAND...: repeat the command every POLL_SECONDS until it prints one of the words
  local words=$1 said
  shift
  note "until it prints $words:"
  quoted "$@"
  [ "$DRY_RUN" = 1 ] && return 0
  while true; do
    said=$("$@")
    [[ " $words " == *" $said "* ]] && return 0
    case $said in FAILED | SUSPENDED | PREEMPTED | TERMINATED) echo "$SELF: it says $said" >&2; return 1 ;; esac
    sleep "${POLL_SECONDS:-30}"
  done
}

set_spend() { # DEVICE COUNT STOP: the spend line from the price book, printed at once
  local python=$ROOT/.venv/bin/python
  [ -x "$python" ] || python=$(command -v python3.13 || command -v python3.12 || command -v python3.11 || echo python3)
  SPEND=$("$python" "$ROOT/launch/spend_line.py" --device "$1" --count "$2" --stop "$3") || exit 2
  echo "$SPEND"
}

make_archive() { # COMMIT FILE: the code of a commit; what is not committed does not travel
  if [ "$DRY_RUN" != 1 ] && [ -n "$(git -C "$ROOT" status --porcelain --untracked-files=no)" ]; then
    echo "$SELF: uncommitted changes stay here; the machines get $1" >&2
  fi
  step git -C "$ROOT" archive --format=tar.gz "--output=$2" "$1"
}

is_name() { # FLAG VALUE: what may go into names of machines
  [[ $2 =~ ^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$ ]] ||
    die "$1 is '$2'; allowed: lower-case letters, digits and dashes, a letter first, 50 at most"
}

is_count() { # FLAG VALUE
  [[ $2 =~ ^[1-9][0-9]{0,3}$ ]] || die "$1 is '$2'; allowed: whole numbers from 1 to 9999"
}

is_bucket() { # a bucket's name without gs://; it becomes part of commands on the machines
  [[ $1 =~ ^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$ ]] || die "--bucket is '$1'; allowed: a bucket's name, without gs://"
}

is_inside() { # FLAG PATH: a path below the mounted bucket
  [[ $2 =~ ^[A-Za-z0-9_][A-Za-z0-9_./-]*$ && $2 != *..* ]] ||
    die "$1 is '$2'; allowed: a path inside the bucket, such as runs/mine, of letters, digits and _ . / -"
}

last_words() { # the trap of EXIT: a failure names what goes on costing money
  local status=$?
  if [ "$status" -ne 0 ] && [ "$DRY_RUN" != 1 ] && [ -n "$MAY_BE_UP" ]; then
    echo "$SELF: stopped with status $status. $MAY_BE_UP" >&2
    echo "$SPEND" >&2
  fi
}
trap last_words EXIT
