"""Policies that produce training data: random play and noisy scripted pick-and-place.

They read simulator state; what they record is only what any robot records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robot_data import pose as pose_math
from robot_data.loop import Decision, run_episode
from robot_data.recorder import EpisodeRecorder
from robot_data.schema import Episode
from sims import scene, tasks
from sims.config import ArmConfig
from sims.crossing import crossing_waypoints
from sims.draws import BESIDE_M, free_place
from sims.waypoints import Waypoint, waypoint_action, waypoint_reached

if TYPE_CHECKING:
    from sims.arm import Arm
    from sims.mujoco_arm import MujocoArm

Array = NDArray[np.float64]
PUSH_FROM_M = 0.09  # from the object's centre to where the hand comes down
PUSH_HEIGHT_M = 0.02, 0.05  # of the tool centre point; closed fingers reach 3 cm lower
PUSH_STRIDE_M = 0.025, 0.15  # of the hand, from one waypoint of a push to the next
PUSH_CONTACT_M = 0.03  # from the closed fingers to the centre of what they push
MISSED_M = 0.015, 0.06  # from the object to where a grasp that is meant to miss comes down
PARKED_FRAMES = 10  # at the end of an episode, with the arm out of the picture
PUSH_ABOVE_M = 0.12  # height above the push of the ways to it and from it


@dataclass(frozen=True)
class CollectConfig:
    """What is recorded: random play, carrying, pushing, and scripted pick-and-place (the rest), all
    with noise."""

    frames: int = 41  # frames of an episode [control steps]
    play_fraction: float = 0.3  # share of episodes of random play
    carry_fraction: float = 0.2  # share of episodes that pick up, then play with the object
    # share of episodes that put the object down, push it from there with closed fingers, pick it up
    # again, and so on; once round takes about 45 frames
    push_fraction: float = 0.0
    # share of the grasps of the other scripts that come down 15 to 60 mm beside the object
    miss_fraction: float = 0.0
    # share of episodes in whose last ten frames the arm is parked out of the picture, as it is in
    # goal pictures of a person
    park_fraction: float = 0.0
    # a wall stands on the table, and the scripts that would pick and place cross it: over, beside,
    # into it
    wall: bool = False
    cup_fraction: float = 0.2  # share of episodes with a cup; the others have a box
    noise_m: float = 0.008  # noise of waypoints and actions, standard deviation [m]
    tolerance_m: float = 0.012  # distance to a waypoint that counts as reached [m]
    # lower corner of the box of random play, base frame [m]
    play_low_m: tuple[float, float, float] = (0.37, -0.19, 0.02)
    play_high_m: tuple[float, float, float] = (0.63, 0.19, 0.27)  # upper corner of that box [m]


def play_waypoints(config: CollectConfig, rng: np.random.Generator, closed: bool | None = None):
    """Endless random hand poses; ``closed`` True keeps the gripper closed."""
    low, high = np.array(config.play_low_m), np.array(config.play_high_m)
    while True:
        place = rng.uniform(low, high)
        if rng.random() < 0.4:  # low over the table more often: that is where tasks happen
            place[2] = rng.uniform(low[2], 0.09)
        pose = np.r_[place, tasks.DOWN_RPY, 0.0]
        turn = np.r_[0, 0, 0, rng.normal(0, 0.12, 2), rng.uniform(-0.5, 0.5), 0]
        pose = pose_math.compose(pose, turn)
        pose[6] = 1.0 if closed else rng.choice([0.0, 0.0, 1.0, rng.uniform(0, 1)])
        yield Waypoint("play", pose, int(rng.integers(2, 8)))


def _grasps(waypoints, rng: np.random.Generator, config: CollectConfig):
    """Waypoints that grasp, as ``_jitter`` gives them, or well beside the object."""
    aside = np.zeros(3)
    if config.miss_fraction and rng.random() < config.miss_fraction:
        way = rng.uniform(0, 2 * np.pi)
        aside[:2] = rng.uniform(*MISSED_M) * np.array([np.cos(way), np.sin(way)])
    return _jitter(waypoints, rng, config, aside)


def _jitter(waypoints, rng: np.random.Generator, config: CollectConfig, aside: Array | float = 0.0):
    """Scripted waypoints, each a little off, so that grasps also fail now and then; all of them
    ``aside`` [3] (m)."""
    offset = rng.normal(0, config.noise_m, 3) * (rng.random() < 0.5) + aside
    for waypoint in waypoints:
        pose = waypoint.pose.copy()
        pose[:3] += offset + rng.normal(0, 0.003, 3)
        pose[2] = max(pose[2], 0.016)
        yield replace(waypoint, pose=pose)


def push_waypoints(
    env: Arm, config: CollectConfig, rng: np.random.Generator
) -> Iterator[Waypoint]:
    """Behind the object with closed fingers, through its place in one straight stroke, up and away:
    between two places that gripper events tell, it is known all the way (``robot_data.pushed``)."""
    place = env.object_pose[:2].copy()
    low, high = np.array(env.config.task.object_low_m), np.array(env.config.task.object_high_m)
    goal = rng.uniform(low, high)
    way = goal - place
    distance = float(np.linalg.norm(way))
    way = way / max(distance, 1e-6)
    height, stride = rng.uniform(*PUSH_HEIGHT_M), rng.uniform(*PUSH_STRIDE_M)
    behind, ahead = place - PUSH_FROM_M * way, place + way * (distance - PUSH_CONTACT_M)
    turn = np.r_[0, 0, 0, 0, 0, rng.uniform(-0.5, 0.5), 0]

    def at(xy: Array, z: float) -> Array:
        return pose_math.compose(np.r_[xy, z, tasks.DOWN_RPY, 1.0], turn)

    yield Waypoint("above_start", at(behind, height + PUSH_ABOVE_M), 12)
    yield Waypoint("behind_object", at(behind, height), 5)
    strides = int(np.ceil(np.linalg.norm(ahead - behind) / stride))
    for share in np.arange(1, strides + 1) / strides:
        yield Waypoint("pushed", at(behind + share * (ahead - behind), height), 4)
    yield Waypoint("above_end", at(ahead, height + PUSH_ABOVE_M), 4)


def _elsewhere(env: Arm, rng: np.random.Generator) -> list[Waypoint]:
    """Pick the object up and put it down at another place of the task's, where nothing stands."""
    low, high = np.array(env.config.task.object_low_m), np.array(env.config.task.object_high_m)
    taken = [(env.pose_of(name)[:2], BESIDE_M) for name in env.things if name != "object"]
    x, y = free_place(low, high, taken, rng)
    draw = replace(env.draw, object_yaw_rad=_yaw_rad(env), goal_xy_m=(float(x), float(y)))
    return tasks.PickAndPlace().waypoints(env, draw)


