"""A LeWorldModel at work in a ``World`` of stable-worldmodel, in whatever it was trained for.

Nothing of that package is imported: a ``World`` takes any object with ``set_env`` and
``get_action`` (galilai-group/stable-worldmodel 0.1.1, ``policy.BasePolicy``).

Letters: E environments, S samples, T horizon, A numbers of an action, K of an action block, D of a
latent.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from planners.cem import CEM
from planners.config import CEMConfig
from planners.lewm import LatentPerception
from worldmodel.device import copied, to_host
from worldmodel.lewm import LeWorldModel

# The search that is published with LeWorldModel (Maes et al. 2026, 2603.19312, section 3.3)
PUBLISHED = CEMConfig(
    samples=300, iterations=30, elites=30, horizon=5, refit="elites", momentum_mean=0.0,
    momentum_std=0.0,
)


class WorldPolicy:
    """Model-predictive control in latents, for ``World.set_policy``.

    In every environment the search looks for the action blocks whose imagined last latent is
    nearest to that of the picture ``goal`` (``LeWorldModel.apart``), within the environment's own
    bounds; ``replan`` blocks are carried out, then it searches anew.
    """

    type = "world_model"

    def __init__(
        self, model: LeWorldModel, cem: CEMConfig = PUBLISHED, replan: int = 1, seed: int = 0
    ) -> None:
        """cem: its horizon counts action blocks, and its bounds, which are those of the arm, have
        no effect.  Raises ``ValueError`` where more blocks are to be carried out than planned."""
        if not 1 <= replan <= cem.horizon:
            raise ValueError(f"replan={replan} must be 1 to the horizon, {cem.horizon} blocks")
        self.model = copied(model, torch.float32)
        self.perception = LatentPerception(self.model)
        # What is left of a plan begins the next one where one block of it was carried out.
        self.config = replace(cem, warm_start=cem.warm_start and replan == 1)
        self.replan, self.seed = replan, seed
        self.env: Any = None
        self.plan_seconds: list[float] = []  # of every plan so far

    def set_env(self, env: Any) -> None:
        """Take the actions of ``env``, an ``EnvPool`` of a World.  Raises ``ValueError`` for
        actions without bounds, and of another size than the model's."""
        space, size = env.single_action_space, self.model.config.action_size
        if not isinstance(space, gymnasium.spaces.Box) or not space.is_bounded():
            raise ValueError(f"actions are {space}; this planner searches a Box with bounds")
        if space.shape != (size,):
            raise ValueError(
                f"actions of this environment have the shape {space.shape}, and the LeWorldModel "
                f"was trained on actions of {size} numbers: train one on its recordings"
            )
        self.env, self._dtype = env, space.dtype
        low, high = (torch.from_numpy(np.asarray(x, np.float32)) for x in (space.low, space.high))
        skip = self.model.config.frame_skip
        self._centre, self._half = ((high + low) / 2).repeat(skip), ((high - low) / 2).repeat(skip)
        self.set_seed(self.seed)

    def set_seed(self, seed: int) -> None:
        """Draw the samples from ``seed`` from now on, and forget all plans."""
        self.seed = seed
        if self.env is None:
            return
        units = [1.0] * self.model.config.block_size
        self._searches = [
            CEM(self.config, 1_000_003 * seed + i, units) for i in range(self.env.num_envs)
        ]
        self._planned: list[deque[NDArray[Any]]] = [deque() for _ in self._searches]

    def get_action(self, infos: dict[str, Any], **_: Any) -> NDArray[Any]:
        """Actions [E, A] for a World's ``infos``: pictures ``pixels`` and ``goal``, uint8
        [E, 1, H, W, 3].  An environment that has ended gets zeros.

        Raises ``RuntimeError`` before ``set_env``, ``ValueError`` where there is no goal, and
        ``DataError`` for what is no picture.
        """
        if self.env is None:
            raise RuntimeError("no environment yet: World.set_policy(policy) comes first")
        for key in ("pixels", "goal"):
            if key not in infos:
                raise ValueError(
                    f"the World's infos have no '{key}'; make it with pictures, and give goals by "
                    "its data set or by an environment whose reset tells one"
                )
        fresh = infos.pop("_needs_flush", None)  # left in the World's own infos it would stay
        ended = np.asarray(infos.get("terminated", np.zeros(self.env.num_envs))).reshape(-1)
        actions = np.zeros((self.env.num_envs, self.model.config.action_size), self._dtype)
        for i, planned in enumerate(self._planned):
            if fresh is not None and fresh[i]:
                planned.clear()
                self._searches[i].forget()
            if ended[i]:
                continue
            if not planned:
                planned.extend(self._plan(i, infos["pixels"][i, -1], infos["goal"][i, -1]))
            actions[i] = planned.popleft()
        return actions

    @torch.inference_mode()
    def _plan(self, index: int, image: Any, goal: Any) -> NDArray[np.float32]:
        """The next actions [replan * frame_skip, A] of an environment."""
        began = time.perf_counter()
        seen = self.perception.fit([image, goal], ["pixels", "goal"])
        latent, wanted = self.model.encode(seen)  # [D]
        solved = self.config.refit == "least_squares"

        def cost(units: Tensor) -> Tensor:  # [S, T, K] -> [S, D] or [S]
            blocks = (self._centre + self._half * units).to(latent.device)
            imagined = self.model.imagine(latent.expand(len(units), 1, -1), blocks)
            apart = to_host(self.model.apart(imagined[:, -1], wanted).float())
            return apart if solved else apart.norm(dim=-1)

        plan = self._searches[index].plan(cost).actions[: self.replan]
        self.plan_seconds.append(time.perf_counter() - began)
        blocks = self._centre + self._half * plan
        return blocks.reshape(-1, self.model.config.action_size).numpy()
