"""The operator's page over HTTP, before a simulated arm in a process of its own."""

import asyncio
import json
import threading
import urllib.error
import urllib.request
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from arms import open_link

from arm_worldmodel.commands.robot import page
from arm_worldmodel.page.access import MOST_BYTES, policy_of
from arm_worldmodel.page.desk import Desk, Work
from arm_worldmodel.page.server import PAGE, Server, listening
from arm_worldmodel.page.sight import Sight
from robot_data.episodes import EpisodeStore
from robot_data.loop import Decision
from robots.franka_env import FrankaEnvConfig
from robots.goals import load_goals
from robots.view import CameraView, load_view

pytestmark = [pytest.mark.slow, pytest.mark.realtime]
UP = np.array([0.0, 0.0, 0.02, 0.0, 0.0, 0.0, 0.0])


class Rises:
    """Moves the hand up and down again; ``hang`` holds it up in the middle of planning."""

    def __init__(self):
        self.go_on, self.planning = threading.Event(), threading.Event()
        self.go_on.set()
        self.steps = 0

    def reset(self, goals, seed):
        self.steps = 0

    def act(self, observation):
        self.steps += 1
        if not self.go_on.is_set():
            self.planning.set()
            assert self.go_on.wait(120)
        return Decision(UP if self.steps % 2 else -UP)


class Operator:
    """What a browser does, without one."""

    def __init__(self, desk, address, key):
        self.desk, self.key = desk, key
        self.origin = address.partition("/#")[0]

    def get(self, path, **headers):
        return self._ask(urllib.request.Request(self.origin + path), headers)

    def post(self, path, body=b"", **headers):
        request = urllib.request.Request(self.origin + path, body, method="POST")
        return self._ask(request, {"Origin": self.origin, **headers})

    def _ask(self, request, headers):
        for name, value in {"Authorization": f"Bearer {self.key}", **headers}.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def wish(self, what, **given):
        status, _, data = self.post(f"/api/{what}", json.dumps(given).encode())
        told = json.loads(data)
        assert (status == 200) == told["done"]
        return told["done"], told["text"]

    def state(self, visible=1):
        return json.loads(self.get(f"/api/state?visible={visible}")[2])

    def recover(self, machine):
        """Both steps, once the arm no longer brakes."""
        machine.until("the first step", lambda: self.wish("recover")[0])
        assert self.wish("resume") == (True, "ready")
        machine.until("an arm at rest", lambda: self.state()["kind"] == "rest")

    def dry_run(self, machine):
        assert self.wish("imagine")[0]
        machine.until("a dry run", lambda: self.state()["reviewed"], 40.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("arm")


@pytest.fixture(scope="module")
def link(folder):
    arm = open_link(folder)
    yield arm
    arm.close()


@pytest.fixture
def agent():
    made = Rises()
    yield made
    made.go_on.set()


@pytest.fixture
def operator(link, agent, folder, tmp_path, machine):
    """At a page that is served, before an arm at rest."""
    machine.fault_logs.append(folder / "faults.jsonl")
    settings = page.Settings(
        max_steps=4, out=str(tmp_path / "out"), record=str(tmp_path / "episodes"),
        env=FrankaEnvConfig(128, step_timeout_s=machine.seconds(20)),
    )
    work = Work(partial(page.imagine, settings, agent), partial(page.move, settings, agent))
    desk = Desk(link, work, Sight(link, tmp_path / "view.json"), tmp_path / "goals", 600.0)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = Server(desk, "secret")
    opened = listening(server, 0)
    address = asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result(60)
    made = Operator(desk, address, server.key)
    machine.until("the arm", lambda: made.state()["kind"] in ("rest", "fault"))
    if made.state()["kind"] == "fault":
        made.recover(machine)
    yield made
    agent.go_on.set()
    desk.close()
    machine.until("the end of every run", lambda: not desk.busy)
    asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
    server.close()


def test_goals_are_captured_into_the_folder_that_robot_run_reads(operator, tmp_path):
    assert operator.wish("capture", name="at object") == (True, "at object is captured.")
    assert operator.wish("capture", name="lifted")[0]
    images, names = load_goals(str(tmp_path / "goals"), 128)
    assert names == ["00-at_object", "01-lifted"]
    assert images[0].shape == (128, 128, 3)
    states = json.loads((tmp_path / "goals/goals.json").read_text())["states"]
    np.testing.assert_allclose(states[1][:3], operator.state()["hand_m"], atol=2e-3)
    again = Desk(operator.desk.link, operator.desk.work, operator.desk.sight, tmp_path / "goals")
    assert [goal.name for goal in again.goals] == ["at_object", "lifted"]
    assert again.goals[1].state is not None
    assert operator.get("/api/goal/1")[2][:2] == b"\xff\xd8"  # JPEG
    assert operator.get("/api/goal/2")[0] == 404
    assert operator.wish("forget")[0]
    assert not list((tmp_path / "goals").glob("*.png"))


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a" * 41, ".x", "a\nb", "caf\u00e9"])
def test_a_goal_is_not_named_like_a_path(operator, tmp_path, name):
    assert operator.wish("capture", name=name)[0] is False
    assert not (tmp_path / "goals").exists()


def test_nothing_moves_before_its_dry_run_was_seen(operator, machine, link):
    accepted = link.inbox.latest.accepted
    assert operator.wish("imagine") == (False, "Capture a goal first.")
    assert operator.wish("move") == (False, "Capture a goal first.")
    assert operator.wish("capture", name="goal")[0]
    first = (False, "Look at a dry run towards these goals, from this place, first.")
    assert operator.wish("move") == first
    operator.dry_run(machine)
    assert link.inbox.latest.accepted == accepted
    assert operator.wish("capture", name="another")[0]  # other goals, another dry run
    assert operator.wish("move") == first
    operator.dry_run(machine)
    assert link.inbox.latest.accepted == accepted
    link.send(1.5 * UP, link.now())  # somebody else moves the hand
    machine.until("a motion", lambda: not operator.state()["reviewed"])
    assert operator.wish("move") == first
    assert operator.state()["note"] == first[1]


def test_a_run_that_moves_is_recorded_as_robot_run_records_it(operator, machine, link, tmp_path):
    accepted = link.inbox.latest.accepted
    operator.wish("capture", name="goal")
    operator.dry_run(machine)
    assert operator.wish("move")[0]
    state = machine.until("its end", lambda: not (s := operator.state())["busy"] and s, 60.0)
    assert state["note"] == "All steps are made; look whether the goal is reached."
    assert len(state["lines"]) == 4
    assert link.inbox.latest.accepted == accepted + 4
    (episode,) = [episode for _, episode in EpisodeStore(tmp_path / "episodes").episodes()]
    assert len(episode) == 5
    assert episode.states[1, 2] - episode.states[0, 2] == pytest.approx(0.02, abs=0.005)
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["executed"]
    assert report["steps"] == 4
    assert operator.wish("move")[0] is False  # the arm is elsewhere now: another dry run


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (np.zeros(7), True), ([0.01, 0, 0, 0, 0, 0.05, 0.05], True),
        ([0.03, 0, 0, 0, 0, 0, 0], False), ([0, 0, 0, 0, 0, 0.3, 0], False),
        ([0, 0, 0, 0, 0, 0, 0.5], False), (None, False),
    ],
)
def test_a_dry_run_holds_for_where_it_began_for_how_the_hand_was_turned_and_closed(change, same):
    here, goals, over = np.array([0.45, 0, 0.2, np.pi, 0, 0, 0.3]), [], threading.Event()
    over.set()
    watch = SimpleNamespace(start=None if change is None else here - change)
    dry = SimpleNamespace(ended=over, outcome="", goals=goals, watch=watch)
    inbox = SimpleNamespace(latest=SimpleNamespace(state=here))
    desk = SimpleNamespace(_dry=dry, _moved=None, goals=goals, link=SimpleNamespace(inbox=inbox))
    assert Desk.reviewed.fget(desk) is same


