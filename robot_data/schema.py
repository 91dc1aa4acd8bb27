"""Fields, units and validation of observations, actions and episodes.

==============  ==============  ========================================================
``image``       uint8 [H,W,3]   RGB, H and W multiples of 16
``state``       float64 [7]     x, y, z [m], roll, pitch, yaw [rad, extrinsic xyz] of the
                                end effector in the robot base frame; closedness [0, 1]
``action``      float64 [7]     change over one control step, see ``robot_data.pose``
==============  ==============  ========================================================

Recorded actions are kept, and not trained on: training takes the change of the pose that was
measured, ``robot_data.pose.diff`` of the states before and after, and the change of closedness that
the fingers were told (``robot_data.grip_rule.told_changes``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

STATE_FIELDS = ("x_m", "y_m", "z_m", "roll_rad", "pitch_rad", "yaw_rad", "closedness")
SCHEMA_VERSION = 2


class DataError(ValueError):
    """Data that does not fit the schema; the message says what to do."""


def check_picture(image: Any, name: str = "image") -> NDArray[np.uint8]:
    """Return ``image`` if it is uint8 [H, W, 3], of any size; raises DataError otherwise."""
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise DataError(
            f"{name} has dtype {image.dtype}; expected uint8 in 0..255: convert it with "
            "(255 * image).astype('uint8') if it is a float in 0..1"
        )
    if image.ndim != 3 or image.shape[2] != 3:
        raise DataError(
            f"{name} has shape {image.shape}; expected [height, width, 3] RGB: "
            "drop an alpha channel, move channels last"
        )
    return image


def check_image(image: Any, name: str = "image") -> NDArray[np.uint8]:
    """Return ``image`` if it is uint8 [H, W, 3] with sides that are multiples of 16; raises
    DataError otherwise."""
    image = check_picture(image, name)
    if image.shape[0] % 16 or image.shape[1] % 16 or min(image.shape[:2]) < 16:
        raise DataError(
            f"{name} is {image.shape[0]}x{image.shape[1]}; both sides must be multiples of the "
            "patch size 16: resize or crop it"
        )
    return image


def check_state(state: Any, name: str = "state") -> NDArray[np.float64]:
    """Return ``state`` as float64 [7] if finite and in range; raises DataError otherwise."""
    state = _check_vector(state, name)
    if not -1e-3 <= state[6] <= 1 + 1e-3:
        raise DataError(
            f"{name} has closedness {state[6]:.3g}; expected 0 (open) to 1 (closed): "
            "convert a width with 1 - width / max_width"
        )
    return state


def check_action(action: Any, name: str = "action") -> NDArray[np.float64]:
    """Return ``action`` as float64 [7] if finite; raises DataError otherwise."""
    return _check_vector(action, name)


def _check_vector(value: Any, name: str) -> NDArray[np.float64]:
    try:
        vector = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is not numeric: {error}; expected 7 numbers") from None
    if vector.shape != (7,):
        raise DataError(
            f"{name} has shape {vector.shape}; expected (7,): x, y, z [m], roll, pitch, yaw "
            "[rad], closedness (convert quaternions to extrinsic xyz Euler angles first)"
        )
    if not np.isfinite(vector).all():
        bad = [STATE_FIELDS[i] for i in np.flatnonzero(~np.isfinite(vector))]
        raise DataError(f"{name} is not finite in {', '.join(bad)}; check the sensor or source")
    return vector


@dataclass
class Episode:
    """One recorded episode of T frames.

    images: uint8 [T, H, W, 3], the camera the model looks through; states: float64 [T, 7];
    actions: float64 [T, 7], the action given at each frame (the last row is zero);
    commanded_closedness: float64 [T], what the gripper was told, which exceeds the measured
    closedness while it squeezes an object; privileged: further float arrays [T, ...] such as
    ``object_pose``, for probes only; timestamps_ns: int64 [T], when each frame was taken,
    increasing, on the source's clock (None: not recorded); cameras: further views, uint8
    [T, h, w, 3]; raw: whatever else the source held, verbatim, of any type and length;
    meta: JSON.
    """

    images: NDArray[np.uint8]
    states: NDArray[np.float64]
    actions: NDArray[np.float64]
    commanded_closedness: NDArray[np.float64]
    privileged: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    timestamps_ns: NDArray[np.int64] | None = None
    cameras: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    raw: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def views(self) -> dict[str, NDArray[np.uint8]]:
        """Frames [T, h, w, 3] of every camera by its name, the model's view first."""
        main = str(self.meta.get("camera") or "exo")
        return {main: self.images, **{k: v for k, v in self.cameras.items() if k != main}}

    def validate(self) -> None:
        """Raise :class:`DataError` naming the first field that breaks the schema."""
        length = len(self.images)
        if length < 2:
            raise DataError(f"an episode has {length} frames; expected at least 2")
        if self.images.ndim != 4:
            raise DataError(f"images has shape {self.images.shape}; expected [T, H, W, 3]")
        check_image(self.images[0], "images[0]")
        self._check_numbers(length)
        for t, state in enumerate(self.states):
            check_state(state, f"states[{t}]")
        for name, value in (*self.privileged.items(), *self.cameras.items()):
            if len(value) != length:
                raise DataError(f"{name} has {len(value)} rows; expected {length}")
        for name, view in self.cameras.items():
            if view.dtype != np.uint8 or view.ndim != 4 or view.shape[3] != 3:
                raise DataError(
                    f"camera '{name}' is {view.dtype} {view.shape}; expected uint8 [T, h, w, 3]"
                )
        if self.timestamps_ns is not None:
            self._check_times(self.timestamps_ns, length)
        for name, value in self.raw.items():
            if value.dtype.kind not in "biuf":
                raise DataError(
                    f"raw '{name}' has dtype {value.dtype}; expected numbers: text goes to meta"
                )

    def _check_numbers(self, length: int) -> None:
        shapes = {"states": (length, 7), "actions": (length, 7), "commanded_closedness": (length,)}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value.shape != shape:
                raise DataError(f"{name} has shape {value.shape}; expected {shape}")
            if not np.isfinite(value).all():
                row = int(np.argwhere(~np.isfinite(value))[0][0])
                raise DataError(f"{name} is not finite at frame {row}; drop or repair the episode")

    @staticmethod
    def _check_times(times: NDArray[np.int64], length: int) -> None:
        if times.dtype != np.int64 or times.shape != (length,):
            raise DataError(
                f"timestamps_ns is {times.dtype} {times.shape}; expected int64 ({length},) in ns"
            )
        if (np.diff(times) <= 0).any():
            row = int(np.argmax(np.diff(times) <= 0)) + 1
            raise DataError(
                f"timestamps_ns does not increase at frame {row}; sort the frames by time and "
                "drop the doubled ones"
            )
