"""Environments and agents by name, from settings."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from planners.agent import Agent, AgentConfig, PlanningAgent
from planners.baselines import InverseDynamicsAgent, RandomAgent, StandStill
from planners.calibration import load_calibration
from planners.hierarchy import HierarchicalAgent, HierarchyConfig
from planners.simulator_model import SimulatorModelAgent
from sims.arm import Arm, ArmConfig
from sims.mujoco_arm import MujocoArm
from sims.tasks import TASKS
from worldmodel import checkpoint

Simulator = Literal["mujoco", "pybullet"]
Policy = Literal[
    "planner", "flat", "random", "stand_still", "inverse_dynamics", "simulator_embedding",
    "simulator_state",
]
Goal = Literal["subgoals", "single"]

MAX_STEPS = {"reach": 20, "grasp": 35, "reach_with_object": 25, "pick_and_place": 60}


@dataclass(frozen=True)
class PolicyConfig:
    """Which agent, from which weights.

    planner: CEM with the world model, with its own sub-goals when it is given a single goal
    image; flat: the same without its own sub-goals.  inverse_dynamics, random, stand_still: do
    not plan.  simulator_embedding, simulator_state: the same CEM with the simulator as the
    model, and the embedding cost or the true-state cost.  calibration: a file of ``worldmodel
    calibrate``; "self" (``evaluate`` only): made in each episode's own scene first.  readout:
    folder of a readout fine-tuned for another arm or camera, instead of the checkpoint's.
    """

    policy: Policy = "planner"
    goal: Goal = "subgoals"
    checkpoint: str | None = None
    calibration: str | None = None
    readout: str | None = None
    agent: AgentConfig = field(default_factory=AgentConfig)
    hierarchy: HierarchyConfig = field(default_factory=HierarchyConfig)


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


def arm_for(arm: ArmConfig, task: str) -> ArmConfig:
    if task not in TASKS:
        raise ValueError(f"unknown task '{task}'; valid tasks: {', '.join(TASKS)}")
    return replace(arm, task=replace(arm.task, name=task))  # pyright: ignore[reportArgumentType]


def make_env(simulator: Simulator, arm: ArmConfig) -> Arm:
    if simulator == "mujoco":
        return MujocoArm(arm)
    return import_module("sims.bullet_arm").BulletArm(arm)  # an optional extra


def make_agent(config: PolicyConfig, env: Arm | None = None) -> Agent:
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
        return SimulatorModelAgent(env, cost, **parts)
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
