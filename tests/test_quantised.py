"""Integer products rank what actions lead to as floating point does."""

from functools import cache

import pytest
import torch

from planners.cem import CEM
from planners.config import CEMConfig
from planners.objective import l1
from planners.search import spread_actions
from sims.mujoco_arm import MujocoArm
from worldmodel.config import PredictorConfig
from worldmodel.imagination import Imagination
from worldmodel.models import Models
from worldmodel.predictor import Predictor
from worldmodel.quantised import QuantisedImagination, multiplies_integers

needs_vnni = pytest.mark.skipif(
    not multiplies_integers(torch.device("cpu")), reason="this CPU has no VNNI instructions"
)

SEARCH = CEMConfig(samples=48, iterations=3, elites=8, horizon=2)


@cache
def frame():
    """Image and state at the start of a simulated episode."""
    env = MujocoArm(task="reach")
    observation, _ = env.reset(seed=50_000_000, options={"goal": False})
    env.close()
    return observation["image"], torch.from_numpy(observation["state"]).float()[None]


class Problem:
    """The shipped predictor in float32 and in integers, a frame, and a goal it can reach."""

    def __init__(self):
        models = Models.load(parts=["predictor"], device="cpu")
        image, self.state = frame()
        self.predictor = models.predictor
        with torch.inference_mode():
            self.tokens = models.encoder.encode_frames(torch.from_numpy(image)[None])
        self.exact = Imagination(self.predictor)
        self.integers = QuantisedImagination(self.predictor)
        truth = torch.tensor([[[0.04, -0.03, 0.02, 0.05, 0.0, 0.08, 0.5]] * 2])
        self.goal = self.exact.imagine(self.exact.context(self.tokens, self.state), truth)[0]

    def prepare(self):
        context = self.integers.context(self.tokens, self.state)
        self.integers.prepare(context, spread_actions(SEARCH))

    def cost(self, engine):
        context = engine.context(self.tokens, self.state)
        return lambda actions: engine.score(context, actions, lambda z: l1(z, self.goal))


@pytest.fixture(scope="module")
def problem():
    found = Problem()
    found.prepare()
    return found


def ranks(values):
    return values.argsort().argsort().float()


@needs_vnni
def test_costs_rank_actions_as_in_floating_point(problem):
    actions = spread_actions(SEARCH, 64)
    exact, found = (problem.cost(e)(actions) for e in (problem.exact, problem.integers))
    assert (found - exact).abs().quantile(0.9) < 0.1 * exact.std()
    assert torch.corrcoef(torch.stack([ranks(exact), ranks(found)]))[0, 1] > 0.99


@needs_vnni
def test_the_plan_is_about_as_good(problem):
    judge = problem.cost(problem.exact)
    found = CEM(SEARCH, 3).plan(problem.cost(problem.integers)).actions
    exact = CEM(SEARCH, 3).plan(judge).actions
    still = judge(torch.zeros(1, 2, 7))
    costs = judge(torch.stack([found, exact]))
    assert costs[0] < costs[1] + 0.2 * (still - costs[1])


@needs_vnni
def test_until_it_is_prepared_it_computes_in_floating_point():
    problem = Problem()
    actions = spread_actions(SEARCH)
    before = problem.cost(problem.integers)(actions)
    torch.testing.assert_close(before, problem.cost(problem.exact)(actions), atol=1e-6, rtol=0)
    problem.prepare()
    assert not torch.equal(problem.cost(problem.integers)(actions), before)


@needs_vnni
def test_a_sample_costs_the_same_alone_and_among_others(problem):
    actions = spread_actions(SEARCH, 20)
    cost = problem.cost(problem.integers)
    together = cost(actions)
    alone = torch.cat([cost(one[None]) for one in actions])
    torch.testing.assert_close(alone, together, atol=3e-4, rtol=0)


@needs_vnni
def test_scores_that_could_overflow_are_shifted_first():
    problem = Problem()
    width = problem.predictor.config.predictor_dim
    with torch.no_grad():  # scores of a quarter, so that none could
        for block in problem.predictor.predictor_blocks:
            block.attn.qkv.weight[: 2 * width] /= 2
            block.attn.qkv.bias[: 2 * width] /= 2
    problem.integers = QuantisedImagination(problem.predictor)
    problem.prepare()
    actions = spread_actions(SEARCH, 8)
    plain = problem.cost(problem.integers)(actions)
    layers = problem.integers.layers
    assert all(layer.safe for layer in layers)
    for layer in layers:
        layer.safe = False
    try:
        shifted = problem.cost(problem.integers)(actions)
    finally:
        for layer in layers:
            layer.safe = True
    torch.testing.assert_close(shifted, plain, atol=2e-3, rtol=0)


@needs_vnni
def test_large_scores_are_noticed_and_do_not_overflow():
    problem = Problem()
    width = problem.predictor.config.predictor_dim
    with torch.no_grad():
        for block in problem.predictor.predictor_blocks:
            block.attn.qkv.weight[: 2 * width] *= 20
    problem.integers = QuantisedImagination(problem.predictor)
    problem.prepare()
    assert not any(layer.safe for layer in problem.integers.layers)
    assert problem.cost(problem.integers)(spread_actions(SEARCH)).isfinite().all()


def test_devices_without_the_instructions_are_refused():
    predictor = Predictor(PredictorConfig(64, 16, 48, 48, 1, 4)).to("meta")
    with pytest.raises(ValueError, match=r"VNNI.*meta.*int8=false"):
        QuantisedImagination(predictor)
