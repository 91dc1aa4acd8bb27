import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from planners import embedding as embedding_module
from planners.agent import PlanningAgent
from planners.budget import fit
from planners.cem import CEM
from planners.config import (
    AgentConfig,
    CEMConfig,
    EmbeddingConfig,
    ObjectiveConfig,
    SubgoalConfig,
)
from planners.embedding import Embedding
from planners.goals import GoalImages, unknown_picture
from planners.load import planning_parts
from planners.objective import DISTANCES, pose_parts
from planners.perception import Perception
from planners.subgoals import SubgoalSequence
from robot_data.images import fit_square
from robot_data.schema import DataError
from worldmodel.config import EncoderConfig, PredictorConfig, ReadoutConfig
from worldmodel.encoder import Encoder
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout

TARGET = torch.tensor([0.03, -0.05, 0.01, 0.0, 0.04, -0.03, 0.5])


def bowl(actions):
    return (actions.sum(1) - TARGET).square().sum(-1)


def test_cem_finds_the_minimum():
    plan = CEM(CEMConfig(samples=400, iterations=12, elites=30, horizon=1), seed=0).plan(bowl)
    assert (plan.actions[0] - TARGET).abs().max() < 0.02
    assert list(plan.cost_per_iteration) == sorted(plan.cost_per_iteration, reverse=True)
    assert bowl(plan.actions[None]).item() < 1e-3


def test_a_plan_tells_the_elites_of_its_last_iteration():
    plan = CEM(CEMConfig(samples=50, iterations=3, elites=6, horizon=2), seed=0).plan(bowl)
    assert plan.elites.shape == (6, 2, 7)
    torch.testing.assert_close(plan.elite_costs, bowl(plan.elites))
    assert plan.elite_costs.tolist() == sorted(plan.elite_costs.tolist())
    assert plan.cost <= plan.elite_costs[0]


def test_a_plan_tells_the_dearest_sequence_that_was_tried():
    tried = []

    def watched(actions):
        tried.append(actions.clone())
        return bowl(actions)

    plan = CEM(CEMConfig(samples=50, iterations=3, elites=6, horizon=2), seed=0).plan(watched)
    every = torch.cat(tried)
    assert torch.equal(plan.dearest, every[bowl(every).argmax()])


def test_cem_is_seeded_and_warm_start_carries_over():
    config = CEMConfig(samples=64, iterations=3, elites=8, horizon=2)
    first, second = (CEM(config, seed=5) for _ in range(2))
    a, b = first.plan(bowl), second.plan(bowl)
    assert torch.equal(a.actions, b.actions)
    means = []

    def watch(actions):
        means.append(actions[0].clone())
        return bowl(actions)

    first.plan(watch)
    assert torch.equal(means[0][0], a.actions[1])  # the mean is the first sample
    first.reset(5)
    assert torch.equal(first.plan(bowl).actions, a.actions)


def test_cem_respects_bounds_and_gripper_threshold():
    seen = []

    def cost(actions):
        seen.append(actions)
        return -actions.abs().sum((1, 2))

    config = CEMConfig(max_move_m=0.02, max_turn_rad=0.0, max_grip=0.5)
    CEM(config).plan(cost)
    actions = torch.cat(seen)
    assert actions[..., :3].abs().max() <= 0.02
    assert actions[..., 3:6].abs().max() == 0.0
    grip = actions[..., 6].abs()
    assert grip.max() <= 0.5
    assert ((grip == 0) | (grip >= 0.25)).all()


def test_deadline_returns_the_best_so_far():
    def slow(actions):
        time.sleep(0.05)
        return bowl(actions)

    plan = CEM(CEMConfig(iterations=100, deadline_s=0.2)).plan(slow)
    assert plan.stopped_early
    assert 1 <= len(plan.cost_per_iteration) <= 4
    assert plan.seconds < 0.5
    assert torch.isfinite(plan.actions).all()


def test_a_deadline_takes_iterations_first_and_then_samples():
    def look():
        time.sleep(0.01)

    def evaluate(samples):
        time.sleep(0.0005 * samples)

    asked = CEMConfig(samples=100, iterations=8, elites=10)
    free = fit(asked, look, evaluate)
    assert free.cem == asked
    assert free.enough
    some = fit(replace(asked, deadline_s=0.28), look, evaluate)
    assert some.cem.samples == 100
    assert 2 <= some.cem.iterations <= 5
    assert "for 100 x 8 as configured" in str(some)
    few = fit(replace(asked, deadline_s=0.07), look, evaluate)
    assert 20 <= few.cem.samples <= 50
    assert few.cem.iterations == 2
    late = fit(replace(asked, deadline_s=0.012), look, evaluate)
    assert not late.enough
    assert "TOO SLOW" in str(late)


