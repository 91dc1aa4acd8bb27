"""The losses of action-conditioned post-training: V-JEPA 2-AC's two (Assran et al. 2025, section
3.1), and the recovery of what an action did from the latents imagined after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from worldmodel.encoder import normalise_tokens
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout, object_loss, object_place, readout_loss


class Window(NamedTuple):
    """A batch of windows: tokens [B, T, N, D] of the real frames, normalised; actions
    [B, >= T-1, 7]; states [B, T, 7]; and, for the recovery loss, the commanded closedness [B, T]
    and the place of the object [B, T, 3] (base frame, m, NaN where not known)."""

    tokens: Tensor
    actions: Tensor
    states: Tensor
    commanded: Tensor | None = None
    objects: Tensor | None = None


def post_training_losses(
    predictor: Predictor, tokens: Tensor, actions: Tensor, states: Tensor,
    extrinsics: Tensor | None = None, rollout_steps: int = 2,
) -> tuple[Tensor, Tensor]:
    """Teacher-forcing and rollout loss, each a mean absolute error.

    tokens [B, T, N, D] of the real frames, normalised; actions [B, >= T-1, 7];
    states [B, T, 7].  The rollout starts from the first frame; its states are the recorded
    ones, as in the released training code.
    """
    check_rollout(tokens, rollout_steps)
    seen_from = None if extrinsics is None else extrinsics[:, : tokens.shape[1] - 1]
    steps = tokens.shape[1] - 1
    forced = normalise_tokens(
        predictor(tokens[:, :-1], actions[:, :steps], states[:, :steps], seen_from)
    )
    teacher_forcing = (forced - tokens[:, 1:]).abs().mean()
    rolled = unroll(predictor, tokens[:, 0], actions, states, extrinsics, rollout_steps)
    return teacher_forcing, (rolled - tokens[:, 1 : rollout_steps + 1]).abs().mean()


def check_rollout(tokens: Tensor, steps: int) -> None:
    """Raise ``ValueError`` where windows tokens [B, T, N, D] are too short for a rollout."""
    most = tokens.shape[1] - 1
    if not 1 <= steps <= most:
        raise ValueError(f"rollout_steps {steps} must be 1 to {most} for this window")


def unroll(
    predictor: Predictor, first: Tensor, actions: Tensor, states: Tensor,
    extrinsics: Tensor | None, steps: int,
) -> Tensor:
    """Imagine ``steps`` frames from tokens ``first`` [B, N, D], each from the ones before it:
    tokens [B, steps, N, D], normalised.  actions, states [B, >= steps, 7], extrinsics
    [B, >= steps, 6].  Every frame is computed once, and gradients flow through all of them."""
    tokens, past, imagined = first, [], []
    for t in range(steps):
        seen_from = None if extrinsics is None else extrinsics[:, t]
        tokens, past = predictor.extend(
            tokens, actions[:, t], states[:, t], seen_from, past, t
        )
        tokens = normalise_tokens(tokens)
        imagined.append(tokens)
    return torch.stack(imagined, dim=1)


class PostTraining(nn.Module):
    """A predictor with its losses: what runs in parallel is their forward pass.

    ``readouts``, frozen, trained on real frames, must read from every imagined frame the state that
    was commanded there, and where the object was: *action recovery*, after the inverse-dynamics
    regularisation of world models (Pathak et al. 2017, section 2.2; AD-WM, 2609.30264), with
    readouts of states in the place of an inverse model, since logged states say what the action
    did.  Several, trained from different initial weights, leave fewer directions in which imagined
    frames satisfy the readout and no other reader; their losses are averaged.  Where nobody knows
    the object's place, such as after a grasp that missed, it is what the first of them reads from
    the real frame: gripper events alone show only grasps that held.
    """

    def __init__(
        self, predictor: Predictor, rollout_steps: int = 2, readouts: Sequence[Readout] = (),
        recovery_weight: float = 0.0, object_weight: float = 0.0, teacher_forcing: bool = True,
    ) -> None:
        super().__init__()
        self.predictor, self.rollout_steps = predictor, rollout_steps
        self.readouts = nn.ModuleList(readout.requires_grad_(False) for readout in readouts)
        self.recovery_weight, self.object_weight = recovery_weight, object_weight
        self.teacher_forcing = teacher_forcing
        if not predictor.config.use_extrinsics:  # there for the layout of the weights only
            predictor.extrinsics_encoder.requires_grad_(False)

    def forward(
        self, tokens: Tensor, actions: Tensor, states: Tensor, commanded: Tensor | None = None,
        objects: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A ``Window`` -> the loss, and its parts by name.  Raises ``ValueError`` for a window that
        is shorter than the roll-out."""
        check_rollout(tokens, self.rollout_steps)
        figures: dict[str, Tensor] = {}
        loss = tokens.new_zeros(())
        if self.teacher_forcing:
            past = slice(0, tokens.shape[1] - 1)
            forced = normalise_tokens(
                self.predictor(tokens[:, past], actions[:, past], states[:, past])
            )
            figures["teacher_forcing"] = (forced - tokens[:, 1:]).abs().mean()
            loss = figures["teacher_forcing"]
        rolled = unroll(
            self.predictor, tokens[:, 0], actions, states, None, self.rollout_steps
        )
        future = slice(1, self.rollout_steps + 1)
        figures["rollout"] = (rolled - tokens[:, future]).abs().mean()
        loss = loss + figures["rollout"]
        if self.readouts:
            if commanded is None or objects is None:
                raise ValueError(
                    "the recovery loss needs what the gripper was told [B, T] and where the object "
                    "is [B, T, 3]; give windows with both, or recovery_weight 0"
                )
            told = torch.cat([states[:, future, :6], commanded[:, future, None]], dim=-1)
            told = told.flatten(0, 1)
            outputs = [readout(rolled.flatten(0, 1)).float() for readout in self.readouts]
            figures["recovery"] = torch.stack([readout_loss(o, told) for o in outputs]).mean()
            loss = loss + self.recovery_weight * figures["recovery"]
            if self.object_weight:
                place = objects[:, future].flatten(0, 1)
                with torch.no_grad():
                    read = object_place(self.readouts[0](tokens[:, future].flatten(0, 1)).float())
                place = torch.where(place.isnan(), read.to(place.dtype), place)
                figures["object"] = torch.stack(
                    [object_loss(o, told, place) for o in outputs]
                ).mean()
                loss = loss + self.object_weight * figures["object"]
        return loss, {name: value.detach() for name, value in figures.items()}
