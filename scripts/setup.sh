#!/usr/bin/env bash
# Set-up that is missing, and only that: system packages, .venv, the package with its constraints.
# Usage: scripts/setup.sh [PYTHON]      PYTHON empty: keep the .venv that is there, otherwise python3
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly STAMP=.venv/.setup-key LOG=build/setup.log
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0 PIP_NO_INPUT=1

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# Runs a command with its output in the log; shows the log's last lines if it fails.
logged() {
    mkdir -p "${LOG%/*}"
    printf '\n%s $ %s\n' "$(date '+%F %T')" "$*" >>"$LOG"
    "$@" >>"$LOG" 2>&1 </dev/null && return
    tail -n 15 "$LOG" >&2
    say "failed: $* (the whole log: $PWD/$LOG)"
    return 1
}

# Prints the real path of an interpreter; fails where there is none or its version is not admitted by pyproject.toml.
interpreter() {
    "$1" -c '
import os, re, sys
low, high = re.search(r"requires-python = \">=3\.(\d+),<3\.(\d+)\"", open("pyproject.toml").read()).groups()
if not (3, int(low)) <= sys.version_info[:2] < (3, int(high)):
    sys.exit(1)
print(os.path.realpath(sys.executable))' 2>/dev/null
}

choose_python() {
    local wanted=${1:-} candidate
    if [ -n "$wanted" ]; then
        interpreter "$wanted" || die "PYTHON=$wanted is missing or of another version than $(versions); name one that is installed, e.g. make setup PYTHON=/usr/bin/python3"
        return
    fi
    for candidate in .venv/bin/python python3 python3.13 python3.12 python3.11; do
        interpreter "$candidate" && return
    done
    die "found no Python of version $(versions); install one, or name it: make setup PYTHON=/path/to/python3"
}

versions() { sed -n 's/^requires-python = "\([^"]*\)".*/\1/p' pyproject.toml; }

# What an up-to-date .venv was made from; it also holds the folder, since scripts in .venv name it.
key() {
    { "$1" -VV; printf '%s\n' "$1" "$PWD"; cat pyproject.toml constraints.txt scripts/setup.sh; } | sha256sum
}

# Debian's names of what is needed to make .venv and to build ffcv, and is not there.
missing_packages() {
    local python=$1 suffix=3
    # Another interpreter than the distribution's own has packages of its own version.
    [[ $python == /usr/bin/* && $python != "$(readlink -f /usr/bin/python3)" ]] && suffix=${python##*/python}
    "$python" -c 'import ensurepip, venv' 2>/dev/null || echo "python$suffix-venv"
    "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || echo "python$suffix-dev"
    { command -v cc && command -v c++; } >/dev/null || echo build-essential
    command -v pkg-config >/dev/null || echo pkg-config
    pkg-config --exists opencv4 2>/dev/null || echo libopencv-dev
    pkg-config --exists libturbojpeg 2>/dev/null || echo libturbojpeg0-dev
}

install_packages() {
    local install="apt-get install -y --no-install-recommends $*" root=()
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || die "needs these system packages: sudo apt-get update && sudo $install"
        root=(sudo -n)
    fi
    command -v apt-get >/dev/null || die "no apt-get here; install what these Debian packages hold: $*"
    say "installing system packages: $* (log: $LOG)"
    logged "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q ||
        say "apt-get update failed; going on with the package lists that are there"
    # shellcheck disable=SC2086  # a list of words
    logged "${root[@]}" env DEBIAN_FRONTEND=noninteractive $install -q || die "failed: $install"
}

make_venv() {
    local python=$1
    # Without a stamp an installation was cut off, and pip takes half an installed package for a whole one.
    if [ ! -f "$STAMP" ] || [ "$(interpreter .venv/bin/python)" != "$python" ] || [ ! -x .venv/bin/pip ]; then
        rm -rf .venv
        "$python" -m venv .venv
    fi
    rm -f "$STAMP"
    say "installing Python packages into .venv (minutes the first time: torch alone is large; log: $LOG)"
    logged .venv/bin/python -m pip install -c constraints.txt pip setuptools
    logged .venv/bin/python -m pip install -c constraints.txt -e '.[dev,docs,ffcv,server]' || die \
        "pip failed, see above. Network: run the same command again. ffcv: it is compiled here against opencv4 and" \
        "libturbojpeg (pkg-config --cflags opencv4 libturbojpeg shows what it finds) with the headers of $python."
}

main() {
    local python missing
    # One set-up at a time: two terminals share .venv.
    if command -v flock >/dev/null; then
        exec 9<.
        flock -n 9 || { say "waiting for another set-up of this folder"; flock 9; }
    fi
    python=$(choose_python "${1:-}")
    [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(key "$python")" ] && return
    mapfile -t missing < <(missing_packages "$python")
    if [ ${#missing[@]} -gt 0 ]; then
        install_packages "${missing[@]}"
        mapfile -t missing < <(missing_packages "$python")
        [ ${#missing[@]} -eq 0 ] || die "still missing after the installation: ${missing[*]} (for $python)"
    fi
    make_venv "$python"
    .venv/bin/lmc schema >params.schema.json  # for editors: params.yaml names it
    key "$python" >"$STAMP"
    say "done: .venv with $("$python" -V)"
}

main "$@"