def test_the_deadline_counts_from_when_the_picture_came():
    def slow(actions):
        time.sleep(0.02)
        return bowl(actions)

    config = CEMConfig(iterations=100, deadline_s=0.3)
    whole = CEM(config).plan(slow)
    late = CEM(config).plan(slow, began=time.monotonic() - 0.2)
    assert len(late.cost_per_iteration) < len(whole.cost_per_iteration) / 2


def test_cem_refuses_costs_that_are_not_finite():
    with pytest.raises(ValueError, match="finite"):
        CEM(CEMConfig()).plan(lambda a: torch.full((len(a),), float("nan")))
    with pytest.raises(ValueError, match="elites"):
        CEMConfig(samples=5, elites=9)


@pytest.mark.parametrize("name", list(DISTANCES))
def test_every_distance_is_zero_at_the_goal_and_grows(name):
    torch.manual_seed(0)
    goal = torch.randn(64, 32)
    noise = torch.randn(64, 32)
    tokens = torch.stack([goal, goal + 0.1 * noise, goal + 0.5 * noise])
    cost = DISTANCES[name](tokens, goal)
    assert cost.shape == (3,)
    assert cost[0].abs() < 1e-5
    assert cost[0] < cost[1] < cost[2]


def test_pose_parts_are_in_metres_and_radians():
    goal = torch.tensor([0.5, 0.0, 0.2, 3.1, 0.0, -1.5, 1.0])
    state = torch.tensor([[0.5, 0.03, 0.16, 3.1, 0.0, -1.2, 0.25]])
    position, angle, grip = pose_parts(state, goal)
    assert position.item() == pytest.approx(0.05, abs=1e-6)
    assert angle.item() == pytest.approx(0.3, abs=1e-4)
    assert grip.item() == pytest.approx(0.75)


def test_an_embedding_without_a_readout_says_what_to_do():
    encoder = Encoder(EncoderConfig(64, 48, 2, 4))
    with pytest.raises(ValueError, match="no readout; train one"):
        GoalImages(Perception(encoder), AgentConfig())
    with pytest.raises(ValueError, match="valid: embedding, l1"):
        ObjectiveConfig(distance="l3")  # pyright: ignore


def test_a_readout_without_an_object_measures_the_hand_and_says_so(capfd):
    torch.manual_seed(0)
    embedding_module._said.clear()
    plain = Readout(ReadoutConfig(48, 16, 32, 1, 2, 2)).eval()
    made, _ = (Embedding(lambda: plain, EmbeddingConfig(), torch.float32) for _ in range(2))
    assert capfd.readouterr().err.count("does not read the object") == 1
    tokens = torch.randn(3, 16, 48)
    reader = plain.with_object()
    wide = Embedding(lambda: reader, EmbeddingConfig(object_weight=0.0), torch.float32)
    target = wide.target(tokens[0])
    target.weights[:10] = 1.0
    torch.testing.assert_close(
        made.offset(tokens, made.target(tokens[0])).norm(dim=-1),
        wide.offset(tokens, target).norm(dim=-1),
    )
    state = torch.tensor([0.5, 0.1, 0.2, 3.1, 0.1, -1.5, 0.7])
    assert made.of_state(state, torch.ones(3))[10:].abs().max() == 0


def test_automatic_switching_waits_until_the_cost_is_low_enough():
    sequence = SubgoalSequence(
        SubgoalConfig(min_steps=2, stall_steps=99, max_steps=99, reached=0.01), 3
    )
    assert [sequence.update(cost) for cost in (0.2, 0.1, 0.05, 0.011)] == [0] * 4
    assert sequence.update(0.009) == 1
    assert sequence.update(0.009) == 1  # at least min_steps on every image
    assert sequence.update(0.009) == 2
    for _ in range(5):
        sequence.update(0.009)  # low enough to go on, if there were more
    assert not sequence.finished


