"""Attentive readout of the robot state from the frozen tokens of one image.

Trained on logged states (every robot recording has them; no object labels), it reads from a
goal image where the end effector is and what the gripper is told to do.

Letters: B batch, N tokens, D encoder width, Q queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.pose import euler_to_matrix, matrix_to_euler


@dataclass(frozen=True)
class ReadoutConfig:
    embed_dim: int = 192
    tokens: int = 64
    dim: int = 256
    depth: int = 2
    num_heads: int = 8
    queries: int = 8


OUTPUTS = 10  # xyz / POSITION_SCALE, two columns of the rotation matrix, closedness logit
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
        self.head = nn.Linear(config.queries * config.dim, OUTPUTS)
        nn.init.trunc_normal_(self.position, std=0.02)
        nn.init.trunc_normal_(self.queries, std=0.5)

    def features(self, tokens: Tensor) -> Tensor:
        """What the last layer reads: [B, queries * dim]."""
        x = self.embed(tokens) + self.position
        for layer in self.layers:
            x = layer(x)
        queries = self.queries.expand(len(x), -1, -1)
        pooled = self.pool(queries, x, x, need_weights=False)[0]  # [B, Q, dim]
        return self.norm(pooled.flatten(1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Raw outputs [B, OUTPUTS]."""
        return self.head(self.features(tokens))

    def state(self, tokens: Tensor) -> Tensor:
        """Commanded state [B, 7] in m, rad and closedness."""
        return decode(self(tokens).float())


def decode(output: Tensor) -> Tensor:
    """Raw outputs [B, OUTPUTS] -> pose vectors [B, 7]."""
    xyz = output[:, :3] * POSITION_SCALE_M + output.new_tensor(POSITION_CENTRE_M)
    a = F.normalize(output[:, 3:6], dim=-1)
    b = F.normalize(output[:, 6:9] - (a * output[:, 6:9]).sum(-1, keepdim=True) * a, dim=-1)
    matrix = torch.stack([a, b, torch.linalg.cross(a, b)], dim=-1)
    return torch.cat([xyz, matrix_to_euler(matrix), output[:, 9:].sigmoid()], dim=-1)


def readout_loss(output: Tensor, state: Tensor) -> Tensor:
    """Loss of raw outputs [B, OUTPUTS] against commanded states [B, 7]."""
    xyz = (state[:, :3] - state.new_tensor(POSITION_CENTRE_M)) / POSITION_SCALE_M
    columns = euler_to_matrix(state[:, 3:6])[..., :2].mT.flatten(1)  # [B, 6]
    place = F.smooth_l1_loss(output[:, :3], xyz, beta=0.1)
    turn = F.smooth_l1_loss(output[:, 3:9], columns, beta=0.1)
    grip = F.binary_cross_entropy_with_logits(output[:, 9], state[:, 6].clamp(0, 1))
    return place + turn + 0.2 * grip
