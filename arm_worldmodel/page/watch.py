"""What the page shows of a run: the hand's way and, step by step, what was decided."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arm_worldmodel.journal import told
from robot_data.loop import Start, Step


class Watch:
    """A subscriber of the loop.  ``way``: places of the hand [3] (m, robot base frame), the first
    before the first step; ``goal``: where it is in the goal image [3], if the agent reads that;
    ``lines``: a sentence a step."""

    def __init__(self) -> None:
        self.way: list[NDArray[np.float64]] = []
        self.start: NDArray[np.float64] | None = None  # the state [7] at its beginning
        self.goal: NDArray[np.float64] | None = None
        self.lines: list[str] = []
        self.fault = ""
        self.finished = False

    def on_start(self, start: Start) -> None:
        """The way begins."""
        self.start = start.observation["state"]
        self.way = [start.observation["state"][:3]]

    def on_step(self, step: Step) -> None:
        """Keep where the hand is now, and why."""
        decision = step.decision
        outcome = str(step.info.get("outcome", "taken"))
        self.way = [*self.way, step.following["state"][:3]]  # a new list: others read the old one
        stage = f"{decision.subgoal}: " if decision.subgoal else ""
        line = f"{step.index + 1}. {stage}{told(decision)}"
        self.lines = [*self.lines, line if outcome == "taken" else f"{line}, {outcome}"]
        if decision.goal_state is not None:
            self.goal = decision.goal_state[:3]
        self.fault = str(step.info.get("fault", ""))
        self.finished = decision.finished

    def on_end(self) -> None:
        """Nothing is open."""
