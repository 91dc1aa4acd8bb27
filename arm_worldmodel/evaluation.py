"""Many episodes of many cells, in parallel processes here or on a Ray cluster, resumable.

A cell is one row of a table: everything that decides an episode besides its seeds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arm_worldmodel.imagining import step_painter
from arm_worldmodel.outcomes import Outcome
from arm_worldmodel.pictures.failures import FailureKeeper, file_name, room_for
from arm_worldmodel.report import code_version, wilson_95
from arm_worldmodel.self_calibration import MOVES, calibrate
from planners.ablation import BlindAgent
from planners.agent import PlanningAgent
from planners.calibration import Calibration, CalibrationError
from planners.config import PolicyConfig
from planners.hierarchy import HierarchicalAgent
from planners.load import image_size, make_agent
from planners.search import ImaginedOutcomes
from planners.servo import ServoAgent
from robot_data.episodes import EpisodeStore
from robot_data.loop import Agent, StepPictures, Subscriber, run_episode
from robot_data.random_moves import STEP_M
from robot_data.recording import EpisodeWriter
from sims.arm import Arm
from sims.config import ArmConfig
from sims.make import Simulator, arm_for, make_env
from sims.parallel import Pool, run_parallel
from sims.tasks import max_steps

COVERED = 0.8  # of the episodes are acted in, by an agent that abstains where it is least sure


@dataclass(frozen=True)
class Cell:
    """Task, environment, policy and number of episodes of one row."""

    name: str
    task: str
    simulator: Simulator = "mujoco"
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    arm: ArmConfig = field(default_factory=ArmConfig)
    episodes: int = 100
    max_steps: int | None = None
    group: str = ""


@dataclass(frozen=True)
class Job:
    """One episode of a row."""

    cell: Cell
    seed: int
    planner_seed: int


@dataclass(frozen=True)
class Keep:
    """What is kept of the episodes: film, curves and rerun file of a few ``failures`` of each row
    in that folder, and every episode in the store ``record``."""

    failures: str | None = None
    record: str | None = None


def jobs_of(cell: Cell, first_seed: int, planner_seed: int = 0) -> list[Job]:
    """The same seeds for every cell; in each episode the planner draws by a seed of its own, which
    ``planner_seed`` and the episode's seed decide."""
    return [
        Job(cell, seed, int(np.random.SeedSequence([planner_seed, seed]).generate_state(1)[0]))
        for seed in range(first_seed, first_seed + cell.episodes)
    ]


# -- one worker -------------------------------------------------------------------------------

_kept: dict[str, Any] = {}  # the last environment and agent of this process


def _environment(cell: Cell) -> Arm:
    arm = arm_for(cell.arm, cell.task, image_size(cell.policy))
    key = (cell.simulator, arm)
    if _kept.get("env_key") != key:
        if "env" in _kept:
            _kept["env"].close()
            _kept.pop("agent_key", None)  # an agent may hold the environment
        _kept.update(env=make_env(cell.simulator, arm), env_key=key)
    return _kept["env"]


def loadable(policy: PolicyConfig) -> PolicyConfig:
    """What can be made before an episode's scene is there to calibrate in."""
    return replace(policy, calibration=None) if policy.calibration == "self" else policy


def _agent(job: Job, env: Arm) -> Agent:
    """The cell's agent; with ``calibration="self"`` calibrated by moves in the episode's own
    scene, as a lab calibrates where it works."""
    policy = job.cell.policy
    if _kept.get("agent_key") != policy:
        _kept.update(agent=make_agent(loadable(policy), env), agent_key=policy)
    agent = _kept["agent"]
    if policy.calibration == "self":
        seeing = agent.agent if isinstance(agent, BlindAgent) else agent
        if not isinstance(seeing, PlanningAgent | HierarchicalAgent | ServoAgent):
            raise ValueError("calibration=self needs a planner, or policy=servo")
        seeing.perception.calibrate(None)  # that of the episode before
        seeing.perception.calibrate(_own_calibration(env, seeing, job.seed))
    return agent


