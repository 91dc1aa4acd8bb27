"""The planner in Python: a model, a search, a cost; goal images in, actions out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arm_worldmodel.imagining import Painter, StepPainter
from arm_worldmodel.model import Model
from configs.keywords import places_of, with_keywords
from configs.settings import refuse_idle
from planners.agent import PlanningAgent
from planners.calibration import Calibration, load_calibration
from planners.config import (
    AgentConfig,
    CEMConfig,
    EmbeddingConfig,
    HierarchyConfig,
    ObjectiveConfig,
    PolicyConfig,
    ReleasedConfig,
)
from planners.hierarchy import HierarchicalAgent
from planners.load import planning_parts
from planners.own_cost import OwnCost
from planners.released import released_parts
from robot_data.loop import Decision, Step
from robot_data.pictures import read_picture
from worldmodel.models import MissingPart

Goal = Literal["auto", "subgoals", "single"]
UNUSED = {f.name for f in (*fields(ObjectiveConfig), *fields(EmbeddingConfig))}


class Agent:
    """Plans with ``model`` towards goal images: in every control step the search imagines what
    many action sequences lead to, and the first action of the cheapest is taken (V-JEPA 2-AC,
    Assran et al. 2025, section 3.2).
    """

    def __init__(
        self, model: Model, planner: CEMConfig | ReleasedConfig | None = None,
        cost: OwnCost | None = None, goal: Goal = "auto",
        calibration: Calibration | str | os.PathLike[str] | None = None, **settings: Any,
    ) -> None:
        """planner: search effort and bounds, ``awm.CEM(samples=200)``; ``awm.ReleasedCEM()`` plans
        as published with V-JEPA 2-AC (``planners.released``), and of all else here takes
        ``memory_mb`` alone.

        cost: ``cost(tokens [S, N, D], states [S, 7], goal) -> [S]`` for imagined tokens
        (normalised, float32) and hand states (robot base frame: m, rad, closedness);
        ``goal.tokens`` [N, D] are the goal image's and ``goal.state`` [7] is read from it, None
        without a readout.  It is given some of the samples at a time, so each one's cost must
        depend on it alone.  ``awm.token_distance`` is V-JEPA 2-AC's.  None: the distance in an
        embedding of the tokens (``planners.config.ObjectiveConfig``), which needs a readout.

        goal: "subgoals" takes goal images one after the other; "single" takes the last alone and
        sets sub-goals of its own, which needs the part ``subgoals``; "auto" is "single" where one
        image is given and the model can, else "subgoals".

        calibration: of the camera, or a file of ``worldmodel calibrate``.  settings: fields of
        ``planners.config.AgentConfig`` and of what is in it, by name (``memory_mb=2000``).

        Raises ``MissingPart`` for weights that are needed and not there, and ``ValueError`` for
        settings that do not exist, do not fit or have no effect.
        """
        self.model, self.cost, self.goal = model, cost, goal
        if goal not in ("auto", "subgoals", "single"):
            raise ValueError(f"unknown goal '{goal}'; valid: auto, subgoals, single")
        self.planner = planner or CEMConfig()
        self._alone: HierarchicalAgent | None = None
        self._painter: StepPainter | None = None
        if isinstance(self.planner, ReleasedConfig):
            self._check_released(settings, calibration)
            nets = model.models.encoder, model.models.predictor
            made = released_parts(*nets, self.planner, settings.get("memory_mb"))
            self.config = made[2].config
            self._images = self._agent = PlanningAgent(*made)
            return
        self.config = config = with_keywords(AgentConfig(cem=self.planner), settings)
        embeds = config.objective.distance == "embedding" and cost is None
        parts = model.models
        if embeds and not parts.has("readout"):
            raise MissingPart(
                parts.source, "readout", parts.parts,
                "plan by the distance of tokens: awm.Agent(model, distance='l1')",
            )
        if cost is not None:
            self._check_own_cost(settings)
        self._check_settings(settings, embeds)
        if calibration is not None and not isinstance(calibration, Calibration):
            calibration = load_calibration(os.fspath(calibration), parts.encoder_hash)
        readout = parts.readout if parts.has("readout") else None
        made = planning_parts(parts.encoder, parts.predictor, readout, config, calibration, cost)
        self._images = PlanningAgent(*made)
        if goal != "subgoals" and embeds and (goal == "single" or parts.has("subgoals")):
            self._alone = HierarchicalAgent(
                *made, parts.subgoals, HierarchyConfig(), last_only=True
            )
        elif goal == "single":
            raise ValueError(
                "goal='single' sets sub-goals in the embedding; leave distance='embedding'"
            )
        self._agent: PlanningAgent | HierarchicalAgent = self._images

    def _check_released(self, settings: Mapping[str, Any], calibration: Any) -> None:
        idle = {*settings} - {"memory_mb"}
        idle |= {"cost"} if self.cost is not None else set()
        idle |= {"calibration"} if calibration is not None else set()
        if idle:
            raise ValueError(f"{', '.join(sorted(idle))}: no effect with planner=ReleasedCEM()")
        if self.goal == "single":
            raise ValueError("goal='single' sets sub-goals; ReleasedCEM() plans towards images")

    def _check_own_cost(self, settings: Mapping[str, Any]) -> None:
        idle = UNUSED & settings.keys()
        if idle:
            raise ValueError(f"{', '.join(sorted(idle))}: no effect with a cost of your own")
        if self.goal == "single":
            raise ValueError("goal='single' sets sub-goals in the embedding; leave out cost")

    def _check_settings(self, settings: Mapping[str, Any], embeds: bool) -> None:
        """Raises ``ValueError`` for what was given and has no effect beside the rest."""
        config = self.config
        if not embeds:
            config = replace(config, objective=ObjectiveConfig("l1"))
        usual = CEMConfig()
        places = places_of(config)
        given = [".".join(("agent", *places[name], name)) for name in settings]
        given += [
            f"agent.cem.{f.name}" for f in fields(config.cem)
            if getattr(config.cem, f.name) != getattr(usual, f.name)
        ]
        goal = "single" if self.goal == "single" else "subgoals"
        refuse_idle(PolicyConfig(goal=goal, agent=config), given)

    def reset(self, goals: Any, seed: int = 0) -> None:
        """Start an episode towards ``goals``: images in order, or one image, each a PIL image, an
        array uint8 [h, w, 3] of any size, or the name of a PNG or JPEG file; ``seed`` draws the
        samples.

        Raises ``DataError`` for what is no image.
        """
        if isinstance(goals, Image.Image | str | os.PathLike) or (
            isinstance(goals, np.ndarray) and goals.ndim in (2, 3)
        ):
            goals = [goals]
        images: Sequence[Any] = [
            read_picture(Path(goal)) if isinstance(goal, str | os.PathLike) else goal
            for goal in goals
        ]
        alone = self._alone is not None and (self.goal == "single" or len(images) == 1)
        self._agent = self._alone if alone and self._alone is not None else self._images
        self._agent.reset(images, seed)

    def act(self, observation: Mapping[str, Any]) -> Decision:
        """One control step: {"image": a picture as for ``reset``, "state": 7 numbers} -> decision
        with ``action`` [7] (m, rad, closedness; robot base frame), ``cost``, ``candidates``.

        Raises ``RuntimeError`` before ``reset`` and ``DataError`` for a bad observation.
        """
        return self._agent.act(dict(observation))

    def pictures(self, step: Step) -> dict[str, NDArray[np.uint8]]:
        """Pictures uint8 [side, side, 3] of what was imagined one step ahead: ``chosen``, after the
        action that was taken; ``rejected``, after the dearest that was tried.  For the film of a
        run: ``awm.run(env, agent, imagine=agent.pictures)``.

        Raises ``MissingPart`` where the model has no decoder.
        """
        if self._painter is None:
            models = self.model.models
            self._painter = StepPainter(
                self._images.perception, Painter(models.predictor, models.decoder)
            )
        return self._painter(step)

    def __repr__(self) -> str:
        cost = "" if self.cost is None else f", cost={getattr(self.cost, '__name__', self.cost)}"
        return f"Agent({self.model!r}, planner={self.planner}{cost}, goal={self.goal!r})"
