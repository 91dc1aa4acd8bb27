"""Progress of one episode, step by step."""

from __future__ import annotations

from robot_data.loop import Start, Step
from worldmodel.progress import Progress


class StepBar:
    """A subscriber that shows the sub-goal in force, the imagined cost and the distance."""

    def on_start(self, start: Start) -> None:
        """Begin the bar."""
        self._names = start.goal_names
        self._bar = Progress(total=start.max_steps, desc="plan", unit="step")

    def on_step(self, step: Step) -> None:
        """One step further, with the cost and the distance in cm."""
        decision = step.decision
        self._bar.update()
        self._bar.set_postfix(
            goal=decision.subgoal or self._names[decision.goal_index],
            cost=f"{decision.cost:.3f}",
            distance_cm=f"{100 * float(step.info['distance_m']):.1f}",
        )

    def on_end(self) -> None:
        """Close the bar."""
        self._bar.close()
