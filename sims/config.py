"""Settings of the simulated arm; no engine is loaded for them."""

from __future__ import annotations

from dataclasses import dataclass, field

from sims.draws import TaskConfig
from sims.scene import SceneConfig


@dataclass(frozen=True)
class ArmConfig:
    """The simulated rig."""

    # side of the camera's pictures [px]; null: as the policy's model takes them, 128 where there is
    # none
    image_size: int | None = None
    wrist_camera: bool = False  # add the pictures of a camera at the wrist
    control_hz: float = 5.0  # control steps in a second [Hz]
    timestep_s: float = 0.002  # time step of the physics [s]
    fast_rendering: bool = True  # light meshes, no shadows, no reflections, no multisampling
    # lower corner of the box that the hand is kept in, base frame [m]
    workspace_low_m: tuple[float, float, float] = (0.30, -0.28, 0.015)
    # upper corner of that box [m]
    workspace_high_m: tuple[float, float, float] = (0.70, 0.28, 0.40)
    scene: SceneConfig = field(default_factory=SceneConfig)
    task: TaskConfig = field(default_factory=TaskConfig)

    @property
    def side(self) -> int:
        """Side of the pictures [pixels]."""
        return 128 if self.image_size is None else self.image_size
