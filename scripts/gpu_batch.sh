#!/usr/bin/env bash
# Tests, benchmark and studies on a borrowed GPU without a network, home in at most eight files.
# Usage: scripts/gpu_batch.sh OUT [OPTIONS of scripts/gpu_batch.py]
# Needs there: Python with torch, numpy, scipy, safetensors, psutil, filelock, typer (not 0.27), rich, scikit-learn and
# pytest. Packages that are missing there travel as wheels in the folder that WHEELS names, wheels/ by default: pydantic,
# pydantic-core, annotated-types, typing-inspection, ruamel.yaml, scipy-openblas32. Data sets lie in the folder that
# LMC_DATA_MIRROR names. A job that the end of the time interrupts goes on when the batch is called again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[ $# -ge 1 ] || { sed -n '2,7p' "$0" >&2; exit 2; }

PYTHON=${PYTHON:-python3} wheels=${WHEELS:-wheels}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if compgen -G "$wheels/*.whl" >/dev/null; then
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl
fi
export PYTHONPATH="$PWD:$site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
"$PYTHON" scripts/gpu_batch.py "$@"
