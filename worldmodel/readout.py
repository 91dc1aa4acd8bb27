"""Attentive readout of the robot state from the frozen tokens of one image.

Trained on logged states (every robot recording has them; no object labels), it reads from a
goal image where the end effector is and what the gripper is told to do.

Letters: B batch, N tokens, D encoder width, Q queries.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from worldmodel.config import ReadoutConfig
from worldmodel.pose import euler_to_matrix, matrix_to_euler

OUTPUTS = 10  # xyz / POSITION_SCALE, two columns of the rotation matrix, closedness logit
# xyz / POSITION_SCALE of the object; log scales of the errors of its place and of the hand's
OBJECT_OUTPUTS = 5
LOG_SCALES = (-4.0, 1.5)  # bounds of these, in log of POSITION_SCALE
POSITION_SCALE_M = 0.1
POSITION_CENTRE_M = (0.5, 0.0, 0.15)


class Readout(nn.Module):
    """Tokens [B, N, D] -> commanded state [B, 7] (pose vector of ``worldmodel.pose``).

    The rotation is regressed as two columns of its matrix (Zhou et al. 2019).  Closedness is
    the *commanded* one: fingers that squeeze an object read as closed.
    """

    def __init__(self, config: ReadoutConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Linear(config.embed_dim, config.dim)
        self.position = nn.Parameter(torch.zeros(config.tokens, config.dim))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.dim, config.num_heads, 4 * config.dim, 0.0, "gelu",
                batch_first=True, norm_first=True,
            )
            for _ in range(config.depth)
        )
        self.queries = nn.Parameter(torch.zeros(config.queries, config.dim))
        self.pool = nn.MultiheadAttention(config.dim, config.num_heads, batch_first=True)
        self.norm = nn.LayerNorm(config.queries * config.dim)
        self.head = nn.Linear(
            config.queries * config.dim, OUTPUTS + OBJECT_OUTPUTS * config.object
        )
        nn.init.trunc_normal_(self.position, std=0.02)
        nn.init.trunc_normal_(self.queries, std=0.5)

    def features(self, tokens: Tensor) -> Tensor:
        """What the last layer reads: [B, queries * dim]."""
        x = self.embed(tokens) + self.position
        with quick_attention(x.device):
            for layer in self.layers:
                x = layer(x)
            queries = self.queries.expand(len(x), -1, -1)
            pooled = self.pool(queries, x, x, need_weights=False)[0]  # [B, Q, dim]
        return self.norm(pooled.flatten(1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Raw outputs [B, OUTPUTS], with ``OBJECT_OUTPUTS`` more if the object is read."""
        return self.head(self.features(tokens))

    def with_object(self) -> Readout:
        """A copy that reads the object as well, once it is trained to; self if it does."""
        if self.config.object:
            return self
        wide = Readout(replace(self.config, object=True))
        state = self.state_dict()
        for name in ("head.weight", "head.bias"):
            state[name] = F.pad(state[name], (0, 0) * (state[name].ndim - 1) + (0, OBJECT_OUTPUTS))
        wide.load_state_dict(state)
        return wide

    def state(self, tokens: Tensor) -> Tensor:
        """Commanded state [B, 7] in m, rad and closedness."""
        return decode(self(tokens).float())


