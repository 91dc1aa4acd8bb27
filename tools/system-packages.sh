#!/bin/sh
# Off-screen OpenGL for MuJoCo and, with the argument "tests", the browser that the tests open
# pages of results in: install what is missing as root, else say what to install.
set -eu
missing=""
for pair in libEGL.so.1:libegl1 libGL.so.1:libgl1; do
    ldconfig -p 2>/dev/null | grep -q "${pair%%:*}" || missing="$missing ${pair##*:}"
done
if [ "${1:-}" = tests ]; then
    command -v chromium >/dev/null || command -v google-chrome >/dev/null \
        || missing="$missing chromium"
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "missing system packages:$missing; install them, e.g. sudo apt-get install$missing" >&2
    exit 1
fi
