#!/usr/bin/env bash
# Adds torch and transformers (the extra `.[parity]`) to $VENV, for the tests marked `parity`. Called by `make test-parity`.
# pip rather than uv: it prefers a CPU build (+cpu) wherever an index or a folder of wheels (PIP_FIND_LINKS) offers one.
# What the lock pins stays as it is. Fails loudly: without torch these tests do not run, and CI must not pass in silence.
set -euo pipefail
cd "$(dirname "$0")/.."
VENV=${VENV:-.venv}
# Where torch's CPU builds are; set to nothing to ask the usual index only.
TORCH_INDEX=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}
TRIES="--retries 1 --timeout 60"

wanted=$("$VENV/bin/python" - <<'PY'
import importlib.metadata as metadata
import re

for requirement in metadata.requires("distill-or-annotate"):
    if re.search(r"extra\s*==\s*.parity.", requirement):
        print(requirement.split(";")[0].replace(" ", ""))
PY
)
read -r -a wanted <<<"${wanted//$'\n'/ }"

if "$VENV/bin/python" - "${wanted[@]}" <<'PY' 2>/dev/null; then exit 0; fi
import importlib.metadata as metadata
import sys

from packaging.requirements import Requirement

wanted = map(Requirement, sys.argv[1:])
sys.exit(not all(each.specifier.contains(metadata.version(each.name)) for each in wanted))
PY

"$VENV/bin/python" -m pip --version >/dev/null 2>&1 || "$VENV/bin/python" -m ensurepip >/dev/null
pip=("$VENV/bin/python" -m pip --disable-pip-version-check install -qq -c requirements.lock "${wanted[@]}")
# The CPU builds' index is asked only where it answers: pip would try it anew for every package.
if [ -n "$TORCH_INDEX" ] && "$VENV/bin/python" -c "
import sys, urllib.request
urllib.request.urlopen(sys.argv[1] + '/torch/', timeout=10)" "$TORCH_INDEX" 2>/dev/null; then
  # shellcheck disable=SC2086
  "${pip[@]}" $TRIES --extra-index-url "$TORCH_INDEX" && exit 0
fi
"${pip[@]}" && exit 0
cat >&2 <<END

============================================================================================================
test-parity: ${wanted[*]} could not be installed: THE PARITY TESTS DID NOT RUN.
They compare the network and converted checkpoints with transformers on torch's CPU build. Fix: a package index
that has them (PIP_INDEX_URL), or a folder of wheels (PIP_FIND_LINKS); then \`make test-parity\`.
============================================================================================================
END
exit 1
