"""What the loop commands, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Setpoint:
    """What one tick commands: pose [6] (x, y, z, roll, pitch, yaw), and closedness, None to leave
    the fingers as they are."""

    pose: Array
    closedness: float | None


@dataclass(frozen=True)
class Status:
    """What the loop is doing.  ``state``: "waiting" for sensors, "moving", "ready", "holding"
    (no action came in time; the next one resumes) or "fault" (until resume).  ``refusal``: why the
    last action that was not taken was not."""

    state: str
    code: str = ""
    message: str = ""
    accepted: int = 0
    capped: int = 0
    refused: int = 0
    refusal: str = ""
