"""Planning with one goal image: the state machine in the real simulator, with true events."""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from planners.config import AgentConfig, CEMConfig, HierarchyConfig, PolicyConfig
from planners.hierarchy import HierarchicalAgent
from planners.load import make_agent, planning_parts
from planners.stage import event_stages, push_stages
from planners.stages import AVERAGED, EventStages
from robot_data.loop import run_episode
from sims import tasks
from sims.mujoco_arm import MujocoArm
from worldmodel.config import GoalConditionedConfig
from worldmodel.goal_conditioned import EVENTS, SubgoalPredictor
from worldmodel.models import Models
from worldmodel.readout import POSITION_SCALE_M


class TrueEvents(SubgoalPredictor):
    """Reads the next event off the simulator; ``offset_m`` displaces the first grasp."""

    def __init__(self, config, env, offset_m=(0.0, 0.0, 0.0)):
        super().__init__(config)
        self.env, self.offset, self.asked, self.grasped = env, np.array(offset_m), [], 0

    def predict(self, present, goal, state):
        env = self.env
        away = np.linalg.norm(env.object_pose[:2] - env.draw.goal_xy_m)
        held = tasks.is_held(env)
        kind = "release" if held else ("grasp" if away > 0.04 else "none")
        low = tasks.grasp_height_m(env)
        place = env.draw.goal_xy_m if held else env.object_pose[:2]
        pose = np.r_[place, low, tasks.DOWN_RPY, 1.0]
        if self.offset.any() and self.asked.count("close-missed") == 0 and not held:
            pose[:3] += self.offset
        self.asked.append(kind)
        odds = torch.zeros(1, 3)
        odds[0, EVENTS.index(kind)] = 1.0
        return odds, torch.from_numpy(pose)[None].float()


@pytest.fixture(scope="module")
def arm():
    env = MujocoArm(task="pick_and_place")
    yield env
    env.close()


def agent_with(env, offset=(0.0, 0.0, 0.0), search=CEMConfig(), misread_m=0.0):  # noqa: B008
    models = Models.load(parts=["predictor", "readout"], device="cpu")
    encoder, readout, predictor = models.encoder, models.readout, models.predictor
    with torch.no_grad():
        readout.head.bias[1] += misread_m / POSITION_SCALE_M
    events = TrueEvents(GoalConditionedConfig(image=readout.config), env, offset)
    parts = planning_parts(encoder, predictor, readout, AgentConfig(cem=search))
    return HierarchicalAgent(*parts, events, HierarchyConfig()), events


class Stages:
    def __init__(self):
        self.names, self.goals = [], {}

    def on_start(self, start):
        pass

    def on_step(self, step):
        if not self.names or self.names[-1] != step.decision.subgoal:
            self.names.append(step.decision.subgoal)
            self.goals[step.decision.subgoal] = step.decision.goal_state

    def on_end(self):
        pass


def test_one_goal_image_picks_and_places_through_its_own_stages(arm):
    agent, _ = agent_with(arm)
    stages = Stages()
    result = run_episode(arm, agent, 2_000_001, 60, "single", [stages])
    assert result.success
    assert stages.names == [
        "grasp: above", "grasp: down", "grasp: close", "grasp: up", "release: above",
        "release: down", "release: open", "release: up", "goal image",
    ]
    assert result.finished
    above, _, close = (stages.goals[name] for name in stages.names[:3])
    np.testing.assert_allclose(above[:2], close[:2], atol=1e-6)  # as the stages say
    assert close[6] > above[6]
    assert stages.goals["goal image"].shape == (7,)


def test_the_hand_goes_where_its_stages_say_also_if_pictures_show_it_4_cm_beside(arm):
    agent, _ = agent_with(arm, misread_m=0.04)
    stages = Stages()
    result = run_episode(arm, agent, 2_000_001, 60, "single", [stages])
    assert result.success
    assert stages.names.count("grasp: close") == 1


class Disturbed:
    def __init__(self):
        self.at = None  # the stage in which the object was first elsewhere

    def on_start(self, start):
        pass

    def on_step(self, step):
        if self.at is None and step.info["disturbed"]:
            self.at = step.decision.subgoal

    def on_end(self):
        pass


