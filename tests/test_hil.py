"""Hardware in the loop without hardware: the real Franka control protocol, simulated arms.

Each simulator has an environment of its own (tools/hil/setup.sh); they run with real-time
priority where that is permitted.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FRANKY, FRANKA = ROOT / ".hil/franky/ready", ROOT / ".hil/franka/ready"
pytestmark = [pytest.mark.slow, pytest.mark.realtime]


def strict(*options: str) -> dict:
    """A run against the simulator that enforces the real arm's limits."""
    if not FRANKA.exists():
        pytest.skip("franka-sim is not installed: sh tools/hil/setup.sh")
    hidden = ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH")
    environment = {k: v for k, v in os.environ.items() if k not in hidden}
    done = subprocess.run(
        [str(ROOT / ".hil/franka/bin/python"), str(ROOT / "tools/hil/strict.py"), *options],
        env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    if not result["realtime"]:
        pytest.skip("no real-time priority here: packets are lost whatever we send")
    return result


def test_random_planner_output_trips_no_reflex():
    result = strict("--seconds", "20")
    assert result["reflex"] == ""
    assert result["caught"] == ""
    assert result["moved_m"] > 0.08


def test_random_planner_output_through_our_driver_trips_no_reflex():
    if not FRANKA.exists():
        pytest.skip("franka-sim is not installed: sh tools/hil/setup.sh")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools/hil/strict_fci.py"), "--seconds", "20"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["fault"] == "", done.stderr
    assert result["steps"] == 100
    assert result["moved_m"] > 0.1


@pytest.mark.parametrize(("fault", "caught"), [("jump", "jump"), ("stall", "stalled")])
def test_our_filter_catches_a_fault_before_the_arms_reflex_and_goes_on(fault, caught):
    result = strict("--seconds", "8", "--fault", fault)
    assert result["reflex"] == ""
    assert result["caught"] == caught
    assert result["caught_s"] - 4.0 < 0.1
    assert result["recovered"]


@pytest.mark.parametrize(
    ("fault", "reflex"),
    [("jump", "velocity_discontinuity"), ("stall", "communication_constraints_violation")],
)
def test_without_our_filter_the_arm_trips_and_recovers(fault, reflex):
    result = strict("--seconds", "8", "--fault", fault, "--raw")
    assert reflex in result["reflex"]
    assert result["recovered"]


def test_goal_images_are_reached_and_a_cube_is_grasped_through_rclpy_and_fci(tmp_path):
    if not FRANKY.exists():
        pytest.skip("franky-sim is not installed: sh tools/hil/setup.sh")
    done = subprocess.run(
        [sys.executable, "-m", "arm_worldmodel", "robot", "trials", f"out={tmp_path}",
         f"readout={ROOT / 'tests/data/fr3_sim'}", "reaches=3", "scripted=1", "planned=0"],
        env={**os.environ, "ROS_DOMAIN_ID": str(101 + os.getpid() % 100)}, capture_output=True,
        text=True, timeout=400,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["reached"] >= 2, report
    assert report["scripted"] == 1, report
