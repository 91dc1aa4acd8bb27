"""The operator's page in a browser, before bridge and simulated arm on real ROS 2: goal, dry run,
execute, stop."""

import json
import signal

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed: pip install 'arm-worldmodel[ros]'")

from browser import needs_browser, opened
from cell import Cell, domain

from robots.goals import load_goals
from robots.view import load_view

pytestmark = [pytest.mark.slow, pytest.mark.realtime, needs_browser]
PATH_RGB = (255, 159, 28)
AWAY = (0.0, 0.07, -0.02, 0.0, 0.0, 0.0, 0.0)


@pytest.fixture
def cell(tmp_path, machine, monkeypatch):
    with domain() as number:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        made = Cell(tmp_path, machine)
        machine.fault_logs.append(made.faults)
        try:
            made.start(
                "page", "port=0", "view=outputs/robot/sim/view.json", "dry_steps=3",
                "agent.cem.deadline_s=1.5", f"env.step_timeout_s={machine.seconds(20)}",
            )
            made.begin()
            yield made
        finally:
            made.close()


@pytest.fixture
def tab(cell, tmp_path, machine):
    """A browser at the address that the page's program says."""
    with opened(tmp_path / "profile", machine) as made:
        log = tmp_path / "page.log"
        said = cell.until("the page", lambda: (t := log.read_text()).count("\n") > 1 and t, 60.0)
        (address,) = [word for word in said.split() if word.startswith("http://127.0.0.1:")]
        made.open(address)
        yield made


def points(tab, id):
    """Of a line over the picture [N, 2], shares of width and height."""
    text = tab.ask(f"document.getElementById('{id}').getAttribute('points') || ''")
    return np.array([place.split(",") for place in text.split()], float).reshape(-1, 2)


def test_a_goal_is_captured_dry_run_executed_and_stopped_in_a_browser(
    cell, tab, tmp_path, machine
):
    tab.until("document.body?.dataset.kind === 'rest'", 40.0)
    goal = cell.rest()
    tab.click("capture")
    tab.until("document.querySelectorAll('#goals img').length === 1")
    images, names = load_goals(str(tmp_path / "outputs/robot/goal"), None)
    assert (len(images), names) == (1, ["00-goal"])

    for _ in range(2):  # somebody else moves the arm away
        accepted = cell.latest.accepted
        cell.act(*AWAY)
        cell.until("an answer", lambda least=accepted: cell.latest.accepted > least)
        cell.rest()
    cell.alone()
    start = cell.rest()
    assert np.linalg.norm(start - goal) > 0.12
    tab.until("document.body?.dataset.kind === 'rest'")
    assert tab.ask("document.getElementById('move').disabled")

    tab.click("imagine")
    tab.until("document.body?.dataset.reviewed === 'true'", 60.0)
    assert np.linalg.norm(cell.place() - start) < 1e-3  # nothing moved
    path = points(tab, "path")
    view = load_view(tmp_path / "outputs/robot/sim/view.json")
    assert view is not None
    there, here = view.project([goal, start])
    assert len(path) > 2
    np.testing.assert_allclose(path[0], here, atol=0.02)
    assert np.linalg.norm(path[-1] - there) < 0.4 * np.linalg.norm(here - there)
    orange = np.abs(tab.screenshot().astype(int) - PATH_RGB).sum(axis=2) < 30
    assert orange.sum() > 100  # over the picture, and in its key
    assert "goal 0, move" in tab.text("lines")

    tab.click("mark")
    box = tab.ask("(b => [b.x, b.y, b.width, b.height])"
                  "(document.getElementById('scene').getBoundingClientRect())")
    tab.click_at(*(box[:2] + here * box[2:]))
    tab.until("document.getElementById('note').textContent === 'Marked: 1 of 6 marks.'")

    tab.click("move")
    cell.until("a motion", lambda: np.linalg.norm(cell.place() - start) > 0.02, 40.0)
    tab.click("stop")
    cell.fault("stopped")
    held = cell.assert_stays()
    assert np.linalg.norm(held - goal) > 0.03  # on its way it was stopped
    tab.until("document.body?.dataset.code === 'stopped'")
    assert "stop was called" in tab.text("text")
    tab.until("document.body?.dataset.busy === 'false'")
    assert tab.text("alarm") == ""
    assert json.loads(cell.faults.read_text().splitlines()[-1])["code"] == "stopped"

    tab.click("recover")
    tab.until("document.getElementById('note').textContent.includes('then call resume')")
    cell.fault("stopped")  # it holds until the second step
    tab.click("resume")
    tab.until("document.body?.dataset.kind === 'rest'")
    assert np.linalg.norm(cell.rest() - held) < 2e-3
    assert tab.log == []

    cell.processes["page"].send_signal(signal.SIGTERM)
    assert cell.processes["page"].wait(machine.seconds(20)) == 128 + signal.SIGTERM
