#!/bin/sh
# stable-worldmodel, to measure against (worldmodel bench planner): only its own files, beside
# the project's environment, because the whole of it needs a torchvision that may not fit.
set -e
cd "$(dirname "$0")/../.."
python=.venv/bin/python
[ -x "$python" ] || python=python3
"$python" -m pip install -q --no-deps --target .bench stable-worldmodel==0.1.1 loguru==0.7.3
