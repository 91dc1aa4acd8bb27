"""A recorded episode behind the environment interface of the arms.

The recording goes on whatever the agent does: ``step`` shows the next recorded frame and says how
far the given action is from the recorded move.  So an agent is asked, at every frame, what it
would do, without a robot.
"""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robot_data.episodes import EpisodeStore
from robot_data.pose import angle_between, diff
from robot_data.schema import DataError, Episode, check_action

NEAR_M = 0.03


class ReplayEnv(gymnasium.Env[Any, Any]):
    """Windows of ``ahead`` frames of a store's episodes; the goal is the window's last frame.

    ``reset(seed=...)`` draws a window; ``options={"episode": name, "start": frame}`` names one.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(
        self, store: EpisodeStore, ahead: int = 1, render_mode: str | None = "rgb_array"
    ) -> None:
        if ahead < 1:
            raise DataError(f"ahead={ahead}; the goal must lie at least 1 frame ahead")
        self.store, self.ahead, self.render_mode = store, ahead, render_mode
        self._names = store.require()
        self._loaded: tuple[str, Episode] | None = None
        height, width = self._load(self._names[0]).images.shape[1:3]
        self.observation_space = gymnasium.spaces.Dict({
            "image": gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8),
            "state": gymnasium.spaces.Box(-np.inf, np.inf, (7,), np.float64),
        })
        limit = np.array([1.0, 1.0, 1.0, np.pi, np.pi, np.pi, 1.0])
        self.action_space = gymnasium.spaces.Box(-limit, limit, dtype=np.float64)

    def _load(self, name: str) -> Episode:
        if self._loaded is None or self._loaded[0] != name:
            self._loaded = (name, self.store.read(name))
        return self._loaded[1]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Go to the first frame of a window."""
        super().reset(seed=seed)
        chosen = options or {}
        name = chosen.get("episode") or self._names[self.np_random.integers(len(self._names))]
        if name not in self._names:
            raise DataError(f"there is no episode '{name}' in {self.store.url}")
        self.episode = self._load(name)
        last = len(self.episode) - 1 - self.ahead
        if last < 0:
            raise DataError(
                f"'{name}' has {len(self.episode)} frames; ahead={self.ahead} is too far"
            )
        start = chosen.get("start")
        self.frame = int(self.np_random.integers(last + 1) if start is None else start)
        if not 0 <= self.frame <= last:
            raise DataError(f"start={self.frame} of '{name}'; expected 0 to {last}")
        self.goal = self.frame + self.ahead
        image = self.episode.images[self.goal]
        info = {
            "episode": name, "goal_image": image.copy(),
            "goal_state": self.episode.states[self.goal].copy(),
            "subgoal_images": [image.copy()], "subgoal_names": ["recorded"], "goal_reached": True,
        }
        return self._observation(), {**info, **self._info()}

    def step(self, action: NDArray[np.float64]):
        """Go on to the next recorded frame; ``info`` has the recorded move and the errors."""
        action = check_action(action)
        if self.frame >= self.goal:
            raise DataError("the recorded window has ended; call reset() before step()")
        states = self.episode.states
        recorded = diff(states[self.frame], states[self.frame + 1])
        errors = action_error(action, recorded)
        self.frame += 1
        info = {**self._info(), "recorded_action": recorded, **errors}
        ended = self.frame == self.goal
        return self._observation(), float(info["success"]), ended, False, info

    def render(self) -> NDArray[np.uint8]:
        """The present image uint8 [H, W, 3]."""
        return self.episode.images[self.frame].copy()

    def _observation(self) -> dict[str, NDArray[Any]]:
        return {
            "image": self.episode.images[self.frame].copy(),
            "state": self.episode.states[self.frame].copy(),
        }

    def _info(self) -> dict[str, Any]:
        states = self.episode.states
        distance = float(np.linalg.norm(states[self.frame, :3] - states[self.goal, :3]))
        told = np.r_[states[self.frame, :6], self.episode.commanded_closedness[self.frame]]
        return {"distance_m": distance, "success": distance < NEAR_M, "commanded": told}


def action_error(
    planned: NDArray[np.float64], recorded: NDArray[np.float64]
) -> dict[str, float]:
    """Differences of two actions [7]: position [m], rotation [rad], gripper, the cosine between
    the translations (NaN where one is 0), and the score 800 x (0.1 - mean |dx|, |dy|, |dz|) of
    JEPA-WMs (Terver et al. 2025)."""
    gap = planned[:3] - recorded[:3]
    size = np.linalg.norm(planned[:3]) * np.linalg.norm(recorded[:3])
    return {
        "error_m": float(np.linalg.norm(gap)),
        "error_rad": float(angle_between(planned, recorded)),
        "error_gripper": float(abs(planned[6] - recorded[6])),
        "cosine": float(planned[:3] @ recorded[:3] / size) if size > 0 else float("nan"),
        "score": float(800 * (0.1 - np.abs(gap).mean())),
    }
