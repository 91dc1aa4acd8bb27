"""What a driver of an arm has to do, whichever way it is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class ArmDriver(Protocol):
    """An arm; poses [6] of the tool centre point in the base frame.  ``follow`` and ``grip`` raise
    ``SafetyError`` for what the arm refuses: the loop then holds."""

    def sense(self) -> tuple[Array, float]:
        """Measured pose [6] and closedness."""
        ...

    def measured_at(self) -> float:
        """Time [s] of what ``sense`` last measured, by the arm's own clock, or what goes on in its
        place: while it stands still, the pose is old, however often it is read."""
        ...

    def follow(self, pose: Array) -> None:
        """Take a set point [6]; called at a fixed rate."""
        ...

    def grip(self, closedness: float) -> None:
        """Start moving the fingers."""
        ...

    def image(self) -> NDArray[np.uint8] | None:
        """A new picture, uint8 [H, W, 3], or None where the camera has its own driver."""
        ...

    def reflex(self) -> str:
        """Why the arm stopped by itself, or ""."""
        ...

    def recover(self) -> None:
        """Make the arm obey again after a reflex, without a motion of arm or fingers; raises
        ``SafetyError`` if it does not."""
        ...

    def close(self) -> None:
        """Let go of the arm."""
        ...


@runtime_checkable
class JointedDriver(Protocol):
    """A driver that also tells the arm's joints, for whoever draws the arm."""

    def joints(self) -> Mapping[str, float]:
        """Angles [rad] by the names in the arm's URDF."""
        ...
