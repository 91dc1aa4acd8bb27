"""What is decided on an arm, told on the terminal and kept."""

from __future__ import annotations

import numpy as np

from robot_data.loop import Decision, Start, Step
from worldmodel.progress import Progress


class Journal:
    """Says on the terminal what is decided and what became of it, and keeps both, with the fault
    that ended it."""

    fault, code = "", ""

    def on_start(self, start: Start) -> None:
        """Begin an empty list of decisions."""
        self.decisions: list[Decision] = []
        self.outcomes: list[str] = []
        self._bar = Progress(total=start.max_steps, desc="robot", unit="step")

    def on_step(self, step: Step) -> None:
        """Keep the decision and the fault, if there is one."""
        self.decisions.append(step.decision)
        self._bar.update()
        outcome = str(step.info.get("outcome", "taken"))
        self.outcomes.append(outcome)
        self._bar.set_postfix_str(
            told(step.decision) + ("" if outcome == "taken" else f", {outcome}")
        )
        self.fault = str(step.info.get("fault", ""))
        self.code = str(step.info.get("fault_code", ""))

    def on_end(self) -> None:
        """Close the bar."""
        self._bar.close()


def told(decision: Decision) -> str:
    """A decision in one line: move in cm, turn in degrees, grip, seconds."""
    a = decision.action
    return (
        f"goal {decision.goal_index}, move {100 * a[0]:+.1f} {100 * a[1]:+.1f} {100 * a[2]:+.1f} "
        f"cm, turn {np.degrees(a[3]):+.0f} {np.degrees(a[4]):+.0f} {np.degrees(a[5]):+.0f} deg, "
        f"grip {a[6]:+.2f}, {decision.seconds:.2f} s"
    )
