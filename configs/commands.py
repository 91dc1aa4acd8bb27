"""The settings of the commands that need torch (``collect`` has its own module).

Defaults that a user meets are in ``configs/*.yaml``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from configs.agents import PolicyConfig, Simulator
from planners.agent import AgentConfig
from sims.arm import ArmConfig
from sims.parallel import Pool
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
    """Cache the latents of ``data`` under the encoder of ``checkpoint``; and of
    ``variants`` augmented copies of every episode (``robot_data.augment``), in caches of their
    own: training then needs no encoder in memory."""

    data: str
    variants: int = 0
    out: str = "outputs/encode"
    checkpoint: str | None = None


@dataclass(frozen=True)
class Train:
    """Post-train on cached latents: predictor, readout of the robot state, subgoal predictor,
    and the inverse-dynamics baseline.

    Their image size, patch size and input width are those of the encoder.  variants: augmented
    copies of every episode (``robot_data.augment``) to train on besides the recorded one.
    checkpoint_activations: recompute activations in the predictor's backward pass, for GPUs with
    little memory; frozen_blocks: the predictor's first blocks that are not trained.
    start_from: a checkpoint folder whose trained parts are trained further (fine-tuning).
    """

    data: str
    out: str
    validation: str | None = None
    checkpoint: str | None = None  # has the encoder
    start_from: str | None = None
    parts: tuple[str, ...] = ("predictor", "readout", "subgoals", "inverse_dynamics")
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    readout: ReadoutConfig = field(default_factory=ReadoutConfig)
    variants: int = 0
    window: int = 3
    strides: tuple[int, ...] = (1,)
    rollout_steps: int = 2
    checkpoint_activations: bool = False
    frozen_blocks: int = 0
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
class Plan(PolicyConfig):
    """One episode, with pictures; ``record`` names a store the episode is written into.

    policy and goal: see ``configs.agents.PolicyConfig``.
    """

    task: str = "pick_and_place"
    seed: int = 0
    planner_seed: int = 0
    simulator: Simulator = "mujoco"
    out: str = "outputs/plan"
    record: str | None = None
    max_steps: int | None = None
    arm: ArmConfig = field(default_factory=ArmConfig)


@dataclass(frozen=True)
class Evaluate(PolicyConfig):
    """Success over ``episodes`` seeds from ``first_seed``; ``planner_seeds`` take turns.

    suite=table runs the whole success table instead, ``only`` the rows whose name contains it;
    started again with the same ``out`` it goes on where it stopped.  pool=ray runs on the
    cluster that RAY_ADDRESS names.  record: a store every episode is written into.
    """

    task: str = "pick_and_place"
    simulator: Simulator = "mujoco"
    suite: Literal["table"] | None = None
    only: str = ""
    episodes: int = 50
    first_seed: int = 100_000
    planner_seeds: int = 3
    out: str = "outputs/evaluate"
    max_steps: int | None = None
    workers: int | None = None
    pool: Pool = "processes"
    record: str | None = None
    arm: ArmConfig = field(default_factory=ArmConfig)


@dataclass(frozen=True)
class Listening:
    """Windows of recorded episodes that move at least ``least_move_m`` in a step; energies of
    ``candidates`` random and shuffled actions, energy landscapes ``reach_m`` around the true
    action, drift over ``horizon`` steps."""

    data: str
    episodes: int = 60
    windows: int = 4
    candidates: int = 100
    horizon: int = 6
    reach_m: float = 0.075
    side: int = 9
    least_move_m: float = 0.02
    seed: int = 0


@dataclass(frozen=True)
class Diagnose(Listening):
    """Does the model listen to actions?  Measured on recorded episodes (see ``Listening``)."""

    out: str = "outputs/diagnose"
    checkpoint: str | None = None


@dataclass(frozen=True)
class Replay(Listening):
    """What would the agent do, on recorded episodes?  In every window it plans towards the frame
    ``ahead`` and its action is compared with the recorded one; and all that ``diagnose`` measures.

    model: a checkpoint folder (empty: the shipped one), or vjepa2-ac with weights=PATH of Meta's
    vjepa2-ac-vitg.pt; meta_encoder, meta_predictor: the sizes in that file.  shown: episodes
    written for rerun.
    """

    out: str = "outputs/replay"
    model: str = ""
    weights: str = ""
    meta_encoder: str = "vit_giant"
    meta_predictor: str = "vjepa2_ac"
    ahead: int = 1
    shown: int = 2
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
