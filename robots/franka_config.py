"""Settings of the real arm as an environment; nothing is loaded for them."""

from __future__ import annotations

from dataclasses import dataclass

MOST_DELAY_S = 0.5  # of a camera: as old as its pictures may be by their stamps (limits.stale_s)


@dataclass(frozen=True)
class FrankaEnvConfig:
    """The real arm as an environment."""

    # side of the square that pictures are fitted to [px]; null: as the model takes them, 128 where
    # there is none
    image_size: int | None = None
    control_hz: float = 5.0  # control steps in a second [Hz]
    # a step ends when the arm rests, as in the training data; false: after one period
    settle: bool = True
    step_timeout_s: float = 5.0  # most that a step waits for the arm [s]
    # how much later than taken a picture is stamped [s], as `worldmodel robot camera` measures it
    camera_delay_s: float = 0.0

    def __post_init__(self) -> None:
        if self.side % 16 or self.side < 16:
            raise ValueError(f"image_size {self.side} is not a multiple of the patch size 16")
        if self.control_hz <= 0 or self.step_timeout_s <= 0:
            raise ValueError("control_hz and step_timeout_s must be positive")
        if not 0 <= self.camera_delay_s <= MOST_DELAY_S:
            raise ValueError(
                f"camera_delay_s is {self.camera_delay_s}, expected 0 to {MOST_DELAY_S} s: with a "
                "camera that is later nothing can be controlled"
            )

    @property
    def side(self) -> int:
        """Side of the pictures [pixels]."""
        return 128 if self.image_size is None else self.image_size
