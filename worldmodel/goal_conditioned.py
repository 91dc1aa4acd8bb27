"""Networks that look at the present image and at a goal image together.

``SubgoalPredictor`` works on a second, slower timescale: that of gripper events.  From the
present frame and a goal frame it predicts which event comes next on the way to the goal (grasp,
release, or none) and the hand pose at that event.  ``InverseDynamics`` is the goal-conditioned
behaviour-cloning baseline: the next action.  Both are trained by hindsight on logged
trajectories: any later frame of an episode is a goal that was reached (Andrychowicz et al.
2017; Lynch et al. 2019).

Letters: B batch, N tokens, D encoder width, F features.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldmodel.config import GoalConditionedConfig
from worldmodel.readout import OUTPUTS, Readout, decode, encode

EVENTS = ("none", "grasp", "release")
MOVE_SCALE_M = 0.05
TURN_SCALE_RAD = 0.1


class GoalConditioned(nn.Module):
    """Features of two images and the measured state, joined by a small MLP."""

    outputs = 0

    def __init__(self, config: GoalConditionedConfig) -> None:
        super().__init__()
        self.config = config
        self.image = Readout(config.image)
        width = self.image.head.in_features
        self.image.head = nn.Linear(width, config.hidden)
        self.join = nn.Sequential(
            nn.Linear(2 * config.hidden + OUTPUTS, config.hidden), nn.GELU(),
            nn.Linear(config.hidden, config.hidden), nn.GELU(),
            nn.Linear(config.hidden, self.outputs),
        )

    def start_from(self, readout: Readout) -> None:
        """Take over the trunk of a trained readout of the same shape."""
        trained = {k: v for k, v in readout.state_dict().items() if not k.startswith("head.")}
        self.image.load_state_dict(trained, strict=False)

    def features(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, D] -> features [B, F]; once per image, whatever it is paired with."""
        return self.image(tokens)

    def forward(self, present: Tensor, goal: Tensor, state: Tensor) -> Tensor:
        """Features of present and goal [B, F], measured state [B, 7] -> outputs [B, K]."""
        return self.join(torch.cat([present, goal, state_features(state)], dim=-1))

    def loss(self, output: Tensor, *target: Any, **named: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of outputs [B, K] against targets of each network's own, and figures for the
        progress bar."""
        raise NotImplementedError


def state_features(state: Tensor) -> Tensor:
    """State [B, 7] -> scaled position, two columns of the rotation, closedness [B, 10]."""
    return torch.cat([encode(state), state[:, 6:]], dim=-1)


class SubgoalPredictor(GoalConditioned):
    """Next gripper event on the way to the goal image, and the hand pose there."""

    outputs = len(EVENTS) + OUTPUTS

    def predict(self, present: Tensor, goal: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities of ``EVENTS`` [B, 3] and hand poses [B, 7] (m, rad) at the event."""
        output = self(present, goal, state).float()
        return output[:, :3].softmax(-1), decode(output[:, 3:])

    def loss(self, output: Tensor, kind: Tensor, pose: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """output [B, K]; kind [B] index into ``EVENTS``, -1 to leave a pair out; pose [B, 7]."""
        output = output.float()
        classes = F.cross_entropy(output[:, :3], kind, ignore_index=-1)
        happens = kind > 0
        target = encode(pose)
        error = F.smooth_l1_loss(output[:, 3:12], target, beta=0.1, reduction="none")
        weight = happens[:, None] / happens.sum().clamp(min=1)
        place = (error[:, :3].mean(-1, keepdim=True) * weight).sum()
        turn = (error[:, 3:].mean(-1, keepdim=True) * weight).sum()
        judged = kind >= 0
        right = ((output[:, :3].argmax(-1) == kind) & judged).sum() / judged.sum()
        miss = (decode(output.detach()[:, 3:])[:, :3] - pose[:, :3]).norm(dim=-1)
        figures = {
            "accuracy": right, "event_mm": 1000 * miss.where(happens, torch.nan).nanmedian()
        }
        return 0.5 * classes + place + turn, figures


class InverseDynamics(GoalConditioned):
    """The next action towards a goal image: behaviour cloning in hindsight."""

    outputs = 7

    def action(self, present: Tensor, goal: Tensor, state: Tensor) -> Tensor:
        """Actions [B, 7] (m, rad, change of closedness) for measured states [B, 7]."""
        output = self(present, goal, state).float()
        grip = output[:, 6:].sigmoid() - state[:, 6:]
        return torch.cat(
            [output[:, :3] * MOVE_SCALE_M, output[:, 3:6] * TURN_SCALE_RAD, grip], dim=-1
        )

    def loss(self, output: Tensor, moved: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """output [B, 7]; moved [B, 7]: pose change, and closedness commanded after the step."""
        output = output.float()
        move = F.smooth_l1_loss(output[:, :3], moved[:, :3] / MOVE_SCALE_M, beta=0.1)
        turn = F.smooth_l1_loss(output[:, 3:6], moved[:, 3:6] / TURN_SCALE_RAD, beta=0.1)
        grip = F.binary_cross_entropy_with_logits(output[:, 6], moved[:, 6].clamp(0, 1))
        miss = (output.detach()[:, :3] * MOVE_SCALE_M - moved[:, :3]).norm(dim=-1).median()
        return move + 0.3 * turn + 0.5 * grip, {"move_mm": 1000 * miss}
