#!/usr/bin/env bash
# A browser for the tests marked `browser` and for `make screenshots`, where apt-get and root are at hand. Elsewhere, and
# where it cannot be installed, it says what to do and ends well: those tests then skip with a reason.
set -euo pipefail

say() { printf 'chromium: %s\n' "$*" >&2; }

for name in chromium chromium-browser google-chrome; do
    command -v "$name" >/dev/null && exit 0
done

readonly INSTALL="apt-get install -y --no-install-recommends chromium fonts-dejavu-core"
root=()
if ! command -v apt-get >/dev/null; then
    say "no apt-get here; install Chromium by hand, and the browser tests run"
    exit 0
elif [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || { say "for the browser tests: sudo apt-get update && sudo $INSTALL"; exit 0; }
    root=(sudo -n)
fi
say "installing it"
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q </dev/null ||
    say "apt-get update failed; going on with the package lists that are there"
# shellcheck disable=SC2086  # a list of words
"${root[@]}" env DEBIAN_FRONTEND=noninteractive $INSTALL -q </dev/null ||
    say "failed: $INSTALL; the browser tests will skip"
