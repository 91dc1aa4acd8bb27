"""One place that makes an agent from settings."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from planners.agent import PlanningAgent
from planners.baselines import InverseDynamicsAgent, RandomAgent, StandStill
from planners.calibration import load_calibration
from planners.config import PolicyConfig
from planners.hierarchy import HierarchicalAgent
from planners.oracle import OracleAgent, Simulator
from robot_data.loop import Agent
from worldmodel import checkpoint


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
    where = Path(config.checkpoint or checkpoint.SHIPPED)
    encoder = checkpoint.load_encoder(where)
    predictor = checkpoint.load_predictor(where, encoder)
    eyes = Path(config.readout or where)
    uses = config.agent.objective.uses_pose and (eyes / "readout.safetensors").exists()
    readout = checkpoint.load_readout(eyes, encoder) if uses or config.readout else None
    parts: dict[str, Any] = {
        "encoder": encoder, "predictor": predictor, "readout": readout, "config": config.agent,
    }
    if config.policy == "inverse_dynamics":
        policy = checkpoint.load_inverse_dynamics(where, encoder)
        return InverseDynamicsAgent(**parts, policy=policy)
    if config.policy.startswith("simulator_"):
        if env is None:
            raise ValueError(f"policy={config.policy} plans with the simulator; it needs one")
        cost = "state" if config.policy == "simulator_state" else "embedding"
        return OracleAgent(env, cost, **parts)
    parts["calibration"] = load_calibration(config.calibration) if config.calibration else None
    if config.policy == "planner" and config.goal == "single" and readout is not None:
        if not (where / "subgoals.safetensors").exists():
            raise ValueError(
                f"{where} has no subgoal predictor, which a single goal image needs; train one "
                "(`worldmodel train parts=[subgoals]`) or plan without: policy=flat"
            )
        subgoals = checkpoint.load_subgoal_predictor(where, encoder)
        return HierarchicalAgent(**parts, subgoals=subgoals, hierarchy=config.hierarchy)
    return PlanningAgent(**parts)


def tell_budget(agent: Agent) -> None:
    """Print what search fits into the deadline, where there is one."""
    if isinstance(agent, PlanningAgent) and agent.config.cem.deadline_s is not None:
        print(f"plan: {agent.budget}")
