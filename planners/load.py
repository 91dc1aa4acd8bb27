"""One place that makes an agent from settings."""

from __future__ import annotations

from dataclasses import fields

from planners.ablation import BlindAgent, shuffled, untrained
from planners.agent import PlanningAgent
from planners.baselines import InverseDynamicsAgent, RandomAgent, StandStill
from planners.calibration import Calibration, load_calibration
from planners.config import SERVO, WORLD_MODEL, AgentConfig, PolicyConfig
from planners.goals import GoalImages
from planners.hierarchy import HierarchicalAgent
from planners.lewm import lewm_parts
from planners.memory import WORTH_TELLING, decision_seconds, require_memory
from planners.oracle import SimulatedImages, SimulatedStates, Simulator, TrueGoals
from planners.own_cost import OwnCost, OwnGoals
from planners.perception import Perception
from planners.released import released_agent, released_parts
from planners.search import ImaginedOutcomes, Search, imagination_of
from planners.servo import ServoAgent
from robot_data.loop import Agent
from worldmodel import models
from worldmodel.encoder import Encoder
from worldmodel.models import MissingPart, Models
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout

OTHERWISE = {  # what goes without a part
    "readout": "plan by the distance of tokens: agent.objective.distance=l1",
    "subgoals": "plan without sub-goals of its own: policy=flat",
}


def policy_of(settings: PolicyConfig) -> PolicyConfig:
    """Only the policy of settings that hold more."""
    return PolicyConfig(**{f.name: getattr(settings, f.name) for f in fields(PolicyConfig)})


def parts_of(config: PolicyConfig) -> list[str]:
    """The weights a policy uses."""
    if config.policy in ("random", "stand_still"):
        return []
    if config.lewm:
        return [models.LEWM]
    parts = ["encoder", "readout"] if config.reads else ["encoder"]
    if config.policy in WORLD_MODEL:
        parts.append("predictor")
    if config.policy == "inverse_dynamics":
        parts.append("inverse_dynamics")
    if config.sets_subgoals:
        parts.append("subgoals")
    return parts


def make_agent(config: PolicyConfig, env: Simulator | None = None) -> Agent:
    """The agent of ``config.policy``; ``env`` is needed by those that plan with the simulator.

    Raises ``worldmodel.models.MissingPart`` where the checkpoint lacks weights,
    ``planners.calibration.CalibrationError`` for a calibration file that is none or another
    encoder's, and ``ValueError`` for settings that do not go together.
    """
    agent = _sighted_agent(config, env)
    return BlindAgent(agent) if config.blind else agent


def _sighted_agent(config: PolicyConfig, env: Simulator | None) -> Agent:
    if config.policy == "random":
        return RandomAgent(config.agent.cem)
    if config.policy == "stand_still":
        return StandStill()
    agent, loaded = config.agent, load_models(config)
    if config.lewm:
        return PlanningAgent(*lewm_parts(loaded.lewm, agent, config.predictor))
    encoder, readout = loaded.encoder, loaded.readout if loaded.has("readout") else None
    if config.policy == "inverse_dynamics":
        perception = Perception(encoder, readout, bf16=agent.bf16)
        goals = GoalImages(perception, agent)
        return InverseDynamicsAgent(perception, goals, loaded.inverse_dynamics, agent.cem)
    if config.policy.startswith("simulator_"):
        if env is None:
            raise ValueError(f"policy={config.policy} plans with the simulator; it needs one")
        perception = Perception(encoder, readout, bf16=agent.bf16)
        if config.policy == "simulator_state":
            true = TrueGoals(env, agent)
            return PlanningAgent(perception, true, Search(SimulatedStates(env, true), agent))
        goals = GoalImages(perception, agent)
        return PlanningAgent(perception, goals, Search(SimulatedImages(env, perception), agent))
    calibration = None
    if config.calibration:
        calibration = load_calibration(config.calibration, loaded.encoder_hash)
    alone = config.goal == "single"
    if config.policy in SERVO:
        perception = Perception(encoder, readout, calibration, agent.bf16)
        subgoals = loaded.subgoals if config.sets_subgoals else None
        return ServoAgent(perception, agent.cem, subgoals, config.hierarchy, alone)
    predictor = loaded.predictor
    if config.predictor == "random":
        predictor = untrained(predictor)
    if config.policy == "released":
        parts = released_parts(encoder, predictor, config.released, agent.memory_mb)
    else:
        parts = planning_parts(encoder, predictor, readout, agent, calibration)
    if config.predictor == "shuffled":
        outcomes = parts[2].outcomes
        assert isinstance(outcomes, ImaginedOutcomes)
        parts[2].outcomes = shuffled(outcomes)
    if config.sets_subgoals:
        return HierarchicalAgent(*parts, loaded.subgoals, config.hierarchy, alone)
    return PlanningAgent(*parts)


def planning_parts(
    encoder: Encoder, predictor: Predictor, readout: Readout | None, config: AgentConfig,
    calibration: Calibration | None = None, cost: OwnCost | None = None,
) -> tuple[Perception, GoalImages, Search]:
    """The parts of an agent that plans with the world model towards goal images, by the cost of
    ``config.objective`` or an own ``cost`` (``planners.own_cost``).  What search fits into the
    deadline, if there is one, is measured now.

    Raises ``ValueError`` if the objective has an embedding and there is no readout that gives it,
    and where planning needs more memory than is free.
    """
    require_memory(encoder, predictor, config)
    embeds = cost is None and config.objective.distance == "embedding"
    perception = Perception(encoder, readout, calibration, config.bf16, embeds)
    imagination = imagination_of(predictor, config)
    goals = GoalImages(perception, config) if cost is None else OwnGoals(perception, config, cost)
    search = Search(ImaginedOutcomes(imagination, perception, config.cem), config)
    if config.cem.deadline_s is not None:
        search.fit(perception, lambda tokens: goals.towards(goals.goal(tokens, None)))
    return perception, goals, search


def load_models(config: PolicyConfig) -> Models:
    """The weights that ``config`` plans with.  What large ones need is printed.

    Raises MissingPart, saying what goes without, and ValueError where planning with them needs
    more memory than is free; a mapped file is not read before.
    """
    try:
        loaded = Models.load(config.checkpoint, parts_of(config), config.device, config.readout)
    except MissingPart as missing:
        raise MissingPart(
            missing.source, missing.part, missing.has, OTHERWISE.get(missing.part, "")
        ) from None
    if config.policy in WORLD_MODEL and not config.lewm:
        agent, published = config.agent, config.policy == "released"
        if published:
            agent = released_agent(config.released, agent.memory_mb)
        searched = loaded.encoder, loaded.predictor, agent, published
        need = require_memory(*searched)
        if need.bytes > WORTH_TELLING:
            seconds = decision_seconds(*searched)
            print(f"planning with {config.checkpoint} takes {need}; a decision takes at least "
                  f"{seconds:.0f} s here")
    return loaded


def image_size(config: PolicyConfig) -> int | None:
    """Side [pixels] of the images that the policy takes; None where it looks at none."""
    parts = parts_of(config)
    return models.image_size(config.checkpoint, parts[0]) if parts else None


def tell_budget(agent: Agent) -> None:
    """Print what search fits into the deadline, where there is one."""
    agent = agent.agent if isinstance(agent, BlindAgent) else agent
    if not isinstance(agent, PlanningAgent | HierarchicalAgent):
        return
    if agent.search.config.cem.deadline_s is not None:
        print(f"plan: {agent.search.budget}")
