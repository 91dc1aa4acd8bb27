"""From camera images to what plans are made of: latents, and where the hand is.

Letters: B batch, N tokens, D encoder width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planners.calibration import Calibration
from robot_data.images import fit_picture
from robot_data.schema import DataError, check_state
from worldmodel.device import computing_dtype, copied, device_of, to_host
from worldmodel.encoder import Encoder
from worldmodel.readout import Readout

OBSERVATION = {
    "image": "uint8 [H, W, 3] RGB",
    "state": "7 numbers: x, y, z [m], roll, pitch, yaw [rad, extrinsic xyz] of the hand in the "
    "robot base frame, closedness (0 open, 1 closed)",
}


@dataclass(frozen=True)
class View:
    """One observation: the image's latents ``tokens`` [1, N, D] and the measured ``state`` [7] in
    the robot base frame: m, rad, closedness."""

    tokens: Tensor
    state: Tensor

    @property
    def closedness(self) -> float:
        """Of the gripper, as measured."""
        return to_host(self.state[6]).item()


class Perception:
    """The frozen encoder, the readout of hand states, and the calibration of the camera.

    Single frames are encoded as V-JEPA 2-AC does (Assran et al. 2025, section 3).  The encoder is
    copied, in the precision that ``bf16`` says (``worldmodel.device.computing_dtype``); the readout
    stays as it is.
    """

    def __init__(
        self, encoder: Encoder, readout: Readout | None = None,
        calibration: Calibration | None = None, bf16: bool | None = None, embeds: bool = False,
    ) -> None:
        """embeds: costs are of an embedding, which is calibrated itself; the predictor is given
        what was measured."""
        self.embeds = embeds
        self.encoder = copied(encoder, computing_dtype(bf16, device_of(encoder)))
        self._as_trained = readout
        self.calibrate(calibration)

    @property
    def image_size(self) -> int:
        """Side [pixels] of the square images that the encoder takes."""
        return self.encoder.config.image_size

    @property
    def device(self) -> torch.device:
        """Where the weights are, and so everything that is encoded and read."""
        return device_of(self.encoder)

    def calibrate(self, calibration: Calibration | None) -> None:
        """Read with the readout of ``calibration`` from now on; None: with the one as it was."""
        self.calibration, self.readout = calibration, self._as_trained
        if calibration is not None and self.readout is not None:
            self.readout = calibration.fitted(self.readout)

    def fit(self, images: Sequence[Any], names: Sequence[str]) -> Tensor:
        """Images of any size as the encoder takes them: uint8 [B, side, side, 3].

        Raises ``robot_data.schema.DataError``, with the image's name, for what is no RGB or gray
        uint8 image.
        """
        fitted = [
            fit_picture(image, self.image_size, name)
            for image, name in zip(images, names, strict=True)
        ]
        return torch.from_numpy(np.stack(fitted)).to(self.device)

    def encode(self, images: Tensor) -> Tensor:
        """Images uint8 [B, side, side, 3] -> tokens [B, N, D], normalised."""
        return self.encoder.encode_frames(images)

    def read(self, tokens: Tensor) -> Tensor | None:
        """Tokens [B, N, D] of images -> commanded states [B, 7] in the robot base frame; None
        without a readout."""
        if self.readout is None:
            return None
        states = self.readout.state(tokens.float())
        mapped = self.calibration is not None and self.calibration.readout is None
        return self.states_to_robot(states) if mapped else states

    def view(self, observation: dict[str, NDArray[Any]]) -> View:
        """An observation {"image": uint8 [H, W, 3], "state": [7]} encoded; or, where it was
        imagined, with "tokens" float32 [N, D] that are taken in the place of the image's.

        Raises ``DataError`` for images or states that are missing or not of the schema.
        """
        for key, what in OBSERVATION.items():
            if key not in observation:
                raise DataError(f"the observation has no '{key}'; expected {what}")
        images = self.fit([observation["image"]], ["image"])
        state = torch.from_numpy(check_state(observation["state"])).float().to(self.device)
        imagined = observation.get("tokens")
        if imagined is None:
            return View(self.encode(images), state)
        weight = self.encoder.patch_embed.proj.weight
        return View(torch.from_numpy(imagined)[None].to(weight), state)

    # -- the frame that the models see ---------------------------------------------------------

    def states_to_model(self, states: Tensor) -> Tensor:
        """States [B, 7] of the robot base frame as the models see them."""
        return states if self.calibration is None else self.calibration.to_model(states)

    def states_to_robot(self, states: Tensor) -> Tensor:
        """States [B, 7] that a model predicts, in the robot base frame."""
        return states if self.calibration is None else self.calibration.to_robot(states)

    def predictor_states(self, states: Tensor) -> Tensor:
        """States [B, 7] of the robot base frame as the predictor is given them."""
        return states if self.embeds else self.states_to_model(states)

    def predictor_actions(self, actions: Tensor) -> Tensor:
        """Actions [..., 7] of the robot as the predictor is given them: where costs compare tokens,
        turned with the camera (V-JEPA 2, appendix B.4)."""
        if self.calibration is None or self.embeds:
            return actions
        return self.calibration.actions_to_model(actions)
