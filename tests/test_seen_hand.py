"""A camera that shows the arm otherwise than it is ends an episode on the arm."""

import gymnasium
import numpy as np
import pytest

from arm_worldmodel.seen_hand import FAR_M, IN_A_ROW, SeenHand, watched
from planners.perception import Perception
from sims.mujoco_arm import MujocoArm
from worldmodel.models import Models

SIDE = np.array([0.0, 0.07, 0.0, 0.0, 0.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def perception():
    models = Models.load(parts=["readout"], device="cpu")
    return Perception(models.encoder, models.readout)


@pytest.fixture(scope="module")
def seen():
    """A hand far to a side, as the simulator's camera sees it."""
    env = MujocoArm(task="reach")
    try:
        observation, _ = env.reset(seed=7_300_000)
        for _ in range(4):
            observation, *_ = env.step(SIDE * np.sign(observation["state"][1] or 1.0))
        return observation
    finally:
        env.close()


class Shows(gymnasium.Env):
    """An arm that rests, and whose camera shows what it is told."""

    def __init__(self, *pictures):
        self.pictures, self.count = pictures, 0

    def step(self, action):
        self.count += 1
        return self.pictures[self.count % len(self.pictures)], 0.0, False, False, {}


def of(seen, image):
    return {**seen, "image": np.ascontiguousarray(image)}


def watch(perception, *pictures, answer=(True, "")):
    stops = []
    env = SeenHand(Shows(*pictures), perception, lambda: stops.append(1) or answer)
    return env, stops


def test_a_hand_that_is_seen_where_it_is_ends_nothing(perception, seen):
    assert abs(seen["state"][1]) > 0.1
    env, stops = watch(perception, seen)
    assert not any(env.step(None)[3] for _ in range(3 * IN_A_ROW))
    assert not stops


def test_injection_a_mirrored_camera_stops_the_arm_while_it_runs(perception, seen):
    env, stops = watch(perception, of(seen, seen["image"][:, ::-1]))
    assert not any(env.step(None)[3] for _ in range(IN_A_ROW - 1))
    assert not stops
    *_, truncated, info = env.step(None)
    assert truncated
    assert stops == [1]
    assert info["fault_code"] == "wrong_camera"
    assert "mirrored" in info["fault"]
    assert "The arm was stopped" in info["fault"]


def test_a_stop_that_nobody_confirms_is_told(perception, seen):
    env, _ = watch(perception, of(seen, seen["image"][:, ::-1]), answer=(False, "no answer"))
    for _ in range(IN_A_ROW):
        *_, info = env.step(None)
    assert "NOT CONFIRMED: no answer" in info["fault"]


def test_steps_in_which_the_hand_is_hidden_end_nothing_where_it_is_seen_between(perception, seen):
    dark = of(seen, np.zeros_like(seen["image"]))
    env, stops = watch(perception, seen, *[dark] * (IN_A_ROW - 1))
    assert env.miss(dark) > FAR_M
    assert not any(env.step(None)[3] for _ in range(4 * IN_A_ROW))
    assert not stops


def test_an_agent_that_reads_no_hand_is_not_watched(perception, seen):
    class Blind:
        def reset(self, goals, seed): ...
        def act(self, observation): ...

    env, reads = Shows(seen), Blind()
    assert watched(env, reads, lambda: (True, "")) is env
    reads.perception = perception
    made = watched(env, reads, lambda: (True, ""))
    assert isinstance(made, SeenHand)
    assert made.env is env
