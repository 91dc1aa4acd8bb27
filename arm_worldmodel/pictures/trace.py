"""What pictures tell of an episode: frames, goals, sub-goal in force, costs, verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from arm_worldmodel.pictures import style
from robot_data.loop import Start, Step, StepPictures


@dataclass
class Trace:
    """A subscriber that keeps one episode for its pictures.

    Of T control steps: ``frames`` T + 1 images uint8 [H, W, 3]; ``goal_index``, ``subgoals``,
    ``imagined_cost`` (after the planned actions) and ``present_cost`` T; ``distance_m`` T + 1,
    NaN where nobody measures it, as on a real robot.  With ``imagine``, T pictures by name of what
    was imagined for the frame after each step are kept in ``imagined``.
    """

    title: str = ""
    seed: int = 0
    max_steps: int = 0
    goals: list[style.Image] = field(default_factory=list)
    goal_names: list[str] = field(default_factory=list)
    frames: list[style.Image] = field(default_factory=list)
    goal_index: list[int] = field(default_factory=list)
    subgoals: list[str] = field(default_factory=list)
    imagined_cost: list[float] = field(default_factory=list)
    present_cost: list[float] = field(default_factory=list)
    distance_m: list[float] = field(default_factory=list)
    success: bool = False
    imagine: StepPictures | None = None
    imagined: list[Mapping[str, style.Image]] = field(default_factory=list)

    def on_start(self, start: Start) -> None:
        """Keep goals and the first frame."""
        self.seed, self.max_steps = start.seed, start.max_steps
        self.goals, self.goal_names = list(start.goals), list(start.goal_names)
        self.frames = [start.observation["image"]]
        self.distance_m = [float(start.info["distance_m"])]
        self.success = bool(start.info["success"])

    def on_step(self, step: Step) -> None:
        """Keep the frame after the step, and what was decided."""
        decision = step.decision
        self.frames.append(step.following["image"])
        self.goal_index.append(decision.goal_index)
        self.subgoals.append(decision.subgoal or self.goal_names[decision.goal_index])
        self.imagined_cost.append(decision.cost)
        self.present_cost.append(decision.present_cost)
        self.distance_m.append(float(step.info["distance_m"]))
        self.success = bool(step.info["success"])
        if self.imagine is not None:
            self.imagined.append(self.imagine(step))

    def on_end(self) -> None:
        """Nothing is left to do."""
        pass

    @property
    def steps(self) -> int:
        """How many control steps were made."""
        return len(self.goal_index)

    @property
    def judged(self) -> bool:
        """Whether somebody measures the distance to the goal and judges success."""
        return math.isfinite(self.distance_m[-1])

    @property
    def colour(self) -> str:
        """Of the verdict."""
        if not self.judged:
            return style.UNKNOWN
        return style.GOOD if self.success else style.BAD

    @property
    def heading(self) -> str:
        """Title and seed."""
        return f"{self.title}, seed {self.seed}" if self.title else f"seed {self.seed}"

    @property
    def verdict(self) -> str:
        """Success or not, the distance left and the steps, in words."""
        steps = f"after {self.steps} step{'' if self.steps == 1 else 's'}"
        if not self.judged:
            return f"not judged, {steps}"
        word = "success" if self.success else "no success"
        return f"{word}, {100 * self.distance_m[-1]:.1f} cm from the goal {steps}"

    def goal_label(self, step: int) -> str:
        """``goal 2 of 8: at_object``; with the agent's own sub-goal where it sets one."""
        index = self.goal_index[min(step, self.steps - 1)] if self.steps else 0
        name = self.goal_names[index]
        if len(self.goals) > 1:
            return f"goal {index + 1} of {len(self.goals)}: {name}"
        return f"goal: {name}"

    def phases(self) -> list[tuple[int, int, str]]:
        """(first step, step after the last, sub-goal) of each stretch with one sub-goal."""
        found: list[tuple[int, int, str]] = []
        for t, name in enumerate(self.subgoals):
            if found and found[-1][2] == name:
                found[-1] = (found[-1][0], t + 1, name)
            else:
                found.append((t, t + 1, name))
        return found

    def numbers(self) -> dict[str, int]:
        """A number for each sub-goal: its place among the goals, or in order of appearance."""
        known = {name: i for i, name in enumerate(self.goal_names)}
        if not set(self.subgoals) <= known.keys():  # the agent sets its own
            known = {name: i for i, name in enumerate(dict.fromkeys(self.subgoals))}
        return known

    def curves(self) -> dict[str, Any]:
        """Everything but the images, for JSON: what is not finite becomes None."""
        return {
            "title": self.title, "seed": self.seed, "steps": self.steps,
            "success": self.success, "verdict": self.verdict, "goal_names": self.goal_names,
            "goal_index": self.goal_index, "subgoals": self.subgoals,
            "imagined_cost": _finite(self.imagined_cost),
            "present_cost": _finite(self.present_cost),
            "distance_per_step_m": _finite(self.distance_m),
        }

    @classmethod
    def of_curves(cls, told: dict[str, Any]) -> Trace:
        """The episode ``curves`` told of, without its images."""
        return cls(
            title=told["title"], seed=told["seed"], goal_names=told["goal_names"],
            goal_index=told["goal_index"], subgoals=told["subgoals"],
            imagined_cost=_numbers(told["imagined_cost"]),
            present_cost=_numbers(told["present_cost"]),
            distance_m=_numbers(told["distance_per_step_m"]), success=told["success"],
        )


def _finite(values: list[float]) -> list[float | None]:
    return [v if math.isfinite(v) else None for v in values]


def _numbers(values: list[float | None]) -> list[float]:
    return [math.nan if v is None else v for v in values]
