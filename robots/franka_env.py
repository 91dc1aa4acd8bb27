"""A real arm behind the environment contract of the simulators."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robot_data.images import fit_square
from robot_data.pose import diff
from robot_data.schema import check_action, check_image, check_state
from robot_data.spaces import action_space, observation_space
from robots.franka_config import FrankaEnvConfig
from robots.limits import Limits, SafetyError
from robots.link import Link
from robots.safety import cap_action

Array = NDArray[np.float64]
TOLERANCE = np.array([0.005, 0.005, 0.005, 0.03, 0.03, 0.03, 0.05])  # of going to a pose


class FrankaEnv(gymnasium.Env[Any, Any]):
    """Observation {"image": uint8 [S, S, 3], "state": float64 [7]}, action float64 [7], as in
    ``robot_data.schema``.  There is no reward; ``info["success"]`` is always False, because
    nobody judges here, and ``info["distance_m"]`` is NaN.

    ``info["outcome"]`` says whether the last action was "taken", "shortened" or "refused: ...", and
    ``info["taken"]`` [7] how much of it.

    A fault of the arm ends the episode: ``truncated`` is True, ``info["fault"]`` says why, the
    arm holds, and the next ``reset`` raises ``SafetyError`` until somebody recovered it.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"]}
    source: ClassVar[str] = "franka"

    def __init__(
        self, link: Link, config: FrankaEnvConfig | None = None, limits: Limits | None = None,
        goals: Sequence[NDArray[np.uint8]] = (), goal_names: Sequence[str] = (),
    ) -> None:
        self.link, self.config = link, config or FrankaEnvConfig()
        self.limits = limits or Limits()
        self.render_mode = "rgb_array"
        self.goals, self.goal_names = list(goals), list(goal_names)
        self.observation_space = observation_space(self.config.side)
        self.action_space = action_space()
        self._seen: dict[str, NDArray[Any]] | None = None
        self._stamp = float("-inf")
        self._outcome: dict[str, Any] = {}  # of the last action
        self._faults = 0  # of the arm when the episode began
        self._due = 0.0  # when the present control step ends, where steps have a fixed length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Wait for the arm.  ``options={"state": [7]}`` goes there first, in capped steps."""
        super().reset(seed=seed)
        self._outcome, self._faults = {}, self.link.inbox.faults
        self._observe(after=float("-inf"))
        self._due = time.monotonic()
        wanted = (options or {}).get("state")
        if wanted is not None:
            self.go_to(wanted)
        info = {
            "subgoal_images": self.goals, "subgoal_names": self.goal_names, "goal_reached": True,
            **self._info(),
        }
        if self.goals:
            info["goal_image"] = self.goals[-1]
        return self._last(), info

    def step(self, action: Array):
        """One control step.  Raises nothing for a fault: see the class."""
        action = check_action(action)
        action = np.clip(action, self.action_space.low, self.action_space.high)  # pyright: ignore
        try:
            self._move(action)
        except SafetyError as error:
            return self._last(), 0.0, False, True, {**self._info(), "fault": str(error),
                                                    "fault_code": error.code}
        return self._last(), 0.0, False, False, self._info()

    def go_to(self, state: Array, most_steps: int = 60) -> None:
        """Go to ``state`` [7] in straight, capped steps.  Raises ``SafetyError`` on a fault or if
        the arm does not get there."""
        state = check_state(state)
        for _ in range(most_steps):
            reading = self.link.inbox.latest
            assert reading is not None
            error = diff(reading.commanded, state)
            error[6] = state[6] - reading.commanded[6]
            if (np.abs(error) < TOLERANCE).all():
                return
            self._move(cap_action(error, self.limits))
        raise SafetyError("not_there", f"the arm did not get to {np.round(state, 3)}")

    def render(self) -> NDArray[np.uint8]:
        """The last picture."""
        return self._last()["image"]

    def close(self) -> None:
        """Close the link; the arm is held by its loop."""
        self.link.close()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("an environment of a real arm cannot be copied: there is one arm")

    # -- inside ------------------------------------------------------------------------------

    def _move(self, action: Array) -> None:
        inbox, wait_s = self.link.inbox, self.config.step_timeout_s
        inbox.check()
        if inbox.faults != self._faults:
            raise SafetyError(
                "held_meanwhile", "the arm was held and recovered since the last action was "
                "planned, and may be elsewhere: begin a new episode",
            )
        before = inbox.latest
        assert before is not None
        self._outcome = {"outcome": "not answered", "taken": np.zeros(7)}
        self.link.send(action, self._stamp)
        done = before.accepted + before.refused
        inbox.wait(
            "the bridge's answer to an action",
            lambda: inbox.latest is not None
            and inbox.latest.accepted + inbox.latest.refused > done,
            wait_s,
        )
        self._outcome = self._answer(before.refused, action)
        if self.config.settle:
            inbox.wait(
                "the end of a motion", lambda: _resting(inbox.latest), wait_s, self.link.alive,
                1 / self.config.control_hz,
            )
            self._observe(after=self.link.now())
            return
        now = time.monotonic()
        self._due = max(self._due + 1 / self.config.control_hz, now)
        time.sleep(self._due - now)
        self._observe(after=self._stamp + 1e-4)

    def _answer(self, refused: int, action: Array) -> dict[str, Any]:
        """What became of the action that was just answered."""
        reading = self.link.inbox.latest
        assert reading is not None
        if reading.refused > refused:
            return {"outcome": f"refused: {self.link.inbox.refusal}", "taken": np.zeros(7)}
        whole = np.allclose(reading.taken, action, atol=1e-6)
        return {"outcome": "taken" if whole else "shortened", "taken": reading.taken.copy()}

    def _observe(self, after: float) -> None:
        """The newest picture, taken ``after`` that time, and the state at its time."""
        wait_s, late_s = self.config.step_timeout_s, self.config.camera_delay_s
        inbox = self.link.inbox
        inbox.wait("the arm's state", lambda: inbox.latest is not None, wait_s)
        stamped = max(after + late_s, self.link.now() - 0.15)  # never a picture of long ago
        stamp, image = inbox.picture(stamped, wait_s)
        self._stamp = stamp - late_s
        state = inbox.state_at(self._stamp, wait_s)
        self._seen = {
            "image": check_image(fit_square(image, self.config.side)),
            "state": check_state(np.r_[state[:6], np.clip(state[6], 0, 1)]),
        }

    def _last(self) -> dict[str, NDArray[Any]]:
        if self._seen is None:
            raise RuntimeError("reset() must be called first")
        return {name: value.copy() for name, value in self._seen.items()}

    def _info(self) -> dict[str, Any]:
        reading = self.link.inbox.latest
        return {
            "success": False, "distance_m": float("nan"),
            "commanded": None if reading is None else reading.commanded.copy(),
            "stamp": self._stamp, **self._outcome,
        }


def _resting(reading: Any) -> bool:
    return reading is not None and not reading.moving
