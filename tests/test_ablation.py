"""Parts of the planner switched off: eyes, trained weights, actions."""

import numpy as np
import pytest
import torch

from arm_worldmodel.commands import evaluate
from configs.overrides import load
from configs.settings import SettingsError
from planners.ablation import BlindAgent, ShuffledOutcomes, exchanged, shuffled, untrained
from planners.config import AgentConfig, CEMConfig, ObjectiveConfig, PolicyConfig
from planners.lewm import untrained_dynamics
from planners.load import make_agent, planning_parts
from planners.perception import View
from planners.search import ImaginedOutcomes
from robot_data.loop import Decision
from worldmodel.config import EncoderConfig, LeWMConfig, PredictorConfig
from worldmodel.encoder import Encoder
from worldmodel.lewm import LeWorldModel
from worldmodel.predictor import Predictor

L1 = AgentConfig(CEMConfig(samples=16, iterations=2, elites=4), ObjectiveConfig(distance="l1"))


class Watcher:
    """An agent that keeps what it is shown."""

    def __init__(self):
        self.goals, self.seen = [], []

    def reset(self, goals, seed):
        self.goals = list(goals)

    def act(self, observation):
        self.seen.append(observation)
        return Decision(np.zeros(7), finished=True)


def test_a_blind_agent_sees_the_goals_and_the_state_and_a_black_image():
    watcher, rng = Watcher(), np.random.default_rng(0)
    image, goal = rng.integers(1, 256, (2, 64, 64, 3), np.uint8)
    agent = BlindAgent(watcher)
    agent.reset([goal], 0)
    decision = agent.act({"image": image, "state": np.arange(7.0)})
    assert not decision.finished  # it sees no progress, whatever there is: it does not give up
    np.testing.assert_array_equal(watcher.goals[0], goal)
    (seen,) = watcher.seen
    assert seen["image"].shape == image.shape
    assert seen["image"].dtype == np.uint8
    assert seen["image"].max() == 0
    np.testing.assert_array_equal(seen["state"], np.arange(7.0))
    assert image.max() > 0  # the environment's own picture stays


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(64, 48, 2, 4)).eval()
    predictor = Predictor(PredictorConfig(64, 16, 48, 48, 1, 4)).eval()
    return planning_parts(encoder, predictor, None, L1)


def test_shuffled_costs_are_the_same_costs_of_other_samples(parts):
    _, _, search = parts
    outcomes = search.outcomes
    assert isinstance(outcomes, ImaginedOutcomes)
    other = shuffled(outcomes)
    view = View(torch.randn(1, 16, 48), torch.zeros(7))
    actions = 0.02 * torch.randn(16, 1, 7)

    def cost(tokens, states):
        return states[:, 0] + states[:, 1]

    def drawn():
        other.reset()
        return [other.cost(cost, view, actions) for _ in range(3)]

    true = outcomes.cost(cost, view, actions)
    assert len(true.unique()) == 16
    for found in drawn():
        assert (found != true).sum() > 8
        torch.testing.assert_close(found.sort().values, true.sort().values)
    first, again = drawn(), drawn()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])  # drawn anew for every batch of samples
    torch.testing.assert_close(other.cost(cost, view, actions[:1]), true[:1])  # there is no other


def test_of_two_samples_the_costs_are_exchanged_half_the_time(parts):
    costs, generator = torch.tensor([1.0, 2.0]), torch.Generator().manual_seed(0)
    swapped = sum(exchanged(costs, generator)[0].item() == 2.0 for _ in range(400))
    assert 150 < swapped < 250


def test_a_residual_predictor_of_random_weights_imagines_something_of_every_action():
    trained = Predictor(PredictorConfig(64, 16, 48, 48, 1, 4, residual=True)).eval()
    tokens, states = torch.randn(2, 1, 16, 48), torch.zeros(2, 1, 7)
    actions = 0.05 * torch.randn(2, 1, 7)
    same = tokens[:1].expand(2, -1, -1, -1)
    assert torch.equal(trained(same, actions, states), same)  # as training begins: a copy
    found = untrained(trained)(same, actions, states)
    assert not torch.allclose(found[0], found[1], atol=1e-4)
    assert (found - same).std() > 0.05


