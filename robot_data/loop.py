"""The one loop: an environment, an agent, and whoever wants to watch."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Candidates:
    """What the search chose among last: action sequences [S, H, 7] (robot base frame, see
    ``robot_data.pose``), cheapest first, their costs [S], and where the hand would be after each:
    positions [S, 3], x, y, z in the robot base frame [m]."""

    actions: NDArray[np.float64]
    costs: NDArray[np.float64]
    positions: NDArray[np.float64]


@dataclass(frozen=True)
class Decision:
    """What the agent decided in one control step, and why."""

    action: NDArray[np.float64]
    seconds: float = 0.0
    goal_index: int = 0
    cost: float = float("nan")  # imagined, of the planned actions
    present_cost: float = float("nan")  # of the present observation
    cost_per_iteration: tuple[float, ...] = ()
    finished: bool = False
    subgoal: str = ""  # what the agent set itself, where it sets its own sub-goals
    candidates: Candidates | None = None  # of the last iteration, where the agent searches


class Agent(Protocol):
    """What the loop needs of an agent."""

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None: ...

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision: ...


@dataclass(frozen=True)
class Start:
    """The first observation, ``reset``'s info, and the goal images uint8 [H, W, 3] in order."""

    seed: int
    observation: dict[str, NDArray[Any]]
    info: dict[str, Any]
    goals: list[NDArray[np.uint8]]
    goal_names: list[str]
    max_steps: int


@dataclass(frozen=True)
class Step:
    """One control step: what was seen, what was decided, what came of it."""

    index: int
    observation: dict[str, NDArray[Any]]
    decision: Decision
    following: dict[str, NDArray[Any]]
    info: dict[str, Any]


class Subscriber(Protocol):
    def on_start(self, start: Start) -> None: ...
    def on_step(self, step: Step) -> None: ...
    def on_end(self) -> None: ...


@dataclass(frozen=True)
class EpisodeResult:
    """``success`` and ``distance_m`` are the environment's judgement of the last state."""

    seed: int
    success: bool
    distance_m: float
    steps: int
    plan_seconds: tuple[float, ...]
    finished: bool  # the agent says it is done; not a claim of success
    goal_reached: bool = True  # whether the goal images show the goal (see ``sims.arm``)


def run_episode(
    env: gymnasium.Env[Any, Any], agent: Agent, seed: int, max_steps: int,
    goals: str = "subgoals", subscribers: Sequence[Subscriber] = (), planner_seed: int = 0,
) -> EpisodeResult:
    """Run until the agent is done or ``max_steps``.

    ``goals``: "subgoals" gives the agent the environment's sequence of goal images, "single"
    only the last.  ``seed`` draws the episode, ``planner_seed`` the planner's samples.
    Subscribers are closed whatever happens.
    """
    if goals not in ("subgoals", "single"):
        raise ValueError(f"goal '{goals}' is unknown; valid: subgoals, single")
    observation, info = env.reset(seed=seed)
    shown = info.get("goal_reached", True)
    images: list[NDArray[np.uint8]] = list(info["subgoal_images"])
    names = list(info["subgoal_names"])
    if goals == "single":
        images, names = images[-1:], names[-1:]
    agent.reset(images, 1_000_003 * planner_seed + seed)
    seconds: list[float] = []
    with contextlib.ExitStack() as ends:
        for watcher in reversed(subscribers):  # all of them, in order, even if one fails
            ends.callback(watcher.on_end)
        for watcher in subscribers:
            watcher.on_start(Start(seed, observation, info, images, names, max_steps))
        finished = False
        while len(seconds) < max_steps and not finished:
            decision = agent.act(observation)
            finished = decision.finished
            seconds.append(decision.seconds)
            following, _, terminated, truncated, info = env.step(decision.action)
            step = Step(len(seconds) - 1, observation, decision, following, info)
            for watcher in subscribers:
                watcher.on_step(step)
            observation = following
            finished = finished or terminated or truncated
        return EpisodeResult(
            seed, bool(info["success"]), float(info["distance_m"]), len(seconds),
            tuple(seconds), finished, bool(shown),
        )
