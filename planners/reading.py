"""The hand's state read from a picture that is looked at several times, each time shifted a little.

A patch encoder divides a shifted picture into other patches, so that what the readout makes of it
errs otherwise; the mean over the shifts errs less (test-time augmentation: Krizhevsky et al. 2012,
section 4.1).  A shift also moves the hand in the picture, but over a symmetric set of
shifts that cancels to first order, and calibration maps what is left.
"""

from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from worldmodel.encoder import Encoder
from worldmodel.readout import Readout, decode


def shifted(images: Tensor, shift_px: int) -> list[Tensor]:
    """The images, uint8 [B, H, W, 3], moved by -shift, 0 and +shift pixels along both axes: nine
    like them (one, if ``shift_px`` is 0); edges are repeated."""
    if shift_px == 0:
        return [images]
    height, width = images.shape[1:3]
    # "replicate" has no kernel for bytes.
    wide = F.pad(images.permute(0, 3, 1, 2).float(), [shift_px] * 4, mode="replicate")
    wide = wide.to(torch.uint8).permute(0, 2, 3, 1)
    steps = (0, shift_px, 2 * shift_px)
    return [wide[:, y : y + height, x : x + width] for y, x in product(steps, steps)]


def read_states(
    encoder: Encoder, readout: Readout, images: Tensor, shift_px: int
) -> tuple[Tensor, Tensor]:
    """Images, uint8 [B, H, W, 3] -> commanded states [B, 7] in the model frame, and the features
    [B, F] they were read from, both of the mean over the shifts."""
    features = torch.stack([
        readout.features(encoder.encode_frames(view.contiguous()).float())
        for view in shifted(images, shift_px)
    ]).mean(0)
    return decode(readout.head(features)), features