def test_a_leworldmodel_of_random_dynamics_imagines_something_of_every_action():
    model = LeWorldModel(LeWMConfig(
        image_size=32, patch_size=8, encoder_dim=32, encoder_depth=1, encoder_heads=2,
        embed_dim=16, projector_dim=32, predictor_depth=1, predictor_heads=2,
        predictor_head_dim=8, predictor_mlp=32, residual=True,
    )).eval()
    latents, actions = torch.randn(1, 1, 16).expand(2, -1, -1), torch.randn(2, 1, 7)
    plain = model.predict(latents, actions)
    assert torch.allclose(plain[0], plain[1])
    found = untrained_dynamics(model).predict(latents, actions)
    assert not torch.allclose(found[0], found[1], atol=1e-4)


def test_an_untrained_predictor_has_the_shape_but_none_of_the_weights(parts):
    _, _, search = parts
    trained = search.outcomes.imagination.predictor
    before = torch.random.get_rng_state()
    fresh, again = untrained(trained), untrained(trained)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert fresh.config == trained.config
    weights, same = dict(trained.named_parameters()), dict(again.named_parameters())
    for name, value in fresh.named_parameters():
        assert torch.equal(value, same[name])
        assert not value.requires_grad
        if value.ndim > 1:
            assert not torch.equal(value, weights[name].float())


@pytest.mark.parametrize("predictor", ["trained", "random", "shuffled"])
def test_the_predictor_of_a_policy_is_the_one_that_plans(predictor):
    agent = make_agent(PolicyConfig(predictor=predictor, agent=L1))
    outcomes = agent.search.outcomes
    assert isinstance(outcomes, ShuffledOutcomes) == (predictor == "shuffled")
    shipped = make_agent(PolicyConfig(agent=L1)).search.outcomes.imagination.predictor
    same = torch.equal(
        outcomes.imagination.predictor.predictor_proj.weight, shipped.predictor_proj.weight
    )
    assert same == (predictor != "random")


def test_a_blind_policy_is_any_policy_behind_a_black_camera():
    agent = make_agent(PolicyConfig(blind=True, agent=L1))
    assert isinstance(agent, BlindAgent)
    assert type(agent.agent) is type(make_agent(PolicyConfig(agent=L1)))


@pytest.mark.parametrize(
    "words",
    [
        ["policy=servo", "predictor=random"], ["policy=inverse_dynamics", "predictor=shuffled"],
        ["policy=random", "blind=true"], ["policy=simulator_state", "blind=true"],
        ["policy=servo", "agent.objective.distance=l1"], ["policy=servo", "agent.cem.samples=90"],
        ["policy=servo", "hierarchy.approach_m=0.2"], ["policy=servo", "planner_seed=1"],
        ["suite=table", "blind=true"], ["suite=table", "arm.scene.object=cup"],
        ["checkpoints=[a,b]"], ["suite=table", "checkpoints=[a,b]", "checkpoint=c"],
    ],
)
def test_a_switch_without_effect_is_refused(words):
    with pytest.raises(SettingsError, match="no effect"):
        load(evaluate.Settings, words)


@pytest.mark.parametrize(
    "words",
    [
        ["policy=servo", "blind=true"], ["policy=servo", "calibration=self"],
        ["policy=servo", "agent.cem.max_move_m=0.05"], ["policy=flat", "predictor=random"],
        ["policy=servo", "goal=single", "hierarchy.approach_m=0.2"],
        ["policy=hierarchical_servo", "hierarchy.approach_m=0.2"],
        ["suite=table", "checkpoints=[a,b]", "episodes=100"],
    ],
)
def test_a_switch_with_an_effect_is_taken(words):
    load(evaluate.Settings, words)