def test_an_object_that_is_moved_meanwhile_is_grasped_where_it_is_then():
    env = MujocoArm(task="pick_and_place", disturbance=True)
    agent, _ = agent_with(env)
    stages, disturbed = Stages(), Disturbed()
    steps = tasks.max_steps(env.config.task)
    result = run_episode(env, agent, 2_000_001, steps, "single", [stages, disturbed])
    env.close()
    assert disturbed.at is not None
    assert stages.names.index(disturbed.at) < len(stages.names) - 1
    assert result.success


def test_once_an_object_is_put_down_a_goal_image_without_a_hand_asks_for_no_more():
    env = MujocoArm(task="pick_and_place", goal_hand="out")
    agent, _ = agent_with(env)
    decisions = []

    class Decided(Stages):
        def on_step(self, step):
            decisions.append(step.decision)

    result = run_episode(env, agent, 2_000_001, 60, "single", [Decided()])
    env.close()
    assert result.success
    assert result.finished
    assert [d.subgoal for d in decisions[-4:]] == ["release: up", *["goal image"] * AVERAGED]
    assert not any(d.action.any() or d.finished for d in decisions[-AVERAGED:-1])
    assert not decisions[-1].action.any()


def test_a_grasp_on_nothing_goes_up_open_and_is_tried_again(arm):
    # Closes above the object; a small search, because of the stages and not of the moves.
    agent, events = agent_with(arm, (0.0, 0.0, 0.07), CEMConfig(samples=12, elites=6))
    watched, raised = Stages(), []

    class Missed(Stages):
        def on_step(self, step):
            stage = agent.stages.stage
            if stage.name == step.decision.subgoal == "grasp: up" and stage.state[6] == 0.0:
                raised.append(stage.place)
            if step.decision.subgoal == "grasp: up" and step.following["state"][6] < 0.3:
                events.asked.append("close-missed")

    result = run_episode(arm, agent, 2_000_001, 60, "single", [watched, Missed()])
    assert watched.names[:4] == ["grasp: above", "grasp: down", "grasp: close", "grasp: up"]
    assert "close-missed" in events.asked
    assert raised  # open fingers have nothing: the hand alone goes up
    assert set(raised) == {None}
    assert watched.names.count("grasp: close") >= 2
    assert result.success


def test_another_stage_is_not_judged_by_the_progress_towards_the_last(arm, monkeypatch):
    agent, _ = agent_with(arm)
    observation, info = arm.reset(seed=2_000_001)
    agent.reset([info["goal_image"]], 0)
    agent.act(observation)
    agent._stall._lowest, agent._stall.steps = 1e-9, 2  # the next step would be the third
    decide = agent.stages.decide

    def revised(view):
        decide(view)
        agent.stages.steps = 0  # as where the next event is another one

    monkeypatch.setattr(agent.stages, "decide", revised)
    name = agent.act(observation).subgoal
    assert agent._stall.steps == 0
    assert agent._stall._lowest > 1e-3
    assert agent.stages.stage.name == name


def test_stages_approach_from_above_and_keep_the_gripper_until_the_event():
    pose = torch.tensor([0.5, 0.1, 0.03, 3.14, 0.0, -1.57, 0.5])
    for kind, before, after in (("grasp", 0.0, 1.0), ("release", 1.0, 0.0)):
        above, down, act, up = event_stages(kind, pose, HierarchyConfig(approach_m=0.1))
        heights = [float(s.state[2]) for s in (above, down, act, up)]
        assert heights == pytest.approx([0.13, 0.03, 0.03, 0.13])
        assert [float(s.state[6]) for s in (above, down, act, up)] == [before, before, after, after]
        for stage in (above, down, act, up):
            assert torch.equal(stage.state[:2], pose[:2])
            assert torch.equal(stage.state[3:6], pose[3:6])
            held = stage.state[6] == 1.0
            assert torch.equal(stage.place, stage.state[:3] if held else pose[:3])


