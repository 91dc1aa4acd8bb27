"""The mean of the samples refitted by least squares."""

import time

import pytest
import torch

from planners.cem import CEM
from planners.config import AgentConfig, CEMConfig, EmbeddingConfig
from planners.embedding import Embedding
from planners.goals import GoalImages
from planners.least_squares import least_squares
from planners.objective import l1
from planners.perception import View
from planners.search import Search
from worldmodel.config import ReadoutConfig
from worldmodel.readout import Readout

SLOPES = torch.randn(7, 13, generator=torch.Generator().manual_seed(0))


def vectors_towards(best):
    """What is left after actions [S, 1, 7], were they linear: zero at ``best`` [7]."""
    return lambda actions: (actions[:, 0] - best) @ SLOPES


@pytest.mark.parametrize("seed", range(5))
def test_where_outcomes_are_linear_one_fit_finds_the_best_action(seed):
    draws = torch.Generator().manual_seed(seed)
    best = 1.2 * torch.rand(7, generator=draws) - 0.6
    actions = torch.randn(40, 7, generator=draws)
    found = least_squares(actions, (actions - best) @ SLOPES, torch.zeros(7), 1.0)
    torch.testing.assert_close(found, best, atol=0.01, rtol=0)


def test_the_action_stays_within_its_limits():
    draws = torch.Generator().manual_seed(0)
    actions = torch.randn(40, 7, generator=draws)
    found = least_squares(actions, (actions - 3.0) @ SLOPES, torch.zeros(7), 1.0)
    assert found.abs().max() <= 1.0


def test_round_off_is_no_slope():
    draws = torch.Generator().manual_seed(0)
    actions = torch.randn(40, 7, generator=draws)
    same = torch.randn(13, generator=draws).expand(40, -1)
    vectors = same * (1 + 1e-7 * torch.randn(40, 13, generator=draws))
    centre = torch.tensor([0.0, 0.1, 0.0, 0.2, -0.2, 0.1, 0.0])
    found = least_squares(actions, vectors, centre, 1.0)
    torch.testing.assert_close(found, centre, atol=0.02, rtol=0)


def test_what_actions_do_not_change_is_left_where_it_was():
    draws = torch.Generator().manual_seed(0)
    actions = torch.randn(40, 7, generator=draws)
    slopes = SLOPES.clone()
    slopes[3:] = 0.0
    centre = torch.tensor([0.0, 0.0, 0.0, 0.2, -0.2, 0.1, 0.0])
    found = least_squares(actions, (actions - 0.3) @ slopes, centre, 1.0)
    torch.testing.assert_close(found[:3], torch.full((3,), 0.3), atol=0.02, rtol=0)
    torch.testing.assert_close(found[3:], centre[3:], atol=0.05, rtol=0)


@pytest.mark.parametrize("seed", range(5))
def test_it_needs_fewer_samples_than_the_mean_of_elites(seed):
    best = torch.tensor([0.05, -0.04, 0.03, 0.03, -0.03, 0.02, 0.5])
    config = CEMConfig(samples=16, iterations=2, elites=4)
    towards = vectors_towards(best)
    solved = CEM(config, seed).plan(towards)
    wide = CEM(CEMConfig(samples=48, iterations=3, elites=8), seed)
    elites = wide.plan(lambda actions: towards(actions).norm(dim=-1))
    left = [towards(plan.actions[None]).norm().item() for plan in (solved, elites)]
    assert left[0] < 0.5 * left[1]
    assert solved.cost == pytest.approx(left[0], rel=1e-5)


def test_a_fit_that_misleads_is_not_taken():
    """Where outcomes are anything but linear, the plan is no worse than the elites' mean."""

    def rough(actions):
        return torch.cat([(60 * actions[:, 0]).sin() + 2, actions[:, 0]], dim=1)

    for seed in range(10):
        plan = CEM(CEMConfig(samples=16, iterations=2, elites=4), seed).plan(rough)
        mean = CEM(CEMConfig()).bounded(plan.elites.mean(0))
        assert rough(plan.actions[None]).norm() <= rough(mean[None]).norm() + 1e-6


def test_at_the_deadline_nothing_more_is_imagined():
    calls = []

    def slow(actions):
        calls.append(len(actions))
        time.sleep(0.05)
        return vectors_towards(torch.zeros(7))(actions)

    plan = CEM(CEMConfig(samples=16, iterations=2, elites=4, deadline_s=0.01)).plan(slow)
    assert plan.stopped_early
    assert calls == [16]


class Outcomes:
    """Imagined tokens are those of ``seen`` moved by the action; keeps what the costs looked like.
    """

    def __init__(self):
        self.shapes = set()

    def reset(self):
        pass

    def cost(self, cost, view, actions):
        moved = view.tokens + torch.nn.functional.pad(actions[:, :1], (0, 41))
        found = cost(moved, view.state.expand(len(actions), 7))
        self.shapes.add(found.shape[1:])
        return found


@pytest.mark.parametrize(
    ("refit", "shape"), [("least_squares", (13,)), ("elites", ())]
)
def test_the_search_takes_vectors_where_the_cost_has_them(refit, shape):
    torch.manual_seed(0)
    readout = Readout(ReadoutConfig(48, 16, 32, 1, 2, 2, object=True)).eval()
    embedding = Embedding(lambda: readout, EmbeddingConfig(), torch.float32)
    tokens = torch.randn(2, 16, 48)
    goals = GoalImages.__new__(GoalImages)
    goals.embedding = embedding
    goal = goals.goal(tokens[0], None)
    outcomes = Outcomes()
    search = Search(outcomes, AgentConfig(cem=CEMConfig(samples=8, elites=4, refit=refit)))
    view = View(tokens[1:], torch.zeros(7))
    with torch.no_grad():
        search.plan(goals.towards(goal), view, 0.0)
    assert outcomes.shapes == {shape}
    with torch.no_grad():
        search.plan(lambda seen, states: l1(seen, tokens[0]), view, 0.0)
    assert () in outcomes.shapes


def test_an_unknown_refit_is_refused():
    with pytest.raises(ValueError, match="valid: least_squares, elites"):
        CEMConfig(refit="best")  # pyright: ignore[reportArgumentType]
