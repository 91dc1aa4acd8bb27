"""The settings of the commands that need torch (``collect`` has its own module).

Defaults that a user meets are in ``configs/*.yaml``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from planners.agent import AgentConfig
from sims.arm import ArmConfig
from worldmodel.encoder import EncoderConfig
from worldmodel.predictor import PredictorConfig
from worldmodel.readout import ReadoutConfig
from worldmodel.train import TrainConfig


@dataclass(frozen=True)
class Pretrain:
    """Masked latent pre-training of an encoder on the images of ``data``."""

    data: str
    out: str
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    motion_frames: int = 4
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class Encode:
    """Cache the latents of ``data`` under the encoder of ``checkpoint``."""

    data: str
    out: str = "outputs/encode"
    checkpoint: str | None = None


@dataclass(frozen=True)
class Train:
    """Post-train on cached latents: predictor, readout of the robot state, subgoal predictor,
    and the inverse-dynamics baseline.

    Their image size, patch size and input width are those of the encoder.
    """

    data: str
    out: str
    validation: str | None = None
    checkpoint: str | None = None  # has the encoder
    parts: tuple[str, ...] = ("predictor", "readout", "subgoals", "inverse_dynamics")
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    window: int = 3
    strides: tuple[int, ...] = (1,)
    rollout_steps: int = 2
    validation_batches: int = 20
    train: TrainConfig = field(default_factory=TrainConfig)
    readout_train: TrainConfig = field(default_factory=TrainConfig)
    goal_hidden: int = 512
    goal_train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class Probe:
    """What the frozen features hold: linear and attentive probes, fitted on ``data``."""

    data: str
    validation: str
    out: str = "outputs/probe"
    checkpoint: str | None = None
    frames: int = 4000
    steps: int = 600


@dataclass(frozen=True)
class Plan:
    """One episode, with pictures; ``record`` names a store the episode is written into."""

    task: str = "pick_and_place"
    seed: int = 0
    goal: Literal["subgoals", "single"] = "subgoals"
    out: str = "outputs/plan"
    record: str | None = None
    max_steps: int | None = None
    checkpoint: str | None = None
    arm: ArmConfig = field(default_factory=ArmConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)


@dataclass(frozen=True)
class Evaluate:
    """Success over ``episodes`` seeds from ``first_seed``."""

    task: str = "pick_and_place"
    goal: Literal["subgoals", "single"] = "subgoals"
    policy: Literal["planner", "random", "stand_still"] = "planner"
    episodes: int = 50
    first_seed: int = 100_000
    out: str = "outputs/evaluate"
    max_steps: int | None = None
    workers: int | None = None
    checkpoint: str | None = None
    arm: ArmConfig = field(default_factory=ArmConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)


@dataclass(frozen=True)
class Parity:
    """Compare our models with reference vectors ``<golden>_{config,weights,vectors}``."""

    golden: str
    out: str = "outputs/parity"


@dataclass(frozen=True)
class Info:
    """What is in a checkpoint, and what this machine can do."""

    checkpoint: str | None = None
    out: str = "outputs/info"
