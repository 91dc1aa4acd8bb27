"""The world model switched off: a straight line to the hand pose that is read from a goal image.

Nothing is imagined and nothing is searched.  The next pose of the hand is known from the action, so
a readout of the goal image is all that this needs.  It is the baseline that tells how much of a
task can be done without a world model.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from planners.cem import CEM
from planners.config import CEMConfig, HierarchyConfig
from planners.grip import decided_grip, likeliest_grip
from planners.objective import pose_parts
from planners.perception import Perception, View
from planners.stages import EventStages
from planners.stall import Stall
from robot_data.loop import Decision
from robot_data.pose import diff
from worldmodel.device import to_host
from worldmodel.goal_conditioned import SubgoalPredictor

# A pose is reached within these, once the fingers have stopped.
POSITION_M, TURN_RAD, GRIP = 0.012, 0.12, 0.15
STILL = 0.02  # change of closedness in a step, below which fingers have stopped
TOUCHING = 0.05  # closedness above which fingers that stopped hold something
LEAST_STEPS, MOST_STEPS, LAST_STEPS = 2, 9, 12  # for an image: least, most, most for the last
STALL_STEPS = 3  # without coming nearer, before the next image
NEARER = 0.99  # share of the least distance so far that counts as nearer
ARM_M = 0.05  # length that a radian, or opening the gripper, counts as in that distance [m]

RANGE_M = 0.05  # distance to the goal at which the correction has faded to 1/e
# After calibration the readout's error is mostly noise, not bias, so subtracting a second reading
# adds that reading's noise (docs/lab-book.md, servo gain).
CALIBRATED_SHARE = 0.5


class ServoAgent:
    """Goes to the poses read from the goal images, one after the other; with ``subgoals`` to each
    by the stages of ``planners.stages``, as ``planners.hierarchy`` does."""

    def __init__(
        self, perception: Perception, cem: CEMConfig, subgoals: SubgoalPredictor | None = None,
        hierarchy: HierarchyConfig | None = None, last_only: bool = False,
    ) -> None:
        """Of ``cem`` the bounds of an action; last_only: of a sequence take only the last image.
        Raises ``ValueError`` without a readout."""
        if perception.readout is None:
            raise ValueError("policy=servo reads hand poses from goal images; it needs a readout")
        self.perception, self.last_only = perception, last_only
        self._bounds = CEM(cem)
        self.stages = None if subgoals is None else EventStages(
            perception, subgoals, hierarchy or HierarchyConfig(), LAST_STEPS
        )
        self._begin([], [])

    def _begin(self, tokens: list[Tensor], poses: list[Tensor]) -> None:
        self._tokens, self._poses = tokens, poses  # [N, D] of the goal images, [7] read from them
        self._index = 0
        self._steps = 0  # towards the present pose
        self._stall = Stall(NEARER)
        self._finished = False
        self._closedness: float | None = None  # measured, one step ago

    @torch.inference_mode()
    def reset(self, goals: Sequence[Any], seed: int) -> None:
        """Start an episode towards ``goals``, images uint8 [H, W, 3] in order; nothing is drawn
        from ``seed``.  Raises ``DataError`` for what is no image."""
        images = list(goals[-1:] if self.last_only else goals)
        fitted = self.perception.fit(images, [f"goal image {i}" for i in range(len(images))])
        tokens = self.perception.encode(fitted)
        states = self._read(tokens)
        states[:, 6] = likeliest_grip(to_host(states)).to(states.device)
        self._begin(list(tokens), list(states))
        if self.stages:
            self.stages.start()
            self.stages.reset(tokens[0])

    @torch.inference_mode()
    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """One control step: observation {"image": uint8 [H, W, 3], "state": [7]} -> decision with
        an action [7] (m, rad, closedness; robot base frame); it has no cost.

        Raises ``RuntimeError`` before ``reset`` and ``DataError`` for a bad observation.
        """
        began = time.monotonic()
        if not self._poses:
            raise RuntimeError("reset(goals, seed) must be called before act()")
        view = self.perception.view(observation)
        self._seen = self._read(view.tokens)[0]
        pose = self._staged(view) if self.stages else self._listed(view)
        self._closedness = view.closedness
        return Decision(
            action=self._action(view, pose).double().numpy(),
            seconds=time.monotonic() - began,
            goal_index=self._index,
            goal_state=to_host(pose).double().numpy(),
            finished=self._finished,
            subgoal=self.stages.stage.name if self.stages else "",
        )

    def _read(self, tokens: Tensor) -> Tensor:
        """Hand states [B, 7] from tokens [B, N, D] of images."""
        states = self.perception.read(tokens)
        assert states is not None
        return states

    # -- which pose ----------------------------------------------------------------------------

    def _listed(self, view: View) -> Tensor:
        """The pose of the goal image in force [7]."""
        pose = self._corrected(view)
        if self._steps and self._image_done(view, pose):
            if self._index == len(self._poses) - 1:
                self._finished = True
            else:
                self._index += 1
                self._steps = 0
                self._stall.start()
                pose = self._corrected(view)
        self._steps += 1
        return pose

    def _image_done(self, view: View, pose: Tensor) -> bool:
        position, angle, grip = self._off(view, pose)
        distance = position + ARM_M * (angle + grip)
        stalled = self._stall.see(distance) >= STALL_STEPS
        last = self._index == len(self._poses) - 1
        if self._steps >= (LAST_STEPS if last else MOST_STEPS):
            return True
        if self._steps < LEAST_STEPS:
            return False
        return self._reached(view, pose) or stalled

    def _staged(self, view: View) -> Tensor:
        """The pose of the stage in force [7]."""
        assert self.stages is not None
        self.stages.decide(view)
        pose = self._of_stage(view)
        if self.stages.steps and self._stage_done(view, pose):
            self.stages.go_on(view)
            if self.stages.finished and self._index < len(self._poses) - 1:
                self._index += 1
                self.stages.reset(self._tokens[self._index])
                self.stages.decide(view)
            pose = self._of_stage(view)
        self.stages.steps += 1
        self._finished = self.stages.finished
        return pose

    def _of_stage(self, view: View) -> Tensor:
        assert self.stages is not None
        pose = self.stages.stage.state
        return self._corrected(view) if pose is None else pose

    def _stage_done(self, view: View, pose: Tensor) -> bool:
        assert self.stages is not None
        stage, steps = self.stages.stage, self.stages.steps
        if steps >= stage.max_steps:
            return True
        if stage.state is None and steps < LEAST_STEPS:
            return False
        return self._reached(view, pose)

    # -- how far -------------------------------------------------------------------------------

    def _reached(self, view: View, pose: Tensor) -> bool:
        position, angle, grip = self._off(view, pose)
        return position <= POSITION_M and angle <= TURN_RAD and grip <= GRIP

    def _off(self, view: View, pose: Tensor) -> tuple[float, float, float]:
        """Distance [m], angle [rad] and closedness from the measured state to ``pose`` [7]; none
        of closedness where the fingers are stopped by what they hold."""
        parts = to_host(torch.cat([*pose_parts(view.state[None], pose), pose[6:]]))
        position, angle, grip, wanted = parts.tolist()
        measured, before = view.closedness, self._closedness
        still = before is not None and abs(measured - before) < STILL
        if wanted > measured > TOUCHING and still:
            grip = 0.0
        return position, angle, grip

    def _corrected(self, view: View) -> Tensor:
        """The pose read from the goal image in force [7], moved by the error of the pose read from
        the present image, the more the nearer the two are: near the goal the two images look alike,
        and the readout errs in both alike (image-based visual servoing)."""
        pose, seen = self._poses[self._index].clone(), self._seen[:3]
        share = 1.0 if self.perception.calibration is None else CALIBRATED_SHARE
        gap = (pose[:3] - seen).norm() / RANGE_M
        pose[:3] += share * (view.state[:3] - seen) * torch.exp(-gap.square())
        return pose

    def _action(self, view: View, pose: Tensor) -> Tensor:
        """The action [7] along the straight line to ``pose`` [7], as far as the bounds let."""
        state, goal = to_host(torch.stack([view.state, pose])).double().numpy()
        action = torch.from_numpy(diff(state, goal)).float()
        for part in (slice(0, 3), slice(3, 6)):  # shorter, not bent
            limit = self._bounds.limit[part].clamp(min=1e-9)
            action[part] /= max(1.0, (action[part].abs() / limit).max().item())
        action[6] = decided_grip(action[6], self._bounds.config.grip_threshold)
        return self._bounds.bounded(action)
