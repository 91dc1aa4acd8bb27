"""Where hand and object are in imagined frames, as a readout trained on real frames sees them.

A predictor that ignores actions, or leaves an object behind, can still have a low token error: few
tokens show the hand.  A frozen readout tells how far each has moved.

Letters: B batch, H steps, N tokens, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from worldmodel.device import device_of, to_host
from worldmodel.losses import unroll
from worldmodel.pose import compose
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout, decode, object_place


class Seen(NamedTuple):
    """What the readout reads, in the model frame, on the CPU: commanded ``hand`` states [B, 7]
    (m, rad, closedness) and the ``place`` of the object [B, 3] (m; None: it is not read)."""

    hand: Tensor
    place: Tensor | None


@torch.inference_mode()
def seen(readout: Readout, tokens: Tensor) -> Seen:
    """Hand and object in the frames of tokens [B, N, D]."""
    output = readout(tokens.to(device_of(readout)).float()).float()
    place = to_host(object_place(output)) if readout.config.object else None
    return Seen(to_host(decode(output)), place)


@torch.inference_mode()
def seen_in_imagination(
    predictor: Predictor, readout: Readout, tokens: Tensor, states: Tensor, actions: Tensor
) -> Seen:
    """Hand and object where ``actions`` [B, H, 7] lead, imagined from tokens [B, N, D] in states
    [B, 7], in the predictor's precision.

    Raises ``ValueError`` where there are more steps than the predictor takes.
    """
    steps, most = actions.shape[1], predictor.config.max_steps
    if not 1 <= steps <= most:
        raise ValueError(f"{steps} actions; this predictor takes 1 to {most}")
    tokens, states, actions = (x.to(device_of(predictor)) for x in (tokens, states, actions))
    dtype = predictor.predictor_proj.weight.dtype
    along = [states]
    for step in range(steps - 1):
        along.append(compose(along[-1], actions[:, step]))
    imagined = unroll(
        predictor, tokens.to(dtype), actions.to(dtype), torch.stack(along, dim=1).to(dtype), None,
        steps,
    )
    return seen(readout, imagined[:, -1])