def _own_calibration(
    env: Arm, agent: PlanningAgent | HierarchicalAgent | ServoAgent, seed: int
) -> Calibration | None:
    perception, predictor = agent.perception, None
    if not isinstance(agent, ServoAgent) and isinstance(agent.search.outcomes, ImaginedOutcomes):
        predictor = agent.search.outcomes.imagination.predictor
    if perception.readout is None:
        raise ValueError("calibration=self needs a readout")
    try:
        return calibrate(
            env, perception.encoder, perception.readout, predictor, MOVES, STEP_M, seed,
            quiet=True,
        )
    except CalibrationError:  # the command would refuse it too: go on without
        return None


def _imagine(cell: Cell, agent: Agent) -> StepPictures | None:
    """Makes pictures of what ``agent`` imagines, where its checkpoint has a decoder."""
    if _kept.get("imagine_of") is not agent:
        _kept.update(imagine=step_painter(agent, cell.policy.checkpoint), imagine_of=agent)
    return _kept["imagine"]


def run_job(job: Job, keep: Keep) -> Outcome:
    """Run one episode; ``keep`` says where to store its recording and, if it fails, its film."""
    cell = job.cell
    env = _environment(cell)
    agent = _agent(job, env)
    watchers: list[Subscriber] = []
    keeper = None
    if keep.failures is not None and room_for(Path(keep.failures), cell.name):
        keeper = FailureKeeper(Path(keep.failures), cell.name, cell.task, _imagine(cell, agent))
        watchers.append(keeper)
    if keep.record is not None:
        store = EpisodeStore(keep.record)
        name = f"{file_name(cell.name)}-{job.seed:09d}-{job.planner_seed}"
        if name not in store:  # there after a crash between the episode and its outcome
            meta = {"task": cell.task, "policy": cell.policy.policy, "source": env.source,
                    "control_hz": env.config.control_hz}
            watchers.append(EpisodeWriter(store, name, meta))
    result = run_episode(
        env, agent, job.seed, cell.max_steps or max_steps(env.config.task), cell.policy.goal,
        watchers, job.planner_seed,
    )
    if keeper is not None:
        keeper.settle()
    return Outcome(
        cell.name, job.seed, job.planner_seed, result.success, result.distance_m, result.steps,
        result.finished, float(np.median(result.plan_seconds)),
        unsure_m=None if np.isnan(result.unsure_m) else result.unsure_m,
    )


# -- many workers -----------------------------------------------------------------------------


def run_jobs(
    jobs: Sequence[Job], workers: int | None, pool: Pool, keep: Keep | None = None
) -> Iterator[Outcome]:
    """Outcomes in the order they finish; the same outcomes in either pool."""
    work, code = partial(run_job, keep=keep or Keep()), code_version()
    for outcome in run_parallel(work, jobs, workers, pool, torch.set_num_threads):
        yield replace(outcome, code=code)


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Success and its interval, median distance and median seconds per action."""
    wins = sum(o.success for o in outcomes)
    return {
        "episodes": len(outcomes), "successes": wins,
        "success_rate": wins / max(1, len(outcomes)),
        "wilson_95": wilson_95(wins, len(outcomes)),
        "median_distance_m": float(np.median([o.distance_m for o in outcomes])),
        "median_plan_seconds": float(np.median([o.plan_seconds for o in outcomes])),
        "median_steps": float(np.median([o.steps for o in outcomes])),
        "surest_success_rate": surest(outcomes),
    }


def surest(outcomes: Sequence[Outcome]) -> float | None:
    """Success rate of the ``COVERED`` of the episodes of whose goal images the readout is surest;
    None where it does not say of every one."""
    told = [(o.unsure_m, o.success) for o in outcomes if o.unsure_m is not None]
    if len(told) < len(outcomes) or not told:
        return None
    kept = sorted(told, key=lambda x: x[0])[: max(1, round(COVERED * len(told)))]
    return float(np.mean([success for _, success in kept]))