def quick_attention(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """In training on CPUs, where two matrix products take less time than the fused kernel and its
    gradient, the former (docs/lab-book.md)."""
    if device.type != "cpu" or not torch.is_grad_enabled():
        return contextlib.nullcontext()
    return sdpa_kernel(SDPBackend.MATH)


def decode(output: Tensor) -> Tensor:
    """Raw outputs [B, OUTPUTS] -> pose vectors [B, 7]."""
    xyz = hand_place(output)
    a = F.normalize(output[:, 3:6], dim=-1)
    b = F.normalize(output[:, 6:9] - (a * output[:, 6:9]).sum(-1, keepdim=True) * a, dim=-1)
    matrix = torch.stack([a, b, torch.linalg.cross(a, b)], dim=-1)
    return torch.cat([xyz, matrix_to_euler(matrix), output[:, 9:10].sigmoid()], dim=-1)


def hand_place(output: Tensor) -> Tensor:
    """Raw outputs [B, OUTPUTS] -> where the hand is, [B, 3] in m, base frame."""
    return output[:, :3] * POSITION_SCALE_M + output.new_tensor(POSITION_CENTRE_M)


def object_place(output: Tensor) -> Tensor:
    """Raw outputs [B, OUTPUTS + OBJECT_OUTPUTS] -> where the object is, [B, 3] in m, base frame."""
    return output[:, 10:13] * POSITION_SCALE_M + output.new_tensor(POSITION_CENTRE_M)


def error_scales(output: Tensor) -> tuple[Tensor, Tensor]:
    """Raw outputs [B, OUTPUTS + OBJECT_OUTPUTS] -> how far off the places of object and hand are
    expected to be: mean absolute errors of an axis, [B] in m each."""
    scales = output[:, 13:15].clamp(*LOG_SCALES).exp() * POSITION_SCALE_M
    return scales[:, 0], scales[:, 1]


def encode(state: Tensor) -> Tensor:
    """Pose vectors [B, 7] -> scaled position and two columns of the rotation [B, 9]."""
    xyz = (state[:, :3] - state.new_tensor(POSITION_CENTRE_M)) / POSITION_SCALE_M
    columns = euler_to_matrix(state[:, 3:6])[..., :2].mT.flatten(1)  # [B, 6]
    return torch.cat([xyz, columns], dim=-1)


def readout_loss(output: Tensor, state: Tensor) -> Tensor:
    """Loss of raw outputs [B, OUTPUTS] against commanded states [B, 7], of those whose pose is no
    NaN."""
    seen = ~state.isnan().any(-1, keepdim=True)
    target = torch.where(seen, encode(state), output[:, :9])
    place = F.smooth_l1_loss(output[:, :3], target[:, :3], beta=0.1)
    turn = F.smooth_l1_loss(output[:, 3:9], target[:, 3:], beta=0.1)
    told = torch.where(seen[:, 0], state[:, 6].clamp(0, 1), output[:, 9].sigmoid().detach())
    grip = F.binary_cross_entropy_with_logits(output[:, 9], told)
    return place + turn + 0.2 * grip


def object_loss(output: Tensor, state: Tensor, place: Tensor) -> Tensor:
    """Loss of raw outputs [B, OUTPUTS + OBJECT_OUTPUTS] against where the object is, ``place``
    [B, 3] (m; NaN where it is not known), and of the error scales.  A hand whose pose is NaN is
    not in the picture: the largest error is expected of it.

    Scales are those of Laplace distributions, fitted to the errors without a part in them (as
    Kendall & Gal 2017, section 3, but detached), so that no error is excused.
    """
    known = ~place.isnan().any(-1)
    centre = place.new_tensor(POSITION_CENTRE_M)
    target = torch.where(known[:, None], (place - centre) / POSITION_SCALE_M, output[:, 10:13])
    share = known / known.sum().clamp(min=1)
    off = F.smooth_l1_loss(output[:, 10:13], target, beta=0.1, reduction="none").mean(-1)
    miss = (output[:, 10:13] - target).abs().mean(-1).detach()
    hand = (output[:, :3] - encode(state)[:, :3]).abs().mean(-1).detach()
    hand = hand.nan_to_num(math.exp(LOG_SCALES[1]))
    log_scale = output[:, 13:15].clamp(*LOG_SCALES)
    unsure = miss * (-log_scale[:, 0]).exp() + log_scale[:, 0]
    unsure_hand = hand * (-log_scale[:, 1]).exp() + log_scale[:, 1]
    return ((off + 0.02 * unsure) * share).sum() + 0.02 * unsure_hand.mean()