def test_the_last_image_is_left_when_its_cost_no_longer_falls():
    sequence = SubgoalSequence(SubgoalConfig(stall_steps=3, reached=0.02, last_steps=50), 1)
    for cost in (0.019, 0.015, 0.012, 0.010, 0.010, 0.010):
        sequence.update(cost)
        assert not sequence.finished
    sequence.update(0.010)
    assert sequence.finished


def test_switching_on_stall_and_at_fixed_steps():
    stalled = SubgoalSequence(SubgoalConfig(stall_steps=3, max_steps=50), 2)
    indices = [stalled.update(1.0) for _ in range(6)]
    assert indices[0] == 0
    assert indices[-1] == 1
    fixed = SubgoalSequence(SubgoalConfig(switching="fixed", fixed_steps=(4, 10, 4)), 3)
    indices = [fixed.update(1.0) for _ in range(18)]
    assert indices == [0] * 4 + [1] * 10 + [2] * 4


def embedding(**changes):
    torch.manual_seed(1)
    readout = Readout(ReadoutConfig(48, 16, 32, 1, 2, 2, object=True)).eval()
    return Embedding(lambda: readout, EmbeddingConfig(**changes), torch.float32)


def test_distances_in_the_embedding_are_zero_at_the_goal_and_positive_elsewhere():
    made, tokens = embedding(), torch.randn(5, 16, 48)
    off = made.offset(tokens, made.target(tokens[2])).norm(dim=-1)
    assert off[2].item() == pytest.approx(0.0, abs=1e-6)
    assert (off[[0, 1, 3, 4]] > 0.001).all()


def test_the_embedding_of_a_state_is_where_the_readout_would_read_it():
    made = embedding(turn_m=0.05, grip_m=0.2)
    state = torch.tensor([0.5, 0.1, 0.2, 3.1, 0.1, -1.5, 0.7])
    place = torch.tensor([0.4, -0.1, 0.03])
    point = made.of_state(state, place)
    assert point[:3].tolist() == pytest.approx([0.5, 0.1, 0.2])
    assert point[9].item() == pytest.approx(0.14)
    assert point[10:].tolist() == pytest.approx([0.4, -0.1, 0.03])
    moved = made.of_state(state + torch.tensor([0.03, 0, 0.04, 0, 0, 0, 0]), place)
    assert (moved - point).norm().item() == pytest.approx(0.05, abs=1e-6)


def test_a_hand_is_misread_by_its_pose_alone():
    made, tokens = embedding(), torch.randn(1, 16, 48)
    state = torch.tensor([0.5, 0.1, 0.2, 3.1, 0.1, -1.5, 0.7])
    point = made(tokens)[0]
    error = made.misread(point, state)
    torch.testing.assert_close(made.of_state(state, torch.zeros(3))[:9] + error[:9], point[:9])
    assert error[:9].abs().min() > 0
    assert error[9:].abs().max() == 0


def test_what_the_readout_is_unsure_of_counts_less():
    made, tokens = embedding(), torch.randn(2, 16, 48)
    with torch.no_grad():
        made.readout.head.bias[13] = 9.0  # it expects to be far off where the object is
    unsure = made.target(tokens[0]).weights
    assert unsure[10:].max() < 0.01
    with torch.no_grad():
        made.readout.head.bias[13] = -9.0
    assert made.target(tokens[0]).weights[10:].min() > 0.9


@pytest.fixture
def nets():
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(64, 48, 2, 4)).eval()
    predictor = Predictor(PredictorConfig(64, 16, 48, 48, 1, 4)).eval()
    return encoder, predictor, Readout(ReadoutConfig(48, 16, 32, 1, 2, 2, object=True)).eval()


@pytest.fixture
def agent(nets):
    config = AgentConfig(CEMConfig(samples=16, iterations=2, elites=4))
    return PlanningAgent(*planning_parts(*nets, config))


def test_the_default_cost_is_of_what_is_imagined_and_not_of_the_hand_pose(agent, monkeypatch):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    observation = {"image": images[0], "state": np.array([0.5, 0, 0.2, 3.1, 0, -1.5, 0.2])}
    agent.reset(images[1:], 0)
    costs = []
    plan = agent.search.plan
    monkeypatch.setattr(
        agent.search, "plan", lambda cost, *rest: (costs.append(cost), plan(cost, *rest))[1]
    )
    agent.act(observation)
    (cost,) = costs
    tokens, states = torch.randn(6, 16, 48), torch.randn(6, 7)
    with torch.inference_mode():
        found, again = cost(tokens, states), cost(tokens, torch.randn(6, 7))
    assert len(found.unique()) == 6
    assert torch.equal(found, again)


