"""The energy landscape of the notebook published with V-JEPA 2-AC (facebookresearch/vjepa2,
``notebooks/energy_landscape_example.ipynb``), number by number."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from robot_data.images import fit_pictures
from worldmodel import diagnostics
from worldmodel.device import device_of
from worldmodel.models import Models

AT_ONCE = 25  # actions imagined at the same time


@torch.inference_mode()
def notebook_energies(
    models: Models, images: NDArray[np.uint8], state: NDArray[np.float64], reach_m: float, side: int
) -> NDArray[np.float64]:
    """Energies [side, side, side] of the translations in x, y and z within +-``reach_m``: how far
    the frame imagined after each, from the first of ``images`` [2, H, W, 3] in ``state`` [7], is
    from the second, in float32."""
    encoder, predictor = models.encoder, models.predictor
    pair = torch.from_numpy(fit_pictures(images, models.image_size)).to(device_of(encoder))
    present, recorded = encoder.encode_frames(pair).float()
    pose = torch.from_numpy(state).float()
    found = [
        diagnostics.energies(predictor, present, pose, actions, recorded)
        for actions in diagnostics.translation_grid(reach_m, side).split(AT_ONCE)
    ]
    return torch.cat(found).reshape(side, side, side).double().numpy()
