"""What became of an action is told and recorded: taken, shortened or refused.

The environment of a real arm over a loop in this process, with a perfect arm and a clock of our
own."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from robot_data.loop import Decision, run_episode
from robot_data.recorder import EpisodeRecorder
from robots.arm_loop import ArmLoop
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.limits import Box, Limits
from robots.link import Inbox, Reading

START = np.array([0.45, 0.0, 0.3, np.pi, 0.0, 0.0])
PICTURE = np.zeros((128, 128, 3), np.uint8)
WALL = Box((0.3, -0.3, 0.01), (0.65, 0.3, 0.2))


class LoopLink:
    """A link whose time goes on with every action, until the arm rests."""

    def __init__(self) -> None:
        self.inbox, self.pose, self.t = Inbox(), START.copy(), 100.0
        self.loop = ArmLoop(Limits(keep_out=(WALL,)), control_hz=5.0)
        self.run(0.5)

    def run(self, seconds):
        for _ in range(round(seconds / 0.02)):
            self.t += 0.02
            turn = Rotation.from_euler("xyz", self.pose[3:]).as_quat()
            self.loop.pose(self.pose[:3], turn, "fr3_link0", self.t, self.t)
            self.loop.gripper(0.0, self.t, self.t)
            self.loop.image(self.t, self.t)
            self.loop.alive(self.t)
            setpoint = self.loop.tick(self.t)
            if setpoint is not None:
                self.pose = setpoint.pose
        loop, status = self.loop, self.loop.status
        assert loop.state is not None
        assert loop.commanded is not None
        self.inbox.status(status.code, status.message, bool(loop.latch), status.refusal)
        self.inbox.image(self.t, lambda: PICTURE)
        self.inbox.reading(Reading(
            self.t, loop.state, loop.commanded, loop.taken, not loop.resting, status.accepted,
            status.refused, status.capped,
        ))

    def now(self):
        return self.t

    def send(self, action, planned_on):
        self.loop.action(action, planned_on, self.t)
        self.run(3.0)

    def alive(self):
        pass

    def call(self, service):
        return True, ""

    def close(self):
        pass


DECIDED = np.array([
    [0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],  # taken
    [0.0, 0.15, 0.0, 0.0, 0.0, 0.0, 0.0],  # twice the largest step
    [0.0, 0.0, -0.15, 0.0, 0.0, 0.0, 0.0],  # shortened, still through the wall
    [0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
])


class Script:
    def reset(self, goals, seed):
        self.steps = iter(DECIDED)

    def act(self, observation):
        return Decision(next(self.steps))


class Infos:
    def __init__(self):
        self.infos = []

    def on_start(self, start):
        assert "outcome" not in start.info

    def on_step(self, step):
        self.infos.append(step.info)

    def on_end(self):
        pass


def test_actions_are_recorded_as_decided_as_shortened_and_as_refused():
    link = LoopLink()
    link.pose[2] = 0.23
    link.loop = ArmLoop(link.loop.limits, control_hz=5.0)
    link.run(0.5)
    env = FrankaEnv(link, FrankaEnvConfig())
    recorder, infos = EpisodeRecorder({}), Infos()
    run_episode(env, Script(), 0, len(DECIDED), "none", [recorder, infos])
    episode = recorder.episode()
    outcomes = [info["outcome"] for info in infos.infos]
    assert [outcome.split(":")[0] for outcome in outcomes] == [
        "taken", "shortened", "refused", "shortened"
    ]
    assert "keep-out" in outcomes[2]
    step = Limits().step_m
    np.testing.assert_allclose(episode.actions[:4, :3], [
        [0.05, 0, 0], [0, step, 0], [0, 0, 0], [step, 0, 0],
    ], atol=1e-9)
    moved = np.diff(episode.states[:, :3], axis=0)
    np.testing.assert_allclose(episode.actions[:4, :3], moved, atol=2e-3)
    assert [kept["step"] for kept in episode.meta["not_as_decided"]] == [1, 2, 3]
    kept = np.array([kept["decided"] for kept in episode.meta["not_as_decided"]])
    np.testing.assert_allclose(kept, DECIDED[1:])
    assert [kept["outcome"] for kept in episode.meta["not_as_decided"]] == outcomes[1:]


def test_a_state_is_that_of_the_time_when_a_late_picture_was_taken():
    link = LoopLink()
    link.run(0.5)
    env = FrankaEnv(link, FrankaEnvConfig(camera_delay_s=0.2))
    went = [link.t + 0.05 * i for i in range(-6, 1)]
    for x, stamp in enumerate(went):  # on its way, 1 m a report, until this moment
        link.inbox.reading(Reading(
            stamp + 10.0, np.r_[float(x), np.zeros(6)], np.zeros(7), np.zeros(7), False, 0, 0, 0
        ))
    link.t += 10.0
    link.inbox.image(link.t, lambda: PICTURE)
    observation, info = env.reset()
    assert observation["state"][0] == pytest.approx(6 - 0.2 / 0.05)
    assert info["stamp"] == pytest.approx(link.t - 0.2)


def test_a_camera_that_is_too_late_is_refused():
    with pytest.raises(ValueError, match=r"camera_delay_s is 0\.7, expected 0 to 0\.5 s"):
        FrankaEnvConfig(camera_delay_s=0.7)
