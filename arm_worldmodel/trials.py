"""Trials on the simulated FR3 behind the real protocol: reach, scripted and planned grasp, pick and
place, judged by where hand and cube are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray

from arm_worldmodel.report import code_version
from arm_worldmodel.result_log import ResultLog
from robot_data.episodes import EpisodeStore
from robot_data.events import HELD_GAP
from robot_data.loop import Agent, Decision, Start, Step, run_episode
from robot_data.recording import EpisodeWriter
from robots.franka_env import FrankaEnv
from robots.limits import SafetyError
from robots.ros.bridge import BEST_EFFORT
from robots.ros.link import RosLink

Array = NDArray[np.float64]

REACH_M, LIFT_M, PLACE_M = 0.04, 0.04, 0.04  # hand to goal; object above table; object to place
LOW_M, HIGH_M = np.array([0.40, -0.15, 0.08]), np.array([0.60, 0.15, 0.25])
CUBE_LOW_M, CUBE_HIGH_M, CUBE_M = np.array([0.44, -0.10]), np.array([0.58, 0.10]), 0.04
APART_M = 0.10  # least way of a hand that reaches, and of a cube that is placed
ABOVE_M, GRASP_M, HOLD_M = 0.12, 0.022, 0.14  # heights of the hand over the table
RISEN_M = np.array([0.45, 0.0, 0.25])
AWAY_M = np.array([0.40, -0.29, 0.38])  # where the camera does not see the hand
REST_S = 0.3  # until the cube is judged
TRIES = 4  # to bring a scene about


@dataclass(frozen=True)
class Scene:
    """What an agent is shown, and how it is judged afterwards: success and the measure [m]."""

    goals: list[NDArray[np.uint8]]
    names: list[str]
    judge: Callable[[], tuple[bool, float]]


@dataclass
class Trial:
    """How one trial went.  ``measured_m``: hand to goal, height of the lifted cube, or cube to its
    place; None where a fault ended it.  ``steps``: what was decided and what came of it."""

    task: str
    number: int
    success: bool = False
    measured_m: float | None = None
    fault: str = ""
    steps: list[dict[str, Any]] = field(default_factory=list)
    code: str = ""  # version of the code that ran it


class Tabletop:
    """The cube, put and seen by topics of the scene; privileged, for judging only."""

    def __init__(self, link: RosLink) -> None:
        self._put = link.node.create_publisher(PoseStamped, "/sim/place_object", 1)
        link.node.create_subscription(PoseStamped, "/sim/object_pose", self._see, BEST_EFFORT)
        self.cube = np.full(3, np.nan)

    def _see(self, message: PoseStamped) -> None:
        p = message.pose.position
        self.cube = np.array([p.x, p.y, p.z])

    def put(self, x: float, y: float) -> None:
        """Put the cube at x, y [m]; raises ``OSError`` if it does not arrive."""
        message = PoseStamped()
        message.pose.position.x, message.pose.position.y = x, y
        message.pose.position.z = CUBE_M / 2
        for _ in range(20):
            self._put.publish(message)
            time.sleep(0.3)
            if np.linalg.norm(self.cube[:2] - [x, y]) < 0.01:
                return
        raise OSError(f"the cube is at {self.cube}, not at {x:.2f}, {y:.2f}")


def hand(xyz: Array, like: Array, closed: float) -> Any:
    """A state [7] at ``xyz``, turned as ``like``."""
    return np.r_[xyz, like[3:6], closed]


class Trials:
    """Trials of several tasks, one after the other.  Each is written to ``log`` as soon as it is
    over, and what an agent saw and did to ``store``; those that ``log`` has are not run again.
    Scenes and the planner's samples are drawn from ``seed``, task and number: the same for every
    agent.
    """

    def __init__(
        self, env: FrankaEnv, table: Tabletop, seed: int, reach_steps: int, long_steps: int,
        log: ResultLog[Trial], store: EpisodeStore,
    ) -> None:
        """reach_steps: most control steps of a reach; long_steps: of every other trial."""
        self.env, self.table, self.seed = env, table, seed
        self.reach_steps, self.long_steps = reach_steps, long_steps
        self.log, self.store = log, store
        self._home: Array | None = None  # a state that shows how the hand is turned

    def run(self, task: str, count: int, agent: Agent | None) -> list[Trial]:
        """``count`` trials of a task of ``TASKS``; without an agent the script does it."""
        done = {t.number: t for t in self.log.results if t.task == task and t.number < count}
        for number in sorted(set(range(count)) - set(done)):
            trial = Trial(task, number, code=code_version())
            drawn = np.random.SeedSequence([self.seed, list(TASKS).index(task), number])
            try:
                scene = self._scene(task, np.random.default_rng(drawn))
                if agent is not None:
                    self.env.goals, self.env.goal_names = scene.goals, scene.names
                    name = f"{task}-{number}-{time.strftime('%Y%m%d-%H%M%S')}"
                    meta = {"task": task, "source": self.env.source}
                    watchers = [_Watch(trial, self.table), EpisodeWriter(self.store, name, meta)]
                    steps = self.reach_steps if task == "reached" else self.long_steps
                    planner_seed = int(drawn.generate_state(1)[0])
                    run_episode(
                        self.env, agent, number, steps, "subgoals", watchers, planner_seed
                    )
                if not trial.fault:
                    trial.success, trial.measured_m = scene.judge()
            except SafetyError as error:
                trial.fault = str(error)
            done[number] = trial
            self.log.append(trial)
            if trial.fault:
                self._recover()
        return [done[number] for number in sorted(done)]

    # -- scenes ------------------------------------------------------------------------------

    def _scene(self, task: str, rng: np.random.Generator) -> Scene:
        """The first one drawn that the script brings about; its own faults are nobody's trial."""
        for _ in range(TRIES):
            try:
                self._rise()
                scene = TASKS[task](self, rng)
            except SafetyError:
                self._recover()
                continue
            if scene is not None:
                return scene
        raise OSError(f"the script failed {TRIES} times; the cube is at {self.table.cube}")

    def reach(self, rng: np.random.Generator) -> Scene:
        """The hand somewhere else."""
        goal = rng.uniform(LOW_M, HIGH_M)
        start = _apart(rng, LOW_M, HIGH_M, goal)
        shown = self._go(goal, 0.0)
        self._go(start, 0.0)

        def judge() -> tuple[bool, float]:
            last, _ = self.env.reset()
            away = float(np.linalg.norm(last["state"][:3] - shown["state"][:3]))
            return away <= REACH_M, away

        return Scene([shown["image"]], ["reached"], judge)

    def scripted(self, rng: np.random.Generator) -> Scene:
        """The cube, lifted by the script."""
        return self._lift(rng.uniform(CUBE_LOW_M, CUBE_HIGH_M))

    def grasp(self, rng: np.random.Generator) -> Scene | None:
        """The same, and all back to where it was: two images, grasped and lifted."""
        at = rng.uniform(CUBE_LOW_M, CUBE_HIGH_M)
        scene = self._lift(at)
        if not scene.judge()[0]:
            return None
        self._rise()
        self.table.put(*at)
        return Scene(scene.goals[1:], scene.names[1:], scene.judge)

    def place(self, rng: np.random.Generator, away: bool = False) -> Scene | None:
        """The cube somewhere else: the paper's three images, taken while the script does it.  away:
        the last one is taken after the hand has left the picture."""
        goal = rng.uniform(CUBE_LOW_M, CUBE_HIGH_M)
        start = _apart(rng, CUBE_LOW_M, CUBE_HIGH_M, goal)
        seen = self._pick(start)[1:2]  # closed on it
        seen += [self._go(np.r_[goal, HOLD_M], 1.0)]
        for height, closed in ((GRASP_M, 1.0), (GRASP_M, 0.0), (HOLD_M, 0.0)):
            last = self._go(np.r_[goal, height], closed)
        time.sleep(REST_S)
        there = self.table.cube.copy()
        if np.linalg.norm(there[:2] - goal) > PLACE_M / 2:
            return None
        if away:
            last = self._go(AWAY_M, 0.0)
        self._rise()
        self.table.put(*start)

        def judge() -> tuple[bool, float]:
            time.sleep(REST_S)
            seen, info = self.env.reset()
            away = float(np.linalg.norm(self.table.cube - there))
            let_go = info["commanded"][6] - seen["state"][6] < HELD_GAP
            return bool(away <= PLACE_M and let_go), away

        names = ["grasped", "above goal", "placed"]
        return Scene([o["image"] for o in [*seen, last]], names, judge)

    def place_by_one(self, rng: np.random.Generator) -> Scene | None:
        """The same, of which the last image alone is shown."""
        scene = self.place(rng)
        return scene and Scene(scene.goals[-1:], scene.names[-1:], scene.judge)

    def place_hand_out(self, rng: np.random.Generator) -> Scene | None:
        """The same, and there is no hand in that image."""
        scene = self.place(rng, away=True)
        return scene and Scene(scene.goals[-1:], scene.names[-1:], scene.judge)

    # -- the script --------------------------------------------------------------------------

    def _go(self, xyz: Array, closed: float) -> dict[str, NDArray[Any]]:
        if self._home is None:
            self._home = self.env.reset()[0]["state"]
        return self.env.reset(options={"state": hand(xyz, self._home, closed)})[0]

    def _pick(self, at: Array) -> list[dict[str, NDArray[Any]]]:
        """Above the cube, down, close, lift; the observations after each of the last three."""
        self.table.put(*at)
        return [
            self._go(np.r_[at, height], closed)
            for height, closed in ((ABOVE_M, 0.0), (GRASP_M, 0.0), (GRASP_M, 1.0), (HOLD_M, 1.0))
        ][1:]

    def _lift(self, at: Array) -> Scene:
        images = [o["image"] for o in self._pick(at)]

        def judge() -> tuple[bool, float]:
            time.sleep(REST_S)
            height = float(self.table.cube[2] - CUBE_M / 2)
            return height >= LIFT_M, height

        return Scene(images, ["at object", "closed", "lifted"], judge)

    def _rise(self) -> None:
        """Open the hand and go up and aside."""
        now, _ = self.env.reset()
        for xyz in (now["state"][:3], np.r_[now["state"][:2], RISEN_M[2]], RISEN_M):
            self._go(xyz, 0.0)

    def _recover(self) -> None:
        """As an operator would: both steps, once the cause is gone."""
        why = ""
        for _ in range(10):
            time.sleep(1.0)
            done, why = self.env.link.call("recover")
            for _ in range(10 if done else 0):  # the arm's driver needs a while
                time.sleep(1.0)
                done, why = self.env.link.call("resume")
                if done:
                    time.sleep(1.0)  # until the link has heard that there is no fault any more
                    return
        raise OSError(f"the arm does not recover: {why}")


