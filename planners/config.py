"""What can be set of planners; free of torch, so that settings are checked at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from configs.settings import idle_but

Refit = Literal["least_squares", "elites"]
Distance = Literal["embedding", "l1", "squared"]


@dataclass(frozen=True)
class CEMConfig:
    """The cross-entropy method: search effort and bounds of one control step."""

    samples: int = 24  # action sequences drawn in each iteration
    iterations: int = 2  # rounds of sampling and refitting
    elites: int = 6  # cheapest sequences that the next distribution is fitted to
    horizon: int = 1  # actions in a sequence [control steps]
    # how the mean of the samples is refitted: by least squares over all samples, where the cost is
    # a distance in an embedding; or to the mean of the elites, as V-JEPA 2-AC, which needs 50 to
    # 100 samples and 3 to 4 iterations
    refit: Refit = "least_squares"
    momentum_mean: float = 0.15  # share of the old mean that is kept when refitting
    momentum_std: float = 0.15  # share of the old standard deviation that is kept when refitting
    max_move_m: float = 0.075  # largest translation of an action, each axis [m]
    # largest rotation of an action, each Euler angle [rad]; 0: never rotate, as V-JEPA 2-AC.  Large
    # ones follow the noise of the rotation that is read from a frame
    max_turn_rad: float = 0.05
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
        if self.refit not in get_args(Refit):
            raise ValueError(
                f"unknown refit '{self.refit}'; valid: {', '.join(get_args(Refit))}"
            )
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
class AxisConfig:
    """Axes that the released planner does not search: every sample has this change on them."""

    x_m: float | None = None  # along x of the robot base [m]; null: searched
    y_m: float | None = None  # along y [m]; null: searched
    z_m: float | None = None  # along z [m]; null: searched
    closedness: float | None = None  # of the gripper; null: searched

    def given(self) -> dict[int, float]:
        """Values of the axes that are not searched, by number: x, y, z, closedness."""
        values = enumerate((self.x_m, self.y_m, self.z_m, self.closedness))
        return {axis: value for axis, value in values if value is not None}


@dataclass(frozen=True)
class ReleasedConfig:
    """The planner published with V-JEPA 2-AC; defaults are those of its world_model_wrapper.py.

    It searches translations and the gripper, never rotations, in float32, by the mean absolute
    difference of tokens.
    """

    samples: int = 400  # action sequences drawn in each iteration
    iterations: int = 10  # rounds of sampling and refitting
    elites: int = 10  # cheapest sequences that the next distribution is fitted to
    horizon: int = 2  # actions in a sequence [control steps]
    momentum_mean: float = 0.15  # share of the old mean of translations that is kept
    momentum_std: float = 0.15  # share of their old standard deviation that is kept
    momentum_mean_grip: float = 0.15  # share of the old mean of the gripper that is kept
    momentum_std_grip: float = 0.15  # share of its old standard deviation that is kept
    max_move_m: float = 0.05  # largest translation of an action, each axis [m]
    close_from: int | None = None  # actions of a sequence from this one on close; null: searched
    axis: AxisConfig = field(default_factory=AxisConfig)
    # steps for each image of a sequence, the last number for all further ones, as in the paper;
    # a single image is planned for until the episode ends
    steps: tuple[int, ...] = (4, 10, 4)

    def __post_init__(self) -> None:
        if not 2 <= self.elites <= self.samples:
            raise ValueError(f"elites {self.elites} must be 2 to samples {self.samples}")
        if min(self.iterations, self.horizon) < 1:
            raise ValueError("iterations and horizon must be at least 1")
        if not self.steps or min(self.steps) < 1:
            raise ValueError(f"steps {list(self.steps)} must be numbers of 1 or more")


@dataclass(frozen=True)
class EmbeddingConfig:
    """The embedding of latents that the cost measures distances in, all in metres."""

    turn_m: float = 0.06  # length that a change of 1 of a column of the rotation counts as [m]
    grip_m: float = 0.1  # length that opening or closing the gripper counts as [m]
    object_weight: float = 1.0  # weight of the place of the object beside the hand's
    # expected error of a place read from the goal image that halves its weight [m]
    unsure_m: float = 0.015


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the planner minimises: a distance between imagined latents and the goal's."""

    # in an embedding read from the latents (hand, gripper, object), or the mean absolute (V-JEPA
    # 2-AC's) or mean squared difference of tokens
    distance: Distance = "embedding"
    embedding: EmbeddingConfig = field(default_factory=EmbeddingConfig)

    def __post_init__(self) -> None:
        valid = get_args(Distance)
        if self.distance not in valid:
            raise ValueError(f"unknown distance '{self.distance}'; valid: {', '.join(valid)}")

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        if self.distance == "embedding":
            return {}
        return {"embedding": f"distance={self.distance} compares tokens"}