@pytest.fixture
def hung(operator, machine, agent):
    """A run that moves, its planner in the middle of planning."""
    operator.wish("capture", name="goal")
    operator.dry_run(machine)
    agent.go_on.clear()
    agent.planning.clear()
    assert operator.wish("move")[0]
    assert agent.planning.wait(machine.seconds(20))
    return agent


def assert_nothing_comes_of(agent, operator, machine, link):
    """The planner comes back after all, once the arm is recovered: what it planned goes nowhere."""
    assert operator.wish("imagine")[0] is False  # it has not come back yet
    accepted, refused = link.inbox.latest.accepted, link.inbox.latest.refused
    agent.go_on.set()
    machine.until("its end", lambda: not operator.state()["busy"])
    assert (link.inbox.latest.accepted, link.inbox.latest.refused) == (accepted, refused)
    operator.dry_run(machine)


def test_a_stop_holds_the_arm_while_the_planner_hangs(operator, machine, link, hung):
    assert operator.wish("stop") == (True, "Stop was pressed: the arm holds.")
    assert link.inbox.fault[0] == "stopped"
    state = operator.state()
    assert (state["kind"], state["code"], state["busy"]) == ("fault", "stopped", True)
    assert "Recover" in state["do"]
    assert operator.wish("resume")[0] is False  # not before the first step
    operator.recover(machine)
    assert_nothing_comes_of(hung, operator, machine, link)
    assert operator.desk.note.startswith("Dry run")


