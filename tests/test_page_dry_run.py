"""A dry run goes on in the model's imagination, and stays within the limits."""

import numpy as np
import pytest
import torch
from conftest import smooth_images

from arm_worldmodel.page.imagined_arm import ImaginedArm
from arm_worldmodel.page.reins import Reins
from arm_worldmodel.page.watch import Watch
from planners.agent import PlanningAgent
from planners.baselines import StandStill
from planners.config import AgentConfig, CEMConfig, PolicyConfig
from planners.load import make_agent
from planners.search import ImaginedOutcomes
from robot_data.loop import run_episode
from robot_data.pose import compose
from robots.limits import Limits, SafetyError
from robots.link import Inbox

STATE = np.array([0.45, 0.1, 0.2, 3.1, 0.0, 0.0, 0.2])
LARGE = np.array([0.3, 0.0, 0.4, 0.0, 0.0, 0.1, 1.0])


@pytest.fixture(scope="module")
def agent():
    cem = CEMConfig(samples=6, elites=3, iterations=1)
    return make_agent(PolicyConfig(policy="flat", agent=AgentConfig(cem=cem, bf16=False)))


def imagined(agent, limits=None):
    image, goal = smooth_images(2, 128)
    env = ImaginedArm(agent, {"image": image, "state": STATE}, [goal], ["goal"], limits or Limits())
    env.reset()
    return env


def test_the_agent_sees_what_its_model_imagines(agent):
    env = imagined(agent)
    assert env.sees
    move = np.array([0.05, 0.0, -0.02, 0.0, 0.0, 0.1, 0.1])
    seen, *_ = env.step(move)
    np.testing.assert_allclose(seen["state"], compose(STATE, move))
    assert isinstance(agent, PlanningAgent)
    outcomes = agent.search.outcomes
    assert isinstance(outcomes, ImaginedOutcomes)
    real = agent.perception.view({"image": seen["image"], "state": STATE})
    expected = outcomes.after(real, torch.from_numpy(move)[None, None].float())[0]
    np.testing.assert_allclose(seen["tokens"], expected.numpy(), atol=1e-5)
    view = agent.perception.view(seen)
    assert not torch.allclose(view.tokens, real.tokens, atol=1e-2)
    torch.testing.assert_close(view.tokens[0], torch.from_numpy(seen["tokens"]))


def test_the_loop_of_a_real_run_leads_through_imagination(agent):
    env, watch = imagined(agent), Watch()
    result = run_episode(env, agent, 0, 3, "subgoals", [watch])
    assert result.steps == len(watch.lines) == len(watch.way) - 1 == 3
    np.testing.assert_array_equal(watch.way[0], STATE[:3])
    assert watch.lines[0].startswith("1. goal 0, move")


def test_an_imagined_hand_keeps_to_the_limits(agent):
    limits = Limits(workspace_high_m=(0.47, 0.3, 0.4))
    seen, *_ = imagined(agent, limits).step(LARGE)
    assert seen["state"][0] == 0.47
    assert np.linalg.norm(seen["state"][:3] - STATE[:3]) <= limits.step_m + 1e-9
    assert seen["state"][6] == pytest.approx(STATE[6] + limits.step_grip)


def test_an_agent_without_a_model_goes_on_seeing_the_first_picture():
    env = imagined(StandStill())
    assert not env.sees
    seen, *_ = env.step(np.zeros(7))
    assert "tokens" not in seen


class Wire:
    """A way to the arm that keeps what is sent."""

    def __init__(self):
        self.inbox, self.sent = Inbox(), []

    def now(self):
        return 1.0

    def send(self, action, planned_on):
        self.sent.append(planned_on)

    def alive(self):
        self.sent.append("alive")

    def release(self):
        self.sent.append("released")

    def call(self, service):
        return True, service

    def close(self):
        raise AssertionError("a run does not close the way to the arm")


def test_nothing_goes_through_reins_that_were_cut():
    wire = Wire()
    reins = Reins(wire)
    reins.send(np.zeros(7), 1.0)
    reins.alive()
    reins.cut("Stop was pressed")
    reins.cut("later")
    for send in (lambda: reins.send(np.zeros(7), 2.0), reins.alive):
        with pytest.raises(SafetyError, match="Stop was pressed") as error:
            send()
        assert error.value.code == "stopped"
    assert wire.sent == [1.0, "alive"]
    assert reins.call("recover") == (True, "recover")
    reins.close()
