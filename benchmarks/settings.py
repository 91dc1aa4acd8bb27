"""What can be set of the benchmarks that compute with torch; free of torch itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from planners.config import CEMConfig
from worldmodel.config import (
    LeWMConfig,
    LeWMLossConfig,
    PredictorConfig,
    TemporalConfig,
    TrainConfig,
)


@dataclass(frozen=True)
class PlannerSettings:
    """Time one plan computed several ways with the same weights, samples and goal, in turn."""

    out: str = "outputs/bench/planner"  # folder of the table and the report
    model: str = "shipped"  # shipped, or ac_tiny or vjepa2_ac with random weights
    depth: int | None = None  # blocks of the predictor, to fit into memory; null: all
    cem: CEMConfig = field(default_factory=lambda: CEMConfig(horizon=2))
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    bf16: bool = True  # our engine in bfloat16; false: float32
    int8: bool = True  # our engine with 8-bit integer products too, where the CPU has them
    compile: bool = False  # our engine with torch.compile
    # most memory that imagining takes at once [MiB]; null: chosen by the device
    memory_mb: float | None = None
    threads: int | None = None  # CPU threads; null: all
    repeats: int = 3  # plans of each way, of which the median counts
    reference: bool = True  # the plain way too, as the released notebook does it (float32)
    peer: bool = True  # stable-worldmodel's CEMSolver too (sh tools/bench/setup.sh)
    growth: bool = True  # how time grows with samples and horizon
    seed: int = 0  # draws samples and random weights

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = {"cem.warm_start": "every plan is the first of an episode"}
        if self.model == "shipped":
            found["depth"] = "the shipped model is taken whole"
        return found


@dataclass(frozen=True)
class EncoderSettings:
    """Frames per second of encoding single frames, as V-JEPA 2-AC does, by batch size.

    The plain way is float32, each frame repeated to a tubelet and encoded alone.
    """

    out: str = "outputs/bench/encoder"  # folder of the table and the report
    # shipped, or an encoder's name (vit_tiny to vit_giant_384) with random weights
    model: str = "shipped"
    depth: int | None = None  # blocks of the encoder, to fit into memory; null: all
    batches: tuple[int, ...] = (1, 8, 32)  # frames encoded at once
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    bf16: bool = True  # our encoder in bfloat16; false: float32
    compile: bool = False  # our encoder with torch.compile
    threads: int | None = None  # CPU threads; null: all
    repeats: int = 3  # runs of each way, of which the median counts
    peer: bool = True  # transformers' VJEPA2Model of the same shape too, where it is installed
    seed: int = 0  # draws frames and random weights

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        return {"depth": "the shipped model is taken whole"} if self.model == "shipped" else {}


@dataclass(frozen=True)
class TrainSettings:
    """Post-training steps on random pictures and random weights of an encoder's shapes: windows per
    second with latents from a memory-mapped file, and with frames encoded in every step.

    Both ways take bf16 autocast and the same predictor step.
    """

    out: str = "outputs/bench/train"  # folder of the table and the report
    # an encoder's name, vit_tiny to vit_giant_384; the predictor is fitted to it
    encoder: str = "vit_large"
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    batch_size: int = 2  # windows in a batch
    window: int = 4  # frames of a window
    steps: int = 5  # training steps of each way
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    threads: int | None = None  # CPU threads; null: all
    compile: bool = False  # the predictor with torch.compile
    # processes of one thread each, for data-parallel training (DDP, gloo) on cached latents
    processes: tuple[int, ...] = (1, 2)
    seed: int = 0  # draws pictures and random weights

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        return dict.fromkeys(
            ("predictor.image_size", "predictor.patch_size", "predictor.embed_dim"),
            "it is the encoder's",
        )


@dataclass(frozen=True)
class DataSettings:
    """Training windows per second of one core: our store, raw and JPEG, beside HDF5 with gzip, MP4
    through PyAV and zarr with lz4 a frame; and DataLoaders of our store.

    The same made-up episodes, one thread; the page cache is warm.
    """

    out: str = "outputs/bench/data"  # folder of the table and the report
    side: int = 128  # side of the square images [px]
    length: int = 16  # frames of a window
    seconds: float = 3.0  # time for each way [s]
    workers: tuple[int, ...] = (1, 2)  # processes of a DataLoader


FieldName = Literal["two_room", "push_t", "reacher", "arm_reach", "arm_push"]


@dataclass(frozen=True)
class FieldSettings:
    """World models beside each other in an environment of stable-worldmodel: ours, and its
    LeWorldModel and PLDM by its own modules, policy and solver.

    The same recordings, the same CPU time for each training, the same starts and goals; every
    episode is played to the end, and success is to be at the goal then.  What is done is kept: the
    same command goes on.
    """

    out: str = "outputs/bench/field"  # folder of recordings, models, episodes, table and report
    # its environment: Two-Room, Push-T, Reacher, or our arm in it
    world: FieldName = "two_room"
    # recorded: of Two-Room's noisy expert, Push-T's weak policy, random torques of Reacher, at most
    # 100 steps each; of the arm, as `worldmodel collect` does
    episodes: int = 1000
    budget_s: float = 1800.0  # CPU time for each training [s]
    starts: int = 50  # starts of each half of the committed list, at most 50
    seeds: tuple[int, ...] = (0, 1, 2)  # of the trainings, and of the planner with each
    rows: tuple[str, ...] = ()  # rows to make, by name; none: all
    # sizes of the models, the same for ours and theirs; the published ones, for 224 px, are in
    # configs/lewm_released.yaml
    model: LeWMConfig = field(
        default_factory=lambda: LeWMConfig(image_size=64, frame_skip=5)
    )
    losses: LeWMLossConfig = field(default_factory=LeWMLossConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(weight_decay=1e-3, betas=(0.9, 0.999))
    )
    temporal: TemporalConfig = field(default_factory=TemporalConfig)
    # the search of the rows "ours"; its horizon counts blocks of model.frame_skip actions.  The
    # others have the published one
    cem: CEMConfig = field(
        default_factory=lambda: CEMConfig(
            samples=128, iterations=4, elites=12, horizon=2, refit="elites"
        )
    )

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = dict.fromkeys(
            ("model.action_size", "model.action_mean", "model.action_std"), "the recordings say it"
        )
        found |= dict.fromkeys(
            ("model.residual", "model.temporal_dim", "losses.recovery_weight"),
            "each row has its own",
        )
        found |= {"train.steps": "budget_s= says it", "train.seed": "seeds= names them"}
        found["temporal.train.seed"] = "seeds= names them"
        return found | dict.fromkeys(
            ("cem.max_move_m", "cem.max_turn_rad", "cem.max_grip", "cem.grip_threshold"),
            "the environment bounds its actions",
        )
