"""What can be set of planners; free of torch, so that settings are checked at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

Distance = Literal["l1", "squared"]


@dataclass(frozen=True)
class CEMConfig:
    """Search effort and bounds per control step.

    max_move_m bounds each axis of the translation; max_turn_rad each Euler angle of the
    rotation (0: never rotate, as in the released notebook); max_grip the change of closedness.
    Gripper changes below grip_threshold become 0 (the notebook's 0.25).
    """

    samples: int = 100
    iterations: int = 4
    elites: int = 12
    horizon: int = 1
    momentum_mean: float = 0.15
    momentum_std: float = 0.15
    max_move_m: float = 0.075
    max_turn_rad: float = 0.15
    max_grip: float = 0.75
    grip_threshold: float = 0.25
    warm_start: bool = True
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.elites <= self.samples:
            raise ValueError(f"elites {self.elites} must be 1 to samples {self.samples}")
        if min(self.samples, self.iterations, self.horizon) < 1:
            raise ValueError("samples, iterations and horizon must be at least 1")
        if self.deadline_s is not None and self.deadline_s <= 0:
            raise ValueError(f"deadline_s {self.deadline_s} must be positive, or null for none")

    @property
    def limit(self) -> list[float]:
        """Largest action [7]: m, m, m, rad, rad, rad, closedness."""
        return [self.max_move_m] * 3 + [self.max_turn_rad] * 3 + [self.max_grip]


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the parts of the cost.

    distance: between tokens; ``l1`` is V-JEPA 2-AC's, ``squared`` the mean squared difference.
    position_weight [1/m], rotation_weight [1/rad], grip_weight: distance between the imagined
    pose (known exactly from the actions) and the pose a readout reads from the goal image; all
    0 switches the readout off.
    """

    distance: Distance = "l1"
    token_weight: float = 1.0
    position_weight: float = 20.0
    rotation_weight: float = 1.0
    grip_weight: float = 1.0

    def __post_init__(self) -> None:
        valid = get_args(Distance)
        if self.distance not in valid:
            raise ValueError(f"unknown distance '{self.distance}'; valid: {', '.join(valid)}")

    @property
    def uses_pose(self) -> bool:
        return any((self.position_weight, self.rotation_weight, self.grip_weight))


@dataclass(frozen=True)
class SubgoalConfig:
    """The rule that switches between the images of a goal sequence.

    fixed: each image for ``fixed_steps`` steps (cycled; the paper's pick-and-place has 4, 10,
    4).  auto: on when the hand is within the tolerances of the pose read from the image and
    the gripper has settled, or when the cost has stopped falling, between min and max steps.
    """

    switching: Literal["auto", "fixed"] = "auto"
    fixed_steps: tuple[int, ...] = (4, 10, 4)
    min_steps: int = 2
    max_steps: int = 9
    last_steps: int = 12
    position_tolerance_m: float = 0.012
    rotation_tolerance_rad: float = 0.12
    grip_tolerance: float = 0.15
    stall_steps: int = 3
    stall_gain: float = 0.01  # relative fall of the cost that counts as progress


@dataclass(frozen=True)
class HierarchyConfig:
    """The sub-goals that the planner sets itself around a gripper event."""

    approach_m: float = 0.10  # height above the event where approach and retreat end


@dataclass(frozen=True)
class AgentConfig:
    """servo: correct the pose read from the goal image by the error of the pose read from the
    present image, the more the nearer the two are (``servo_range_m``): near the goal the two
    images look alike and the readout's bias cancels.  binary_grip: a gripper is told to open or to
    close; what is read in between is doubt, and the likeliest sequence of the two is taken
    (``planners.grip``; false for grippers that hold widths).  max_imagined: how many samples,
    those with the lowest pose cost, are imagined in each iteration; the others cannot become
    elites (docs/lab-book.md has the ablation).  Without a pose all samples are imagined.
    memory_mb: most that imagining takes at once; compile: let torch.compile fuse the predictor,
    which costs up to a minute at the first plan; int8: imagine with 8-bit integer products, on
    CPUs (``worldmodel.quantised``)."""

    cem: CEMConfig = field(default_factory=CEMConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    subgoals: SubgoalConfig = field(default_factory=SubgoalConfig)
    servo: bool = True
    servo_range_m: float = 0.05
    binary_grip: bool = True
    bf16: bool = True
    max_imagined: int = 16
    memory_mb: float | None = None
    compile: bool = False
    int8: bool = False

Policy = Literal[
    "planner", "flat", "random", "stand_still", "inverse_dynamics", "simulator_embedding",
    "simulator_state",
]
Goal = Literal["subgoals", "single"]


@dataclass(frozen=True)
class PolicyConfig:
    """Which agent, from which weights.

    planner: CEM with the world model, with its own sub-goals when it is given a single goal
    image; flat: the same without its own sub-goals.  inverse_dynamics, random, stand_still: do
    not plan.  simulator_embedding, simulator_state: the same CEM with the simulator as the
    model, and the embedding cost or the true-state cost.  calibration: a file of ``worldmodel
    calibrate``; "self" (``evaluate`` only): made in each episode's own scene first.  checkpoint:
    the weights, any source of ``worldmodel.models``.  readout: a source whose readout, fine-tuned
    for another arm or camera, is taken instead.
    """

    policy: Policy = "planner"
    goal: Goal = "subgoals"
    checkpoint: str = "shipped"
    calibration: str | None = None
    readout: str | None = None
    agent: AgentConfig = field(default_factory=AgentConfig)
    hierarchy: HierarchyConfig = field(default_factory=HierarchyConfig)
