#!/usr/bin/env bash
# Tests, benchmark and studies on a borrowed GPU without a network, home in at most eight files.
# Usage: scripts/gpu_batch.sh OUT [OPTIONS of scripts/gpu_batch.py]
# Needs there: Python with torch, numpy, safetensors, psutil, typer, rich, filelock, scipy, scikit-learn, pytest. What is missing
# travels as wheels in wheels/ or the folder that WHEELS names (pydantic, pydantic-core, annotated-types, ruamel.yaml,
# typing-inspection, scipy-openblas32), and data
# sets in the folder that LMC_DATA_MIRROR names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 1 ] || { sed -n '2,6p' "$0" >&2; exit 2; }

PYTHON=${PYTHON:-python3} wheels=${WHEELS:-wheels}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if compgen -G "$wheels/*.whl" >/dev/null; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl
fi
export PYTHONPATH="$PWD:$site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
"$PYTHON" scripts/gpu_batch.py "$@"