Make = Callable[[Trials, np.random.Generator], Scene | None]
TASKS: dict[str, Make] = {
    "reached": Trials.reach, "scripted": Trials.scripted, "planned": Trials.grasp,
    "placed": Trials.place, "placed_by_one_image": Trials.place_by_one,
    "placed_hand_out": Trials.place_hand_out,
}


class _Watch:
    """Keeps what was decided and what came of it."""

    def __init__(self, trial: Trial, table: Tabletop) -> None:
        self.trial, self.table = trial, table

    def on_start(self, start: Start) -> None:
        """Nothing yet."""

    def on_step(self, step: Step) -> None:
        """Keep one line."""
        decision: Decision = step.decision
        cost = decision.present_cost
        self.trial.steps.append({
            "goal": decision.goal_index, "subgoal": decision.subgoal,
            "cost": cost if np.isfinite(cost) else None,
            "action": decision.action, "outcome": step.info.get("outcome", ""),
            "hand": step.following["state"], "cube": self.table.cube.copy(),
            "seconds": decision.seconds,
        })
        self.trial.fault = str(step.info.get("fault", ""))

    def on_end(self) -> None:
        """Nothing: the trial is written by whoever runs it."""


def _apart(rng: np.random.Generator, low: Array, high: Array, other: Array) -> Array:
    while True:
        drawn = rng.uniform(low, high)
        if np.linalg.norm(drawn - other) >= APART_M:
            return drawn


def told(trials: Sequence[Trial]) -> str:
    """Successes of trials, and how many ended by a fault."""
    faults = sum(bool(t.fault) for t in trials)
    return f"{sum(t.success for t in trials)} of {len(trials)}" + (
        f" ({faults} by a fault)" if faults else ""
    )
