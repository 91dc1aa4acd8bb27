"""The planner in Python: own costs, candidates, goals of one image or several."""

import numpy as np
import pytest
import torch
from PIL import Image

import arm_worldmodel as awm
from robot_data import pose
from robot_data.schema import DataError
from worldmodel.models import Models

STATE = [0.5, 0.0, 0.2, 3.14, 0.0, -1.57, 0.0]
SEARCH = awm.CEM(samples=30, iterations=2, elites=5)


@pytest.fixture(scope="module")
def model():
    return awm.load("shipped", device="cpu")


@pytest.fixture(scope="module")
def scene():
    """The start's picture and state, and the goal image, of an episode of reach."""
    env = awm.make("reach")
    observation, info = env.reset(seed=50_000_200)
    env.close()
    return observation, info["goal_image"]


def test_candidates_are_the_elites_and_where_the_hand_would_be(model, scene):
    observation, goal = scene
    agent = awm.Agent(model, planner=SEARCH, goal="subgoals")
    agent.reset([goal], seed=3)
    decision = agent.act({"image": Image.fromarray(observation["image"]),
                          "state": observation["state"].tolist()})
    found = decision.candidates
    assert found.actions.shape == (5, 1, 7)
    assert list(found.costs) == sorted(found.costs)
    assert decision.cost <= found.costs[0]
    for action, place in zip(found.actions[:, 0], found.positions, strict=True):
        reached = pose.compose(observation["state"], action)
        np.testing.assert_allclose(place, reached[:3], atol=1e-5)


def test_an_own_cost_decides(model, scene):
    observation, goal = scene
    seen = []

    def higher(tokens, states, goal):
        seen.append((tokens.shape, tokens.dtype, states.shape, goal.tokens.shape, goal.state.shape))
        return -states[:, 2]

    agent = awm.Agent(model, planner=SEARCH, cost=higher)
    agent.reset(goal)
    decision = agent.act(observation)
    assert decision.action[2] > 0.04
    assert decision.cost == pytest.approx(-decision.candidates.positions[0, 2], abs=1e-3)
    assert decision.present_cost == pytest.approx(-observation["state"][2], abs=1e-3)
    assert {d for _, d, *_ in seen} == {torch.float32}
    assert all(t[1:] == g == (64, 192) and s == (t[0], 7) and r == (7,) for t, _, s, g, r in seen)


def test_token_distance_is_the_built_in_one(model, scene):
    observation, goal = scene
    costs = []
    for options in ({"cost": awm.token_distance}, {"distance": "l1"}):
        agent = awm.Agent(model, planner=SEARCH, goal="subgoals", bf16=False, **options)
        agent.reset([goal], seed=5)
        costs.append(agent.act(observation).candidates.costs)
    np.testing.assert_allclose(costs[0], costs[1], rtol=1e-4)


def test_one_goal_image_gets_sub_goals_of_its_own_and_several_do_not(model, scene):
    observation, goal = scene
    agent = awm.Agent(model, planner=SEARCH)
    agent.reset([goal])
    assert agent.act(observation).subgoal
    agent.reset([goal, goal])
    assert not agent.act(observation).subgoal
    single = awm.Agent(model, planner=SEARCH, goal="single")
    single.reset([goal, goal])
    assert single.act(observation).subgoal


def test_what_is_wrong_is_named(model, scene):
    observation, goal = scene
    agent = awm.Agent(model, planner=SEARCH)
    agent.reset([goal])
    with pytest.raises(DataError, match=r"no 'state'; expected 7 numbers: x, y, z \[m\]"):
        agent.act({"image": observation["image"]})
    broken = awm.Agent(model, planner=SEARCH, cost=lambda tokens, states, goal: tokens.mean())
    broken.reset([goal])
    with pytest.raises(ValueError, match=r"cost returned \[\]; expected"):
        broken.act(observation)
    for options, told in (
        ({"grips_m": 0.2}, "did you mean 'grip_m'"),
        ({"grip_m": 0.2, "cost": awm.token_distance}, "grip_m: no effect with a cost"),
        ({"goal": "both"}, "auto, subgoals, single"),
        ({"goal": "single", "cost": awm.token_distance}, "leave out cost"),
        ({"near_cost": 0.1, "cost": awm.token_distance}, "near_cost' has no effect here"),
        ({"near_share": 0.5, "distance": "l1"}, "near_share' has no effect here"),
        ({"most_unsure_m": 0.02, "distance": "l1"}, "most_unsure_m' has no effect here"),
        ({"planner": awm.CEM(momentum_mean=0.3)}, "momentum_mean' has no effect here: refit"),
        ({"planner": awm.CEM(warm_start=False)}, "warm_start' has no effect here: horizon=1"),
        ({"goal": "single", "max_steps": 3}, "max_steps' has no effect here: goal=single"),
    ):
        with pytest.raises(ValueError, match=told):
            awm.Agent(model, **options)


def test_missing_weights_are_named_with_what_goes_without(model):
    parts = {p: model.models.part(p) for p in ("encoder", "predictor")}
    bare = awm.Model(Models("mine", parts))
    with pytest.raises(ValueError, match=r"no readout weights.*distance='l1'"):
        awm.Agent(bare)
    awm.Agent(bare, cost=awm.token_distance)
    with pytest.raises(ValueError, match="no predictor weights"):
        awm.Agent(awm.Model(Models("mine", {"encoder": parts["encoder"]})), cost=awm.token_distance)