@dataclass(frozen=True)
class SubgoalConfig:
    """When to go on to the next image of a goal sequence.

    ``auto``: once the cost of the present image is low enough or has stopped falling, between the
    least and the most steps.
    """

    # by progress, or each image for a fixed number of steps
    switching: Literal["auto", "fixed"] = "auto"
    # steps for each image, the last number for all further ones; the paper's 4, 10, 4
    fixed_steps: tuple[int, ...] = (4, 10, 4)
    min_steps: int = 2  # least steps for an image
    max_steps: int = 9  # most steps for an image that is not the last
    last_steps: int = 12  # most steps for the last image
    # cost at which the next image's turn has come; the last image is brought about until its cost
    # no longer falls
    reached: float = 0.02
    stall_steps: int = 3  # steps without progress before the next image
    stall_gain: float = 0.01  # relative fall of the cost that counts as progress
    # cost of the last image below which only near_share of each move is made: what is read from
    # one frame is wrong by about as much, and whole moves would follow its noise
    near_cost: float = 0.03
    near_share: float = 0.5  # 1: whole moves

    def __post_init__(self) -> None:
        if not 0 < self.near_share <= 1:
            raise ValueError(f"near_share {self.near_share} must be above 0 and at most 1")

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        found = {"near_cost": "near_share=1"} if self.near_share == 1 else {}
        if self.switching == "auto":
            return {**found, "fixed_steps": "it belongs to switching=fixed"}
        return found | dict.fromkeys(
            ("min_steps", "max_steps", "last_steps", "reached", "stall_steps", "stall_gain"),
            "it belongs to switching=auto",
        )


@dataclass(frozen=True)
class HierarchyConfig:
    """The sub-goals that the planner sets itself around a gripper event."""

    approach_m: float = 0.10  # height above the event where approach and retreat end [m]
    routes: bool = True  # imagine ways round what stands before a goal image; false: straight on