def _yaw_rad(env: Arm) -> float:
    """How far the object is turned about the vertical, by a quarter turn at most either way."""
    w, x, y, z = env.object_pose[3:]
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    return float((yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4)


def script(
    env: Arm, config: CollectConfig, rng: np.random.Generator
) -> Iterator[Waypoint]:
    """The waypoints of one recorded episode, endless."""
    kind = rng.random()
    if kind < config.play_fraction:
        yield from play_waypoints(config, rng)
    elif kind < config.play_fraction + config.carry_fraction:
        yield from _grasps(tasks.pick_waypoints(env, env.draw), rng, config)
        carried = play_waypoints(config, rng, closed=True)
        for _ in range(int(rng.integers(2, 6))):
            yield next(carried)
        yield from play_waypoints(config, rng)
    elif kind < config.play_fraction + config.carry_fraction + config.push_fraction:
        while True:  # both ends of a push are known, and so its way (``robot_data.pushed``)
            yield from _jitter(_elsewhere(env, rng), rng, config)
            yield from _jitter(push_waypoints(env, config, rng), rng, config)
    elif config.wall:
        yield from _jitter(crossing_waypoints(env, rng), rng, config)
        yield from play_waypoints(config, rng)
    else:
        yield from _grasps(tasks.PickAndPlace().waypoints(env, env.draw), rng, config)
        yield from play_waypoints(config, rng)


class Expert:
    """An agent that follows the script of one recorded episode, at a speed and with noise of its
    own.  It reads simulator state."""

    def __init__(self, env: Arm, config: CollectConfig) -> None:
        self.env, self.config = env, config

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """Draw the script, after the environment was reset with the same seed."""
        self.rng = rng = np.random.default_rng([seed, 7])
        self._speed = rng.uniform(0.5, 1.25)
        self._noise_m = rng.choice([0.0, 1.0]) * rng.uniform(0.2, 1.0) * self.config.noise_m
        self._waypoints = script(self.env, self.config, rng)
        self._waypoint, self._used = next(self._waypoints), 0

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """The next move towards the waypoint in force."""
        state, command, rng = observation["state"], self.env.commanded, self.rng
        if self._used >= self._waypoint.max_steps or waypoint_reached(
            self._waypoint, state, command, self.config.tolerance_m
        ):
            self._waypoint, self._used = next(self._waypoints), 0
        self._used += 1
        action = waypoint_action(self._waypoint, state, command)
        action[:3] = action[:3] * self._speed + rng.normal(0, self._noise_m, 3)
        action[3:6] += rng.normal(0, self._noise_m * 3, 3)
        return Decision(action)


def record_episode(env: Arm, config: CollectConfig, seed: int) -> Episode:
    """Reset ``env`` with ``seed`` and record one episode; the same seed gives the same episode."""
    recorder = EpisodeRecorder(
        {
            "control_hz": env.config.control_hz, "object": env.config.scene.object,
            "source": env.source,
        },
        privileged=("object_pose",),
    )
    parked = np.random.default_rng([seed, 13]).random() < config.park_fraction
    moves = config.frames - 1 - PARKED_FRAMES * parked
    if moves < 1:
        raise ValueError(f"frames={config.frames}; with collect.park_fraction give at least "
                         f"{PARKED_FRAMES + 2}")
    run_episode(
        env, Expert(env, config), seed, moves, "none", [recorder], options={"goal": False}
    )
    if parked:
        env.park()
        for _ in range(PARKED_FRAMES):
            recorder.keep(*env.seen())
    return recorder.episode()


def make_recorder(arm: ArmConfig, kind: scene.ObjectKind, wall: bool = False) -> MujocoArm:
    """The environment that records episodes with one kind of object, and with a wall or without."""
    from sims.mujoco_arm import MujocoArm

    name = "reach_around" if wall else "pick_and_place"
    return MujocoArm(
        replace(arm, scene=replace(arm.scene, object=kind), task=replace(arm.task, name=name))
    )


def object_of_seed(config: CollectConfig, seed: int) -> scene.ObjectKind:
    """Box or cup, by the seed."""
    draw = np.random.default_rng([seed, 11]).random()
    return "cup" if draw < config.cup_fraction else "box"
