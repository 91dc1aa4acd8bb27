"""What can be set of planners; free of torch, so that settings are checked at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from configs.settings import idle_but

Distance = Literal["embedding", "l1", "squared"]


@dataclass(frozen=True)
class CEMConfig:
    """The cross-entropy method: search effort and bounds of one control step."""

    samples: int = 100  # action sequences drawn in each iteration
    iterations: int = 4  # rounds of sampling and refitting
    elites: int = 12  # cheapest sequences that the next distribution is fitted to
    horizon: int = 1  # actions in a sequence [control steps]
    momentum_mean: float = 0.15  # share of the old mean that is kept when refitting
    momentum_std: float = 0.15  # share of the old standard deviation that is kept when refitting
    max_move_m: float = 0.075  # largest translation of an action, each axis [m]
    # largest rotation of an action, each Euler angle [rad]; 0: never rotate, as V-JEPA 2-AC
    max_turn_rad: float = 0.15
    max_grip: float = 0.75  # largest change of gripper closedness of an action
    grip_threshold: float = 0.25  # smaller changes of closedness become 0
    warm_start: bool = True  # begin with the last plan, one step on
    # time for one decision [s]; the search is made smaller to fit; null: none
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.elites <= self.samples:
            raise ValueError(f"elites {self.elites} must be 1 to samples {self.samples}")
        if min(self.samples, self.iterations, self.horizon) < 1:
            raise ValueError("samples, iterations and horizon must be at least 1")
        if self.deadline_s is not None and self.deadline_s <= 0:
            raise ValueError(f"deadline_s {self.deadline_s} must be positive, or null for none")

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = {}
        if self.horizon == 1:
            found["warm_start"] = "horizon=1 leaves no later actions to begin with"
        if self.iterations == 1:
            found.update(dict.fromkeys(("momentum_mean", "momentum_std"), "iterations=1"))
        return found

    @property
    def limit(self) -> list[float]:
        """Largest action [7]: m, m, m, rad, rad, rad, closedness."""
        return [self.max_move_m] * 3 + [self.max_turn_rad] * 3 + [self.max_grip]


@dataclass(frozen=True)
class EmbeddingConfig:
    """The embedding of latents that the cost measures distances in, all in metres."""

    turn_m: float = 0.02  # length that a change of 1 of a column of the rotation counts as [m]
    grip_m: float = 0.1  # length that opening or closing the gripper counts as [m]
    object_weight: float = 1.0  # weight of the place of the object beside the hand's
    # expected error of a place read from the goal image that halves its weight [m]
    unsure_m: float = 0.015


@dataclass(frozen=True)
class ObjectiveConfig:
    """Weights of the parts of the cost of an imagined outcome.

    The pose terms compare the imagined pose (known exactly from the actions) with the pose that the
    readout reads from the goal image; with all three weights 0 the readout is not used.
    """

    # between imagined and goal latents: in an embedding read from them (hand, gripper, object), or
    # the mean absolute (V-JEPA 2-AC's) or mean squared difference of tokens
    distance: Distance = "embedding"
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)
    token_weight: float = 1.0  # weight of the distance between imagined and goal tokens
    position_weight: float = 20.0  # weight of the distance between hand positions [1/m]
    rotation_weight: float = 1.0  # weight of the angle between hand orientations [1/rad]
    grip_weight: float = 1.0  # weight of the difference in gripper closedness

    def __post_init__(self) -> None:
        valid = get_args(Distance)
        if self.distance not in valid:
            raise ValueError(f"unknown distance '{self.distance}'; valid: {', '.join(valid)}")

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        return {} if self.token_weight else {"distance": "token_weight=0"}

    @property
    def uses_pose(self) -> bool:
        """Whether any pose weight is above 0."""
        return any((self.position_weight, self.rotation_weight, self.grip_weight))


@dataclass(frozen=True)
class SubgoalConfig:
    """When to go on to the next image of a goal sequence.

    ``auto``: once the hand is within the tolerances of the pose read from the image and the gripper
    has settled, or once the cost has stopped falling, between the least and the most steps.
    """

    # by progress, or each image for a fixed number of steps
    switching: Literal["auto", "fixed"] = "auto"
    # steps for each image, the last number for all further ones; the paper's 4, 10, 4
    fixed_steps: tuple[int, ...] = (4, 10, 4)
    min_steps: int = 2  # least steps for an image
    max_steps: int = 9  # most steps for an image that is not the last
    last_steps: int = 12  # most steps for the last image
    reached: float = 0.012  # cost that counts as reached [m]
    position_tolerance_m: float = 0.012  # distance to the goal pose that counts as reached [m]
    rotation_tolerance_rad: float = 0.12  # angle to the goal pose that counts as reached [rad]
    grip_tolerance: float = 0.15  # difference in closedness that counts as reached
    stall_steps: int = 3  # steps without progress before the next image
    stall_gain: float = 0.01  # relative fall of the cost that counts as progress

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        if self.switching == "auto":
            return {"fixed_steps": "it belongs to switching=fixed"}
        return dict.fromkeys(
            ("min_steps", "max_steps", "last_steps", "position_tolerance_m",
             "rotation_tolerance_rad", "grip_tolerance", "stall_steps", "stall_gain"),
            "it belongs to switching=auto",
        )


@dataclass(frozen=True)
class HierarchyConfig:
    """The sub-goals that the planner sets itself around a gripper event."""

    approach_m: float = 0.10  # height above the event where approach and retreat end [m]


@dataclass(frozen=True)
class AgentConfig:
    """The planner: how it searches, what it minimises, how it computes."""

    cem: CEMConfig = field(default_factory=CEMConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    subgoals: SubgoalConfig = field(default_factory=SubgoalConfig)
    servo: bool = True  # correct the pose read from the goal image by the readout's present error
    # distance to the goal at which that correction has faded to 1/e [m]
    servo_range_m: float = 0.05
    # round closedness read from goal images to 0 or 1 (Viterbi over the sequence); false for
    # width-controlled grippers
    binary_grip: bool = True
    bf16: bool = True  # compute in bfloat16; false: float32
    # samples imagined in an iteration, those with the lowest pose cost; the others cannot become
    # elites
    max_imagined: int = 16
    # most memory that imagining takes at once [MiB]; null: chosen by the device
    memory_mb: float | None = None
    # fuse the predictor with torch.compile; the first plan takes up to a minute more
    compile: bool = False
    int8: bool = False  # imagine with 8-bit integer products, on CPUs that have them

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = {}
        if not self.servo:
            found["servo_range_m"] = "servo=false"
        if not self.objective.uses_pose:
            found["max_imagined"] = "without pose weights all samples are imagined"
        if not self.objective.token_weight:
            found.update(dict.fromkeys(
                ("max_imagined", *ENGINE), "objective.token_weight=0 imagines nothing"
            ))
        return found


ENGINE = ("memory_mb", "compile", "int8")  # of AgentConfig: how the predictor computes
READS = (  # of AgentConfig: what needs a pose read from the images
    "servo", "servo_range_m", "binary_grip", "subgoals.position_tolerance_m",
    "subgoals.rotation_tolerance_rad", "subgoals.grip_tolerance",
)
BOUNDS = ("max_move_m", "max_turn_rad", "max_grip")  # of CEMConfig

Policy = Literal[
    "planner", "flat", "random", "stand_still", "inverse_dynamics", "simulator_embedding",
    "simulator_state",
]
Goal = Literal["subgoals", "single"]


@dataclass(frozen=True)
class PolicyConfig:
    """Which agent, from which weights.

    planner: CEM with the world model, with its own sub-goals when it is given a single goal image.
    flat: the same without its own sub-goals.  inverse_dynamics, random, stand_still: do not plan.
    simulator_embedding, simulator_state: CEM with the simulator as the model, and the
    embedding cost or the true-state cost.
    """

    policy: Policy = "planner"  # the agent
    goal: Goal = "subgoals"  # images given to the agent: the sequence to the goal, or only the last
    # weights: shipped; a folder; Meta's .pt; a Hugging Face folder; or hf://owner/name[@revision]
    checkpoint: str = "shipped"
    # file of `worldmodel calibrate`; self: made first in each episode's own scene (evaluate only)
    calibration: str | None = None
    # source of another readout, fine-tuned for another arm or camera; null: the checkpoint's
    readout: str | None = None
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    agent: AgentConfig = field(default_factory=AgentConfig)
    hierarchy: HierarchyConfig = field(default_factory=HierarchyConfig)

    @property
    def reads(self) -> bool:
        """Whether a readout is loaded."""
        objective = self.agent.objective
        embeds = objective.distance == "embedding" and objective.token_weight > 0
        return objective.uses_pose or embeds or self.readout is not None

    @property
    def reads_poses(self) -> bool:
        """Whether hand poses are read from images."""
        return self.agent.objective.uses_pose or self.readout is not None

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        why, cem = f"policy={self.policy}", self.agent.cem
        found = {}
        if self.policy in ("random", "stand_still"):
            found.update(dict.fromkeys(
                ("checkpoint", "calibration", "readout", "device", "hierarchy"), why
            ))
            if self.policy == "stand_still":
                return {**found, "agent": why}
            found.update(idle_but(self.agent, "agent", ("cem",), why))
            return {**found, **idle_but(cem, "agent.cem", BOUNDS, why)}
        if self.policy not in ("planner", "flat"):  # no world model imagines
            found["calibration"] = why
            found.update({f"agent.{name}": why for name in ENGINE})
        if self.policy == "inverse_dynamics":
            found["agent.max_imagined"] = why
            found.update(idle_but(cem, "agent.cem", (*BOUNDS, "grip_threshold"), why))
        if self.policy == "simulator_state":
            found.update(dict.fromkeys(
                ("readout", "agent.servo", "agent.servo_range_m", "agent.binary_grip",
                 "agent.bf16", "agent.objective.distance", "agent.objective.token_weight"), why,
            ))
        elif not self.reads_poses:
            found.update({f"agent.{name}": "no pose is read with pose weights 0" for name in READS})
        if self.policy == "planner" and self.goal == "single" and self.reads_poses:
            found.update(dict.fromkeys(
                ("agent.subgoals.switching", "agent.subgoals.fixed_steps",
                 "agent.subgoals.max_steps", "agent.subgoals.stall_steps",
                 "agent.subgoals.stall_gain"),
                "the planner sets its own sub-goals with goal=single",
            ))
        else:
            found["hierarchy"] = "it belongs to policy=planner with goal=single"
            if self.goal == "single":
                found["agent.subgoals.max_steps"] = "goal=single has no image before the last"
        return found

    @property
    def samples(self) -> bool:
        """Whether the agent draws random numbers."""
        return self.policy not in ("stand_still", "inverse_dynamics")