@dataclass(frozen=True)
class AgentConfig:
    """The planner: how it searches, what it minimises, how it computes."""

    cem: CEMConfig = field(default_factory=CEMConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    subgoals: SubgoalConfig = field(default_factory=SubgoalConfig)
    # do nothing and say so where the places of hand and object that are read from a goal image are
    # expected to be further off than this together, an axis [m]; null: always act
    most_unsure_m: float | None = None
    # compute in bfloat16; false: in float32; null: in the one that the device multiplies faster in
    bf16: bool | None = None
    # most memory that imagining takes at once [MiB]; null: chosen by the device
    memory_mb: float | None = None
    # fuse the predictor with torch.compile; the first plan takes up to a minute more
    compile: bool = False
    int8: bool = False  # imagine with 8-bit integer products, on CPUs that have them


ENGINE = ("memory_mb", "compile", "int8")  # of AgentConfig: how the predictor computes
BOUNDS = ("max_move_m", "max_turn_rad", "max_grip")  # of CEMConfig

WORLD_MODEL = ("planner", "flat", "hierarchical", "released")  # of Policy
LATENT = ("planner", "flat")  # of Policy: those that any world model serves
SERVO = ("servo", "hierarchical_servo")  # of Policy
Policy = Literal[
    "planner", "flat", "hierarchical", "released", "servo", "hierarchical_servo", "random",
    "stand_still", "inverse_dynamics", "simulator_embedding", "simulator_state",
]
Goal = Literal["subgoals", "single"]
ImaginedBy = Literal["trained", "random", "shuffled"]
WorldModel = Literal["vjepa2_ac", "lewm"]


@dataclass(frozen=True)
class PolicyConfig:
    """Which agent, from which weights.

    planner: CEM with the world model, with its own sub-goals when it is given a single goal image.
    flat: the same without its own sub-goals; hierarchical: with them towards every goal image.
    released: the planner published with V-JEPA 2-AC, as it is, with the settings released.*.
    servo, hierarchical_servo: the sub-goals of planner and of hierarchical, but no world model: a
    straight line to the hand pose read from the goal image or of the sub-goal.
    inverse_dynamics, random, stand_still: do not plan.
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
    # what sees and imagines: encoder and predictor of V-JEPA 2-AC; or the LeWorldModel of
    # checkpoint= (`worldmodel lewm`), whose cost is the distance of its latents
    world_model: WorldModel = "vjepa2_ac"
    # what imagines: the trained predictor; one of random weights; or the trained one, but every
    # sample gets the cost of another sample's actions
    predictor: ImaginedBy = "trained"
    blind: bool = False  # the camera shows black to the agent; the goal images are real
    agent: AgentConfig = field(default_factory=AgentConfig)
    released: ReleasedConfig = field(default_factory=ReleasedConfig)
    hierarchy: HierarchyConfig = field(default_factory=HierarchyConfig)

    @property
    def reads(self) -> bool:
        """Whether a readout is loaded."""
        if self.policy == "released" or self.lewm:
            return False
        embeds = self.agent.objective.distance == "embedding"
        return embeds or self.readout is not None or self.policy in SERVO

    @property
    def lewm(self) -> bool:
        """Whether the agent plans with a LeWorldModel."""
        return self.world_model == "lewm" and self.policy in LATENT

    @property
    def sets_subgoals(self) -> bool:
        """Whether the agent sets sub-goals of its own towards each goal image."""
        if self.lewm:
            return False
        embeds = self.agent.objective.distance == "embedding"
        alone = self.policy in ("planner", "servo") and self.goal == "single"
        return embeds and (alone or self.policy in ("hierarchical", "hierarchical_servo"))

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        why, cem = f"policy={self.policy}", self.agent.cem
        found = {} if self.policy in LATENT else {"world_model": why}
        if self.policy == "released":
            found.update(dict.fromkeys(("calibration", "readout", "hierarchy"), why))
            found.update(idle_but(self.agent, "agent", ("memory_mb",), why))
            if self.goal == "single":
                found["released.steps"] = "goal=single has one image"
            return found
        found["released"] = why
        if self.policy not in WORLD_MODEL:
            found["predictor"] = why
        if self.policy == "simulator_state":
            found["blind"] = why
        if self.policy in ("random", "stand_still"):
            found.update(dict.fromkeys(
                ("checkpoint", "calibration", "readout", "device", "blind", "hierarchy"), why
            ))
            if self.policy == "stand_still":
                return {**found, "agent": why}
            found.update(idle_but(self.agent, "agent", ("cem",), why))
            return {**found, **idle_but(cem, "agent.cem", BOUNDS, why)}
        if self.policy in SERVO:
            found.update(idle_but(self.agent, "agent", ("cem", "bf16"), why))
            found.update(idle_but(cem, "agent.cem", (*BOUNDS, "grip_threshold"), why))
            if not self.sets_subgoals:
                found["hierarchy"] = "it belongs to policy=hierarchical_servo, or goal=single"
            return {**found, "hierarchy.routes": why} if self.sets_subgoals else found
        near = ("agent.subgoals.near_cost", "agent.subgoals.near_share")
        if self.lewm:
            found.update(dict.fromkeys(
                ("calibration", "readout", "agent.objective", *near,
                 *(f"agent.{name}" for name in ENGINE)), "world_model=lewm",
            ))
        if self.policy in ("inverse_dynamics", "simulator_state"):
            found.update(dict.fromkeys((*near, "agent.most_unsure_m"), why))
        if self.agent.objective.distance != "embedding":
            found.update(dict.fromkeys(
                ("agent.cem.refit", *near), "it belongs to agent.objective.distance=embedding"
            ))
            found["agent.most_unsure_m"] = "it belongs to agent.objective.distance=embedding"
        elif self.policy == "simulator_state":  # its cost is a number, not a vector
            found["agent.cem.refit"] = why
        elif cem.refit == "least_squares":
            found.update(dict.fromkeys(
                ("agent.cem.momentum_mean", "agent.cem.momentum_std"), "refit=least_squares"
            ))
        if self.policy not in WORLD_MODEL:
            found["calibration"] = why
            found.update({f"agent.{name}": why for name in ENGINE})
        if self.policy == "inverse_dynamics":
            found.update(idle_but(cem, "agent.cem", (*BOUNDS, "grip_threshold"), why))
        if self.policy == "simulator_state":
            found.update(dict.fromkeys(
                ("readout", "agent.bf16", "agent.objective.distance",
                 "agent.objective.embedding.object_weight",
                 "agent.objective.embedding.unsure_m"), why,
            ))
        if not self.sets_subgoals:
            found["hierarchy"] = "it belongs to policy=hierarchical, or planner with goal=single"
        if self.goal == "single":
            found["agent.subgoals.max_steps"] = "goal=single has no image before the last"
        return found

    @property
    def samples(self) -> bool:
        """Whether the agent draws random numbers."""
        return self.policy not in ("stand_still", "inverse_dynamics", *SERVO)
