"""The observations and actions that simulated arms and the real one have in common."""

from __future__ import annotations

import gymnasium
import numpy as np

# Largest action of a control step, each axis: m, m, m, rad, rad, rad, closedness.
ACTION_LIMIT = (0.1, 0.1, 0.1, 0.35, 0.35, 0.35, 1.0)


def action_space() -> gymnasium.spaces.Box:
    """Actions float64 [7] within ``ACTION_LIMIT``, robot base frame."""
    limit = np.array(ACTION_LIMIT)
    return gymnasium.spaces.Box(-limit, limit, dtype=np.float64)


def observation_space(side: int, wrist_camera: bool = False) -> gymnasium.spaces.Dict:
    """Observations {"image": uint8 [side, side, 3], "state": float64 [7]}, and "wrist_image" of
    the same size where there is that camera."""
    image = gymnasium.spaces.Box(0, 255, (side, side, 3), np.uint8)
    state = gymnasium.spaces.Box(-np.inf, np.inf, (7,), np.float64)
    spaces: dict[str, gymnasium.Space] = {"image": image, "state": state}
    if wrist_camera:
        spaces["wrist_image"] = gymnasium.spaces.Box(0, 255, (side, side, 3), np.uint8)
    return gymnasium.spaces.Dict(spaces)
