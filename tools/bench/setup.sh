#!/bin/sh
# stable-worldmodel 0.1.1, beside the project's environment.  .bench: only its own files, to measure
# its solver (worldmodel bench planner).  .bench/field: what the whole of it needs that the project
# has not, to try both ways with it and for worldmodel bench field; apart, because its torchvision is
# made for a torch with CUDA (benchmarks/peer.py) and whoever finds it would take it.
# .bench/dm_control: for Reacher, with a MuJoCo that dm_control goes with.
set -e
cd "$(dirname "$0")/../.."
python=.venv/bin/python
[ -x "$python" ] || python=python3
into() { "$python" -m pip install -q --no-compile --disable-pip-version-check --upgrade --no-deps --target "$@"; }
into .bench stable-worldmodel==0.1.1 loguru==0.7.3
into .bench/field torchvision==0.28.0 einops==0.8.2 tabulate==0.10.0 imageio==2.38.1 \
    opencv-python-headless==5.0.0.93 hdf5plugin==7.1.0 lancedb==0.40.0 pylance==14.0.2 \
    lance-namespace==0.13.0 lance-namespace-urllib3-client==0.13.0 deprecation==2.1.0 \
    overrides==7.7.0 pygame==2.6.1 pymunk==7.3.1 shapely==2.2.0
into .bench/dm_control dm_control==1.0.50 mujoco==3.17.0 dm-env==1.6 dm-tree==0.1.10 \
    labmaze==1.0.6 lxml==6.1.3
