"""The files that a lab starts a cell with (tools/lab): launch file, services, rights, RViz."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import yaml

from arm_worldmodel.commands import module_of
from robots.cell import load_in_cell
from robots.limits import Box, Limits
from robots.ros.topics import NODE, Topics

ROOT = Path(__file__).parents[1]
LAB = ROOT / "tools/lab"
SERVICES = sorted(LAB.glob("*.service"))
CELL = "transport: {host: 172.16.0.2}\nlimits: {speed_m_s: 0.15}\n"


def settings_of(command, tmp_path):
    """What ``worldmodel`` makes of a command whose cell file is ours."""
    cell = tmp_path / "cell.yaml"
    cell.write_text(CELL)
    named = re.sub(r"cell=(\$\(var cell\)|\S+)", f"cell={cell}", command)
    program, group, verb, *words = shlex.split(named)
    assert Path(program).name == "worldmodel"
    assert words == [f"cell={cell}"]
    return load_in_cell(module_of(f"{group} {verb}").Settings, words)


def test_the_launch_file_starts_driver_and_bridge_of_the_cell(tmp_path):
    actions = yaml.safe_load((LAB / "cell.launch.yaml").read_text())["launch"]
    started = [action["executable"] for action in actions if "executable" in action]
    arm, serve = (settings_of(one["cmd"], tmp_path) for one in started)
    assert arm.host == "172.16.0.2"
    assert arm.limits.speed_m_s == serve.limits.speed_m_s == 0.15
    assert all(one["on_exit"] == "shutdown" for one in started)


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.stem)
def test_a_service_starts_a_command_and_is_one_to_systemd(path, tmp_path):
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read(path)
    command = unit["Service"]["ExecStart"]
    assert settings_of(command, tmp_path).limits.speed_m_s == 0.15
    assert unit["Service"]["Restart"] == "no"  # a new process would know nothing of a fault
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    here = tmp_path / path.name
    here.write_text(path.read_text().replace(command.split()[0], sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)], capture_output=True, text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if path.name in line]
    assert not ours, done.stderr


def rights(enclave):
    """What an enclave may do: (kind, attribute) -> names with a slash before them."""
    found = {}
    for group in ET.parse(LAB / "policy.xml").iterfind(
        f".//enclave[@path='/worldmodel/{enclave}']/profiles/profile/*"
    ):
        for attribute in group.attrib:
            found[group.tag, attribute] = {f"/{one.text}" for one in group}
    return found


def test_only_the_bridge_commands_the_arm_and_only_the_operator_recovers():
    topics = Topics()
    assert {topics.target_pose, topics.gripper_command} <= rights("bridge")["topics", "publish"]
    for other in ("arm", "planner", "operator", "camera", "description"):
        assert topics.target_pose not in rights(other)["topics", "publish"]
        assert topics.gripper_command not in rights(other)["topics", "publish"]
    assert rights("planner")["services", "request"] == {f"/{NODE}/stop"}
    assert rights("operator")["services", "request"] == {
        f"/{NODE}/{name}" for name in ("stop", "recover", "resume")
    } == rights("bridge")["services", "reply"]
    assert rights("bridge")["services", "request"] == {topics.driver_recover}
    assert rights("arm")["services", "reply"] == {topics.driver_recover}


def test_the_bridge_may_say_all_that_it_says():
    source = (ROOT / "robots/ros/bridge.py").read_text()
    said = set(re.findall(r'create_publisher\(\w+, f"/\{NODE\}/(\w+)"', source))
    assert said == {"state", "diagnostics", "markers"}
    assert {f"/{NODE}/{name}" for name in said} <= rights("bridge")["topics", "publish"]


def test_whatever_one_hears_another_may_say():
    everybody = ("bridge", "arm", "planner", "operator", "camera", "description")
    said = set().union(*(rights(one)["topics", "publish"] for one in everybody))
    for one in everybody:
        assert rights(one).get(("topics", "subscribe"), set()) <= said


def test_rviz_shows_topics_that_there_are():
    displays = yaml.safe_load((LAB / "cell.rviz").read_text())["Visualization Manager"]["Displays"]
    topics = Topics()
    shown = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    plan = "/worldmodel_planner/plan"
    assert shown == {
        topics.target_pose, topics.current_pose, topics.image, f"/{NODE}/markers", plan
    }
    assert shown | {"/robot_description", "/tf"} <= rights("operator")["topics", "subscribe"]


def test_a_plan_is_drawn_from_the_hand_along_its_moves():
    pytest.importorskip("visualization_msgs", reason="ROS 2 is not installed")
    from robot_data.loop import Candidates
    from robots.ros.plan_markers import TOPIC, plan_markers

    actions = np.zeros((3, 2, 7))
    actions[0, :, 0], actions[0, 1, 2] = 0.05, -0.02
    state = np.array([0.4, 0.1, 0.3, np.pi, 0, 0, 0])
    line, dots = plan_markers(
        Candidates(actions, np.arange(3.0), np.arange(9.0).reshape(3, 3)), state, "base"
    ).markers
    assert [(p.x, p.y, p.z) for p in line.points] == [
        pytest.approx(place) for place in [(0.4, 0.1, 0.3), (0.45, 0.1, 0.3), (0.5, 0.1, 0.28)]
    ]
    assert [(p.x, p.y, p.z) for p in dots.points] == [(3, 4, 5), (6, 7, 8)]  # the others
    assert {m.header.frame_id for m in (line, dots)} == {"base"}
    assert TOPIC in rights("planner")["topics", "publish"]


def test_the_image_is_made_of_files_that_there_are_and_extras_that_there_are():
    steps = (LAB / "Dockerfile").read_text()
    extras = re.search(r"'\.\[(.+?)\]'", steps)
    assert extras
    known = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", known, re.M) for extra in extras[1].split(","))
    for name in ("constraints.txt", "tools/system-packages.sh"):
        assert name in steps
        assert (ROOT / name).is_file()


def test_the_workspace_is_drawn_as_it_is():
    pytest.importorskip("visualization_msgs", reason="ROS 2 is not installed")
    from robots.ros.markers import workspace_markers

    limits = Limits(keep_out=(Box((0.3, 0.2, 0.0), (0.45, 0.3, 0.25)),))
    edges, body = workspace_markers(limits).markers
    ends = [(p.x, p.y, p.z) for p in edges.points]
    assert len(ends) == 24  # a box has twelve edges
    assert min(ends) == limits.workspace_low_m
    assert max(ends) == limits.workspace_high_m
    assert (body.scale.x, body.scale.z) == pytest.approx((0.15, 0.25))
    assert body.pose.position.y == pytest.approx(0.25)
    assert {m.header.frame_id for m in (edges, body)} == {limits.frame}
    assert len({m.id for m in (edges, body)}) == 2
