"""What the contact sheet and the video of an episode show."""

from __future__ import annotations

from robot_data.loop import Start, Step
from worldmodel.progress import Progress


class Pictures:
    """Collects what the contact sheet and the video show."""

    def on_start(self, start: Start) -> None:
        self.goals, self.names = start.goals, start.goal_names
        self.frames = [start.observation["image"]]
        self.index: list[int] = []
        self.subgoals: list[str] = []
        self.planned: list[float] = []
        self.present: list[float] = []
        self.distance = [float(start.info["distance_m"])]
        self._bar = Progress(total=start.max_steps, desc="plan", unit="step")

    def on_step(self, step: Step) -> None:
        self.frames.append(step.following["image"])
        self.index.append(step.decision.goal_index)
        self.subgoals.append(step.decision.subgoal or self.names[self.index[-1]])
        self.planned.append(step.decision.cost)
        self.present.append(step.decision.present_cost)
        self.distance.append(float(step.info["distance_m"]))
        self._bar.update()
        self._bar.set_postfix(
            goal=self.subgoals[-1], cost=f"{self.planned[-1]:.3f}",
            distance_cm=f"{100 * self.distance[-1]:.1f}",
        )

    def on_end(self) -> None:
        self._bar.close()
