"""One place that makes an agent from settings."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from planners.agent import PlanningAgent
from planners.baselines import InverseDynamicsAgent, RandomAgent, StandStill
from planners.calibration import load_calibration
from planners.config import PolicyConfig
from planners.hierarchy import HierarchicalAgent
from planners.oracle import OracleAgent, Simulator
from robot_data.loop import Agent
from worldmodel import models
from worldmodel.models import MissingPart, Models

OTHERWISE = {  # what goes without a part
    "readout": "plan by tokens alone: agent.objective.position_weight=0 "
    "agent.objective.rotation_weight=0 agent.objective.grip_weight=0",
    "subgoals": "plan without sub-goals of its own: policy=flat",
}


def policy_of(settings: PolicyConfig) -> PolicyConfig:
    """Only the policy of settings that hold more."""
    return PolicyConfig(**{f.name: getattr(settings, f.name) for f in fields(PolicyConfig)})


def parts_of(config: PolicyConfig) -> list[str]:
    """The weights a policy uses."""
    if config.policy in ("random", "stand_still"):
        return []
    parts = ["encoder", "predictor", "readout"]
    if config.policy == "inverse_dynamics":
        parts.append("inverse_dynamics")
    if config.policy == "planner" and config.goal == "single":
        parts.append("subgoals")
    return parts


def make_agent(config: PolicyConfig, env: Simulator | None = None) -> Agent:
    """``env`` is needed by the agents that use the simulator as their model."""
    if config.policy == "random":
        return RandomAgent(config.agent.cem)
    if config.policy == "stand_still":
        return StandStill()
    loaded = load_models(config)
    parts: dict[str, Any] = {
        "encoder": loaded.encoder, "predictor": loaded.predictor,
        "readout": loaded.readout if loaded.has("readout") else None, "config": config.agent,
    }
    if config.policy == "inverse_dynamics":
        return InverseDynamicsAgent(**parts, policy=loaded.inverse_dynamics)
    if config.policy.startswith("simulator_"):
        if env is None:
            raise ValueError(f"policy={config.policy} plans with the simulator; it needs one")
        cost = "state" if config.policy == "simulator_state" else "embedding"
        return OracleAgent(env, cost, **parts)
    parts["calibration"] = load_calibration(config.calibration) if config.calibration else None
    if loaded.has("subgoals"):
        return HierarchicalAgent(**parts, subgoals=loaded.subgoals, hierarchy=config.hierarchy)
    return PlanningAgent(**parts)


def load_models(config: PolicyConfig) -> Models:
    """The weights that ``config`` plans with; raises MissingPart, saying what goes without."""
    poses = config.agent.objective.uses_pose or config.readout is not None
    needed = [p for p in parts_of(config) if poses or p not in ("readout", "subgoals")]
    try:
        return Models.load(config.checkpoint, needed, "cpu", config.readout)
    except MissingPart as missing:
        raise MissingPart(
            missing.source, missing.part, missing.has, OTHERWISE.get(missing.part, "")
        ) from None


def image_size(config: PolicyConfig) -> int | None:
    """Side [pixels] of the images that the policy takes; None where it looks at none."""
    return models.image_size(config.checkpoint) if parts_of(config) else None


def tell_budget(agent: Agent) -> None:
    """Print what search fits into the deadline, where there is one."""
    if isinstance(agent, PlanningAgent) and agent.config.cem.deadline_s is not None:
        print(f"plan: {agent.budget}")