def test_a_run_does_not_go_on_after_a_fault_was_recovered(operator, machine, link, hung):
    link._send(kind="fault", code="arm_stopped", message="collision")  # as a driver tells
    machine.until("a fault", lambda: operator.state()["code"] == "arm_stopped")
    operator.recover(machine)
    assert_nothing_comes_of(hung, operator, machine, link)


def test_a_stop_waits_for_no_other_request(operator, machine, monkeypatch):
    answers, call = threading.Event(), operator.desk.link.call

    def slow(service):
        assert service == "stop" or answers.wait(120)
        return call(service)

    monkeypatch.setattr(operator.desk.link, "call", slow)
    asked = [threading.Thread(target=operator.wish, args=("recover",)) for _ in range(12)]
    for thread in asked:
        thread.start()
    try:
        assert operator.wish("stop")[0]
    finally:
        answers.set()
        for thread in asked:
            thread.join()


def test_an_arm_that_nobody_looks_at_is_stopped(operator, machine, link, agent):
    operator.wish("capture", name="goal")
    operator.dry_run(machine)
    agent.go_on.clear()
    operator.desk.absent_s = 0.5
    assert operator.wish("move")[0]
    for _ in range(5):
        operator.state(visible=0)  # a page behind another
    machine.until("a stop", lambda: link.inbox.fault)
    assert link.inbox.fault[0] == "stopped"
    assert operator.state()["note"] == "No page was in sight for 0.5 s: the arm holds."


def test_a_stop_that_nobody_confirms_is_an_alarm_until_one_is(operator, machine, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(operator.desk.link, "call", lambda _: (False, "nobody answers"))
        done, text = operator.wish("stop")
    assert not done
    assert "NOT CONFIRMED" in text
    assert operator.state()["alarm"] == text
    assert operator.wish("stop")[0]
    assert operator.state()["alarm"] == ""


def test_requests_are_those_of_the_page_and_small(operator):
    moves = {"Origin": "http://lab.example"}
    assert operator.post("/api/stop", **moves)[0] == 403
    assert operator.post("/api/stop", Host="lab.example")[0] == 421
    assert operator.post("/api/stop", Authorization="Bearer x")[0] == 401
    assert operator.get("/api/state", Authorization="")[0] == 401
    assert operator.state()["kind"] == "rest"  # nothing of it was done
    assert operator.post("/api/capture", b"x" * (MOST_BYTES + 1))[0] == 413
    assert operator.post("/api/capture", b"x")[0] == 400
    assert operator.post("/api/capture", b"[]")[0] == 400
    assert operator.post("/api/mark", b'{"u": "x"}')[0] == 400
    assert operator.post("/api/fly")[0] == 404
    assert operator.get("/nothing")[0] == 404
    assert operator.get("/api/stop")[0] == 405


def test_the_page_is_shown_without_the_key_which_it_does_not_hold(operator):
    status, headers, data = operator.get("/", Authorization="")
    assert status == 200
    assert data.decode() == PAGE.read_text()
    assert headers["Content-Security-Policy"] == policy_of(data.decode())
    assert headers["Cache-Control"] == "no-store"
    assert operator.key not in data.decode()
    status, headers, data = operator.get("/api/picture")
    assert status == 200
    assert data[:2] == b"\xff\xd8"
    assert float(headers["X-Stamp"]) == pytest.approx(operator.desk.link.now(), abs=2.0)


def test_marks_teach_where_the_hand_is_in_the_picture(operator, link, tmp_path, monkeypatch):
    true = CameraView(np.array([[1, 0.2, 0, -0.1], [0.1, 1, 0.3, 0.2], [0, 0.1, 0.2, 1.0]]))
    places = np.random.default_rng(0).uniform([0.3, -0.3, 0], [0.6, 0.3, 0.4], (7, 3))
    assert operator.state()["hand"] is None
    for number, place in enumerate(places):
        monkeypatch.setattr(link.inbox, "state_at", lambda *_, at=place: np.r_[at, np.zeros(4)])
        u, v = true.project(place)[0]
        done, text = operator.wish("mark", u=u, v=v, stamp=link.now())
        assert done, text
        assert ("view is known" in text) == (number >= 5), text
        assert operator.wish("mark", u=u, v=v, stamp=link.now())[0] is False  # tells nothing new
    assert operator.wish("mark", u=1.5, v=0.5, stamp=link.now())[0] is False
    found = load_view(tmp_path / "view.json")
    assert found is not None
    np.testing.assert_allclose(found.project(places), true.project(places), atol=1e-6)
    hand = operator.state()
    assert hand["hand"] == pytest.approx(true.project(hand["hand_m"])[0].tolist(), abs=1e-2)
