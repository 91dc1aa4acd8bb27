"""The one loop: an environment, an agent, and whoever wants to watch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Candidates:
    """What the search chose among last: action sequences [S, H, 7] (robot base frame, see
    ``robot_data.pose``), cheapest first, their costs [S], and where the hand would be after each:
    positions [S, 3], x, y, z in the robot base frame [m]; ``rejected`` [H, 7]: the dearest of all
    that were tried, where the search tells."""

    actions: NDArray[np.float64]
    costs: NDArray[np.float64]
    positions: NDArray[np.float64]
    rejected: NDArray[np.float64] | None = None


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
    goal_state: NDArray[np.float64] | None = None  # [7], read from the goal image
    unsure_m: float = float("nan")  # how far off what was read from the goal images may be


class Agent(Protocol):
    """What the loop needs of an agent."""

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Start an episode towards ``goals``, images uint8 [H, W, 3] in order; ``seed`` draws what
        is random in planning."""
        ...

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """One control step: observation {"image": uint8 [H, W, 3], "state": [7] in m, rad and
        closedness, robot base frame} to a decision whose action is [7] in the same units."""
        ...


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


# Pictures uint8 [h, w, 3] by name of what was imagined for the frame after a step
StepPictures = Callable[[Step], Mapping[str, NDArray[np.uint8]]]


class Subscriber(Protocol):
    """Somebody who watches an episode."""

    def on_start(self, start: Start) -> None:
        """The episode begins."""
        ...

    def on_step(self, step: Step) -> None:
        """A control step was made."""
        ...

    def on_end(self) -> None:
        """The episode is over, also after an error."""
        ...


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
    unsure_m: float = float("nan")  # of the last decision


def run_episode(
    env: gymnasium.Env[Any, Any], agent: Agent, seed: int, max_steps: int,
    goals: str | Sequence[NDArray[np.uint8]] = "subgoals",
    subscribers: Sequence[Subscriber] = (), planner_seed: int = 0,
    options: dict[str, Any] | None = None,
) -> EpisodeResult:
    """Run until the agent is done, the environment ends the episode, or ``max_steps``.

    ``goals``: "subgoals" gives the agent the environment's sequence of goal images, "single"
    only the last; "none" gives no images, for agents that have no goal; or the goal images
    themselves, uint8 [H, W, 3] in order.  ``seed`` draws the episode, ``planner_seed`` the
    planner's samples.  ``options`` are those of the environment's reset.  Subscribers are closed
    whatever happens.

    The environment's ``info`` has ``success`` and ``distance_m`` [m] in every call (False and NaN
    where nobody judges), and after ``reset``, unless goals are given, ``goal_image`` or
    ``subgoal_images`` with ``subgoal_names``.  Raises ``ValueError`` where something is missing.
    """
    if isinstance(goals, str) and goals not in ("subgoals", "single", "none"):
        raise ValueError(
            f"goal '{goals}' is unknown; valid: subgoals, single, none, or goal images"
        )
    observation, info = env.reset(seed=seed, options=options)
    goal_reached = bool(info.get("goal_reached", True))
    _judgement(info)
    images, names = _goals(goals, info)
    agent.reset(images, 1_000_003 * planner_seed + seed)
    seconds: list[float] = []
    with contextlib.ExitStack() as ends:
        for watcher in reversed(subscribers):  # all of them, in order, even if one fails
            ends.callback(watcher.on_end)
        for watcher in subscribers:
            watcher.on_start(Start(seed, observation, info, images, names, max_steps))
        finished, ended, unsure_m = False, False, float("nan")
        while len(seconds) < max_steps and not ended:
            decision = agent.act(observation)
            finished, unsure_m = decision.finished, decision.unsure_m
            seconds.append(decision.seconds)
            following, _, terminated, truncated, info = env.step(decision.action)
            _judgement(info)
            step = Step(len(seconds) - 1, observation, decision, following, info)
            for watcher in subscribers:
                watcher.on_step(step)
            observation = following
            ended = finished or terminated or truncated
        success, distance_m = _judgement(info)
        return EpisodeResult(
            seed, success, distance_m, len(seconds), tuple(seconds), finished, goal_reached,
            unsure_m,
        )


def _judgement(info: dict[str, Any]) -> tuple[bool, float]:
    """``success`` and ``distance_m`` of an environment's ``info``."""
    for key in ("success", "distance_m"):
        if key not in info:
            raise ValueError(
                f"the environment's info has no '{key}'; it needs 'success' and 'distance_m' [m] "
                "in every call, False and NaN where nobody judges"
            )
    return bool(info["success"]), float(info["distance_m"])


def _goals(
    goals: str | Sequence[NDArray[np.uint8]], info: dict[str, Any]
) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """The goal images and their names."""
    if isinstance(goals, str) and goals == "none":
        return [], []
    if not isinstance(goals, str):
        images, names = list(goals), [f"goal {i + 1}" for i in range(len(goals))]
    elif "subgoal_images" in info:
        images, names = list(info["subgoal_images"]), list(info["subgoal_names"])
    elif "goal_image" in info:
        images, names = [info["goal_image"]], ["goal"]
    else:
        images, names = [], []
    if not images:
        raise ValueError(
            "there is no goal image; give goals=[image], uint8 [H, W, 3], or let the info of the "
            "environment's reset have 'goal_image', or 'subgoal_images' and 'subgoal_names'"
        )
    if isinstance(goals, str) and goals == "single":
        return images[-1:], names[-1:]
    return images, names