def test_a_push_comes_down_behind_the_object_and_goes_through_to_its_place():
    hand = torch.tensor([0.4, 0.2, 0.2, 3.14, 0.0, -1.57, 1.0])
    place, goal = torch.tensor([0.5, 0.0, 0.03]), torch.tensor([0.6, 0.05, 0.03])
    stages = push_stages(hand, place, goal, HierarchyConfig(approach_m=0.1))
    names = [s.name for s in stages]
    assert names[:2] == ["push: above", "push: down"]
    assert names[-2:] == ["push: back", "push: up"]
    assert all(torch.equal(s.state[3:], hand[3:]) and s.place is None for s in stages)
    way = (goal - place)[:2] / (goal - place)[:2].norm()
    along = [float((s.state[:2] - place[:2]) @ way) for s in stages]
    aside = [float((s.state[:2] - place[:2]) @ torch.tensor([-way[1], way[0]])) for s in stages]
    assert aside == pytest.approx([0.0] * len(stages), abs=1e-6)
    assert along[0] == along[1] < -0.05  # behind the object, clear of it
    pushes = along[1:-2]
    assert pushes == sorted(pushes)
    assert max(b - a for a, b in pairwise(pushes)) <= 0.03 + 1e-6  # gently: tall things fall over
    assert pushes[-1] == pytest.approx(float((goal - place)[:2].norm()) - 0.035, abs=1e-6)
    assert along[-1] == along[-2] < pushes[-1]  # away from the object before going up
    assert stages[-1].state[2] == pytest.approx(float(stages[-2].state[2]) + 0.1)


class Seen(EventStages):
    """Reads the goal image, then what ``seen`` says of the present one; ``odds`` of ``EVENTS``."""

    hand = torch.tensor([0.4, 0.2, 0.2, 3.14, 0.0, -1.57, 1.0])
    goal = torch.tensor([0.6, 0.05, 0.03])

    def __init__(self, odds):
        events = SimpleNamespace(
            features=lambda tokens: tokens,
            predict=lambda present, goal, state: (torch.tensor([odds]), self.hand[None]),
        )
        super().__init__(SimpleNamespace(), events, HierarchyConfig(), 10)
        self.seen = self.hand, self.goal
        self.reset(torch.zeros(4, 8))

    def _seen(self, tokens):
        return self.seen

    def now(self, closedness, *place):
        self.seen = self.hand, torch.tensor(place)
        return SimpleNamespace(
            closedness=closedness, tokens=torch.zeros(1, 4, 8), state=torch.zeros(7)
        )


def test_when_the_object_is_in_its_place_the_event_that_is_likeliest_follows_the_push():
    stages = Seen([0.4, 0.5, 0.1])  # not as likely as it takes to leave another event
    stages.decide(stages.now(1.0, 0.5, 0.0, 0.03))
    assert stages.stage.name == "push: above"
    stages.decide(stages.now(1.0, 0.6, 0.05, 0.03))
    assert stages.stage.name == "grasp: above"


def test_an_object_that_was_handled_is_not_pushed_after_that():
    """With the hand out of the goal image, closed fingers are read in it for no reason."""
    stages = Seen([0.1, 0.9, 0.0])
    view = stages.now(0.0, 0.5, 0.0, 0.03)
    stages.decide(view)
    names = [stages.stage.name]
    for _ in range(4):
        stages.go_on(view)
        names.append(stages.stage.name)
    assert names[:4] == ["grasp: above", "grasp: down", "grasp: close", "grasp: up"]
    stages.decide(stages.now(1.0, 0.5, 0.0, 0.03))
    assert not stages.stage.name.startswith("push")


@pytest.mark.slow
def test_an_object_is_pushed_to_its_place_in_a_picture_without_the_hand_there():
    """The shipped weights; fingers that stay closed leave no other way."""
    env = MujocoArm(task="push")
    agent = make_agent(PolicyConfig(goal="single"))
    stages = Stages()
    try:
        result = run_episode(env, agent, 50_000_001, tasks.MAX_STEPS["push"], "single", [stages])
    finally:
        env.close()
    assert result.success
    assert stages.names[:2] == ["push: above", "push: down"]
    assert not any(name.startswith("grasp") for name in stages.names)