@pytest.mark.parametrize(
    ("goals", "near", "share"), [(1, 10.0, 0.5), (1, 0.0, 1.0), (2, 10.0, 1.0)],
    ids=["at the last image", "far from it", "at an image that others follow"],
)
def test_moves_are_shortened_near_the_last_image_only(nets, goals, near, share):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(goals + 1)]
    observation = {"image": images[0], "state": np.array([0.5, 0, 0.2, 3.1, 0, -1.5, 0.2])}
    actions = []
    for given in (0.5, 1.0):
        config = AgentConfig(
            CEMConfig(samples=16, iterations=2, elites=4),
            subgoals=SubgoalConfig(near_cost=near, near_share=given, reached=0.0),
        )
        made = PlanningAgent(*planning_parts(*nets, config))
        made.reset(images[1:], seed=3)
        actions.append(made.act(observation).action)
    assert np.abs(actions[1][:6]).max() > 0.01
    np.testing.assert_allclose(actions[0][:6], share * actions[1][:6], rtol=1e-6)
    assert actions[0][6] == actions[1][6]


def test_an_agent_that_does_not_know_the_picture_stays_and_says_so(nets):
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    observation = {"image": image, "state": np.array([0.5, 0, 0.2, 3.1, 0, -1.5, 0.2])}

    def decision(most_unsure_m):
        config = AgentConfig(
            CEMConfig(samples=16, iterations=2, elites=4), most_unsure_m=most_unsure_m
        )
        made = PlanningAgent(*planning_parts(*nets, config))
        made.reset([image], seed=0)
        return made.act(observation)

    acted = decision(None)
    assert 0 < acted.unsure_m < 1
    assert acted.action.any()
    assert decision(1.1 * acted.unsure_m).action.any()
    refused = decision(0.9 * acted.unsure_m)
    assert refused.finished
    assert not refused.action.any()
    assert refused.subgoal == "I do not know this picture"
    assert unknown_picture(float("nan"), AgentConfig(most_unsure_m=1.0)) is not None


def test_agent_is_deterministic_and_bounded(agent):
    rng = np.random.default_rng(0)
    goals = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    observation = {"image": goals[0], "state": np.array([0.5, 0, 0.2, 3.1, 0, -1.5, 0.2])}
    actions = []
    for _ in range(2):
        agent.reset(goals, seed=3)
        actions.append(agent.act(observation).action)
    np.testing.assert_array_equal(*actions)
    assert actions[0].shape == (7,)
    assert np.abs(actions[0][:3]).max() <= 0.075 + 1e-6


def test_pictures_of_any_size_and_kind_are_fitted_and_it_is_said_once(agent, capfd):
    from PIL import Image

    wide = np.random.default_rng(0).integers(0, 255, (48, 83, 3), np.uint8)
    wide.flags.writeable = False  # as many libraries hand their pictures out
    fitted = fit_square(wide, 64)
    state = np.array([0.5, 0, 0.2, 0, 0, 0, 0.0])
    agent.reset([Image.fromarray(wide)], seed=0)
    first = agent.act({"image": wide, "state": state})
    agent.reset([fitted], seed=0)
    second = agent.act({"image": fitted, "state": state})
    np.testing.assert_array_equal(first.action, second.action)
    agent.reset([wide[..., 0]], seed=0)  # gray
    said = capfd.readouterr().err
    assert said == (
        "pictures 83x48 are cropped to the centre square and resized to 64, which adds no detail: "
        "record or import them anew with 64 px or more\n"
    )


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        ({"image": np.zeros((64, 64, 3), np.float32)}, "uint8"),
        ({"image": np.zeros((64, 64, 4), np.uint8)}, "RGB"),
        ({"state": np.full(7, np.inf)}, "finite"),
        ({"state": np.zeros(8)}, "shape"),
    ],
)
def test_agent_refuses_bad_observations(agent, observation, message):
    good = {"image": np.zeros((64, 64, 3), np.uint8), "state": np.zeros(7)}
    agent.reset([good["image"]], seed=0)
    with pytest.raises((DataError, ValueError), match=message):
        agent.act({**good, **observation})
