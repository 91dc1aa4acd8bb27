"""policy=servo: a straight line to the pose read from the goal image, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from planners.calibration import Calibration
from planners.config import CEMConfig, HierarchyConfig, PolicyConfig
from planners.load import make_agent, parts_of
from planners.perception import Perception
from planners.servo import LAST_STEPS, MOST_STEPS, ServoAgent
from robot_data.loop import run_episode
from robot_data.pose import compose
from sims import tasks
from sims.mujoco_arm import MujocoArm
from worldmodel.config import EncoderConfig, GoalConditionedConfig, ReadoutConfig
from worldmodel.encoder import Encoder
from worldmodel.goal_conditioned import EVENTS, SubgoalPredictor
from worldmodel.readout import Readout

DOWN = [3.1, 0.0, -1.5]


class Read(Readout):
    """A readout that reads the state written into an image's first pixels, as ``picture`` does."""

    def __init__(self):
        super().__init__(ReadoutConfig(48, 16, 32, 1, 2, 2))


def picture(state):
    """An image that shows a state [7], each number in a row of pixels."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[:7] = np.clip((np.asarray(state)[:, None, None] + 4) * 30, 0, 255).astype(np.uint8)
    return image


class Shown(Perception):
    """Reads states where ``picture`` has written them, to 0.02."""

    def encode(self, images):
        tokens = torch.zeros(len(images), 16, 48)
        tokens[:, :7, 0] = images[:, :7, 0, 0].float()
        return tokens

    def read(self, tokens):
        return tokens[:, :7, 0] / 30 - 4 + 0.5 / 30


@pytest.fixture(scope="module")
def perception():
    torch.manual_seed(0)
    return Shown(Encoder(EncoderConfig(64, 48, 2, 4)).eval(), Read().eval())


def follow(agent, goals, state, steps=40):
    """States [T, 7] on the way, and the decisions, in a world that does what it is told."""
    agent.reset([picture(goal) for goal in goals], 0)
    states, decisions = [np.asarray(state, float)], []
    for _ in range(steps):
        black = np.zeros((64, 64, 3), np.uint8)  # far from every goal: nothing is corrected
        decisions.append(agent.act({"image": black, "state": states[-1]}))
        states.append(compose(states[-1], decisions[-1].action))
        if decisions[-1].finished:
            break
    return np.array(states), decisions


def test_it_goes_straight_to_each_pose_in_turn_within_the_bounds(perception):
    agent = ServoAgent(perception, CEMConfig(max_move_m=0.05))
    goals = [[0.7, 0.2, 0.4, *DOWN, 0.0], [0.7, 0.2, 0.1, *DOWN, 1.0]]
    states, decisions = follow(agent, goals, [0.3, 0.0, 0.1, *DOWN, 0.0])
    assert decisions[-1].finished
    first = [d for d in decisions if d.goal_index == 0]
    way = np.array([d.action[:3] for d in first[:-2]])
    assert np.abs(way).max() <= 0.05 + 1e-6
    line = decisions[0].goal_state[:3] - states[0][:3]
    along = way @ line / np.linalg.norm(line) / np.linalg.norm(way, axis=1)
    assert along.min() > 0.999  # shortened, not bent at the bounds
    reached = next(d.goal_state for d in decisions if d.goal_index == 1)
    np.testing.assert_allclose(states[-1][:3], reached[:3], atol=0.012)
    assert states[-1][6] == 1.0


def test_an_image_that_is_not_reached_is_left_after_some_steps(perception):
    agent = ServoAgent(perception, CEMConfig(max_move_m=0.01))
    goals = [[0.9, 0.0, 0.4, *DOWN, 0.0], [0.3, 0.0, 0.1, *DOWN, 0.0]]
    _, decisions = follow(agent, goals, [0.3, 0.0, 0.1, *DOWN, 0.0])
    assert [d.goal_index for d in decisions].count(0) == MOST_STEPS
    assert decisions[-1].finished
    assert [d.goal_index for d in decisions].count(1) <= LAST_STEPS + 1


def test_fingers_that_something_stops_count_as_closed(perception):
    agent = ServoAgent(perception, CEMConfig())
    state = np.array([0.3, 0.0, 0.1, *DOWN, 0.4])
    goal = agent_goal(agent, state, 1.0)
    for step in range(4):
        decision = agent.act({"image": np.zeros((64, 64, 3), np.uint8), "state": goal})
        assert decision.finished == (step >= 2)  # two steps on every image
        assert decision.action[6] == pytest.approx(0.6, abs=0.1)


def agent_goal(agent, state, closedness):
    """Reset towards where ``state`` is, with other fingers; the state that was read, with the
    fingers of ``state``."""
    goal = state.copy()
    goal[6] = closedness
    agent.reset([picture(goal)], 0)
    black = np.zeros((64, 64, 3), np.uint8)
    read = agent.act({"image": black, "state": state}).goal_state.copy()
    agent.reset([picture(goal)], 0)
    read[6] = state[6]
    return read


def test_near_the_goal_the_pose_is_corrected_by_the_readouts_present_error(perception):
    agent = ServoAgent(perception, CEMConfig())
    goal = np.array([0.5, 0.1, 0.2, *DOWN, 0.0])
    agent.reset([picture(goal)], 0)
    read = perception.read(perception.encode(torch.from_numpy(picture(goal))[None]))[0].numpy()
    state = read.astype(float)
    state[:3] += [0.02, -0.01, 0.005]  # where the hand is, the picture says: at the goal
    moved = agent.act({"image": picture(goal), "state": state}).goal_state
    np.testing.assert_allclose(moved[:3], state[:3], atol=1e-4)
    eye = np.eye(3)
    perception.calibrate(Calibration(eye, np.zeros(3), eye, 100, 0.02, 0.01))
    agent.reset([picture(goal)], 0)
    less = agent.act({"image": picture(goal), "state": state}).goal_state
    perception.calibrate(None)
    np.testing.assert_allclose(less[:3] - read[:3], 0.5 * (moved[:3] - read[:3]), atol=1e-4)


def test_it_needs_a_readout_and_a_reset():
    encoder = Encoder(EncoderConfig(64, 48, 2, 4)).eval()
    with pytest.raises(ValueError, match="needs a readout"):
        ServoAgent(Perception(encoder), CEMConfig())
    agent = ServoAgent(Perception(encoder, Read().eval()), CEMConfig())
    with pytest.raises(RuntimeError, match="reset"):
        agent.act({"image": np.zeros((64, 64, 3), np.uint8), "state": np.zeros(7)})


def test_it_loads_no_predictor():
    assert parts_of(PolicyConfig(policy="servo")) == ["encoder", "readout"]
    single = PolicyConfig(policy="servo", goal="single")
    assert parts_of(single) == ["encoder", "readout", "subgoals"]
    assert not single.samples
    each = replace(single, policy="hierarchical_servo", goal="subgoals")
    assert parts_of(each) == ["encoder", "readout", "subgoals"]


class TrueEvents(SubgoalPredictor):
    """Says what the simulator knows."""

    def __init__(self, config, env):
        super().__init__(config)
        self.env = env

    def predict(self, present, goal, state):
        env = self.env
        held = tasks.is_held(env)
        away = np.linalg.norm(env.object_pose[:2] - np.asarray(env.draw.goal_xy_m))
        kind = "release" if held else ("grasp" if away > 0.04 else "none")
        place = env.draw.goal_xy_m if held else env.object_pose[:2]
        pose = np.r_[place, tasks.grasp_height_m(env), tasks.DOWN_RPY, 1.0]
        odds = torch.zeros(1, 3)
        odds[0, EVENTS.index(kind)] = 1.0
        return odds, torch.from_numpy(pose)[None].float()


@pytest.fixture(scope="module")
def arm():
    env = MujocoArm(task="pick_and_place")
    yield env
    env.close()


def test_one_goal_image_is_enough_through_the_stages_of_gripper_events(arm):
    shipped = make_agent(PolicyConfig(policy="servo"))
    assert isinstance(shipped, ServoAgent)
    seen = shipped.perception
    assert seen.readout is not None
    events = TrueEvents(GoalConditionedConfig(image=seen.readout.config), arm)
    agent = ServoAgent(seen, CEMConfig(), events, HierarchyConfig(), last_only=True)
    result = run_episode(arm, agent, 50_000_000, 60, "single")
    assert result.success
    assert result.finished


def test_stages_lead_to_every_image_of_a_sequence_in_turn(arm):
    shipped = make_agent(PolicyConfig(policy="servo"))
    assert isinstance(shipped, ServoAgent)
    seen = shipped.perception
    assert seen.readout is not None
    events = TrueEvents(GoalConditionedConfig(image=seen.readout.config), arm)
    agent = ServoAgent(seen, CEMConfig(), events, HierarchyConfig())
    _, info = arm.reset(seed=50_000_000)
    images, last = info["subgoal_images"], info["subgoal_images"][-1]
    paper = [images[2], images[4], last]  # grasped, above the goal, placed
    watcher = Watcher()
    assert run_episode(arm, agent, 50_000_000, 60, paper, [watcher]).steps > 10
    assert watcher.indices == sorted(watcher.indices)
    assert set(watcher.indices) == {0, 1, 2}


class Watcher:
    """Keeps which goal image was in force."""

    def __init__(self):
        self.indices = []

    def on_start(self, start):
        pass

    def on_step(self, step):
        self.indices.append(step.decision.goal_index)

    def on_end(self):
        pass


def test_goal_sequences_are_followed_without_a_world_model(arm):
    agent = make_agent(PolicyConfig(policy="servo"))
    results = [run_episode(arm, agent, seed, 60) for seed in (50_000_001, 50_000_002)]
    assert all(r.success for r in results)
