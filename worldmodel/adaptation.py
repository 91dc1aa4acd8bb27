"""The readout of hand and object trained further for one scene, on labelled frames of it.

An unfamiliar camera or table moves what the readout sees in ways no map of its outputs undoes.
Test-time training on the scene's own frames (Sun et al. 2020, section 2, but with labels: a robot
knows its pose) takes less than a minute, for the encoder stays as it is.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.device import autocast_where_quicker, device_of
from worldmodel.readout import Readout, object_loss, readout_loss

STEPS, WARMUP = 200, 10
BATCH = 32  # frames that were seen in a step, and half as many that were imagined
LEARNING_RATE = 2e-4
CLIP = 1.0  # most norm of a gradient


@dataclass(frozen=True)
class LabelledFrames:
    """Tokens [K, N, D], measured poses with commanded closedness [K, 7] (m, rad), and places of
    the object [K, 3] (m; NaN where not known), robot base frame."""

    tokens: Tensor
    states: Tensor
    places: Tensor

    def draw(self, count: int, generator: torch.Generator) -> LabelledFrames:
        """``count`` of them, with replacement."""
        chosen = torch.randint(len(self.tokens), (count,), generator=generator)
        return LabelledFrames(self.tokens[chosen], self.states[chosen], self.places[chosen])


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


def joined(parts: Sequence[LabelledFrames]) -> LabelledFrames:
    """All frames of several."""
    return LabelledFrames(
        torch.cat([p.tokens for p in parts]), torch.cat([p.states for p in parts]),
        torch.cat([p.places for p in parts]),
    )


def adapted(
    readout: Readout, seen: LabelledFrames, imagined: LabelledFrames | None, seed: int = 0,
    step_done: Callable[[], object] = lambda: None,
) -> Readout:
    """A copy of ``readout`` that was trained for ``STEPS`` steps on frames that were ``seen`` and,
    where there are any, on such as were ``imagined``, on which plans are made."""
    fitted = copy.deepcopy(readout).float().requires_grad_(True).train()
    device = device_of(fitted)
    optimiser = torch.optim.AdamW(
        fitted.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=0.0
    )
    generator = torch.Generator().manual_seed(seed)
    for step in range(STEPS):
        rate = min(1.0, (step + 1) / WARMUP) * 0.5 * (1 + math.cos(math.pi * step / STEPS))
        for group in optimiser.param_groups:
            group["lr"] = rate * LEARNING_RATE
        parts = [seen.draw(BATCH, generator)]
        if imagined is not None:
            parts.append(imagined.draw(BATCH // 2, generator))
        drawn = joined(parts)
        tokens, states, places = (
            x.to(device).float() for x in (drawn.tokens, drawn.states, drawn.places)
        )
        with torch.enable_grad():
            with autocast_where_quicker(device):
                output = fitted(tokens)
            output = output.float()
            loss = readout_loss(output, states)
            if fitted.config.object:
                loss = loss + object_loss(output, states, places)
            optimiser.zero_grad()
            loss.backward()
        nn.utils.clip_grad_norm_(fitted.parameters(), CLIP)
        optimiser.step()
        step_done()
    return fitted.requires_grad_(False).eval()
