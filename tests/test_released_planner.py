"""The planner published with V-JEPA 2-AC finds its own actions, to the last bit."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import arm_worldmodel as awm
from arm_worldmodel.commands.plan import Settings
from arm_worldmodel.parity import load_golden, plan_of, sample_costs
from configs.overrides import load
from configs.settings import SettingsError
from planners.agent import PlanningAgent
from planners.config import AxisConfig, PolicyConfig, ReleasedConfig
from planners.load import make_agent
from planners.released import ReleasedCEM
from tests.conftest import DATA
from worldmodel.models import Models
from worldmodel.published_order import PublishedImagination, encode_frames

WRAPPER = ReleasedConfig()
NOTEBOOK = load(Settings, ["recipe=planner_notebook"]).released
PAPER = load(Settings, ["recipe=planner_paper"]).released
CLOSING = replace(NOTEBOOK, close_from=1, axis=AxisConfig(z_m=-0.02))
QUICK = ReleasedConfig(samples=2, elites=2, iterations=1, horizon=1)


@pytest.fixture(scope="module")
def published():
    return load_file(DATA / "released_planner.safetensors")


@pytest.fixture(scope="module")
def model(golden):
    with torch.inference_mode():
        yield load_golden(golden[0])


SETTINGS = {"notebook": NOTEBOOK, "closing": CLOSING, "wrapper": WRAPPER, "paper": PAPER}
CLOSE = 1e-6  # costs of our network from those of the published one; they differ by 1e-4


@pytest.mark.parametrize("name", SETTINGS)
def test_the_published_action_is_found_from_the_published_costs(published, name):
    assert len(published[name]) == 10
    for seed, (plan, costs) in enumerate(
        zip(published[name], published[f"{name}_costs"], strict=True)
    ):
        assert torch.equal(plan_of(costs, SETTINGS[name], seed), plan), seed


@pytest.mark.parametrize("name", SETTINGS)
def test_the_plan_listens_to_the_costs(published, name):
    costs = published[f"{name}_costs"][0]
    other = plan_of(costs.flip(1), SETTINGS[name], 0)
    assert (other - published[name][0]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("name", "seeds", "iterations"),
    [
        ("notebook", range(10), 2), ("closing", range(10), 2),
        ("wrapper", range(1), 2), ("paper", range(1), 2),
        pytest.param("wrapper", range(1, 10), 10, marks=pytest.mark.slow),
        pytest.param("paper", range(1, 10), 10, marks=pytest.mark.slow),
    ],
)
def test_samples_cost_what_they_do_in_the_published_code(
    model, published, name, seeds, iterations
):
    _, predictor, given = model
    tokens, state = given["frame_tokens_normalized"][0], given["states"][0, 0]
    config = replace(SETTINGS[name], iterations=iterations)
    for seed in seeds:
        costs = published[f"{name}_costs"][seed, :iterations]
        ours = sample_costs(predictor, tokens, state, costs, config, seed)
        assert costs[0].std() > 10 * CLOSE
        assert (ours - costs).abs().max() <= CLOSE, seed


def test_the_agent_finds_it_in_real_pictures(model, published, tmp_path):
    encoder, predictor, _ = model
    parts = {"encoder": encoder, "predictor": predictor}
    Models("golden", parts).save(tmp_path, torch.float32)
    franka = np.load(DATA / "franka_example_traj.npz")
    now, goal = franka["observations"][0][:, ::4, ::4]
    observation = {"image": now, "state": franka["states"][0, 0].astype(float)}
    agent = make_agent(
        PolicyConfig("released", checkpoint=str(tmp_path), device="cpu", released=NOTEBOOK)
    )
    assert isinstance(agent, PlanningAgent)
    ours = awm.Agent(awm.load(tmp_path, "cpu"), awm.ReleasedCEM(**vars(NOTEBOOK)))
    assert isinstance(ours._agent, PlanningAgent)
    for seed in range(10):
        for planner, search in ((agent, agent.search), (ours, ours._agent.search)):
            told = iter(published["franka_notebook_costs"][seed])
            imagined, gaps = search.outcomes.cost, []

            def cost(*given, told=told, imagined=imagined, gaps=gaps):
                costs = next(told)
                gaps.append((imagined(*given) - costs).abs().max().item())
                return costs

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(search.outcomes, "cost", cost)
                planner.reset([goal], seed)
                action = planner.act(observation).action
            assert len(gaps) == 2
            assert max(gaps) <= CLOSE, seed
            expected = published["franka_notebook"][seed, 0].double().numpy()
            np.testing.assert_array_equal(action, expected)


def test_the_published_order_computes_what_the_networks_do(model):
    encoder, predictor, given = model
    images = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    torch.testing.assert_close(
        encode_frames(encoder, images), encoder.encode_frames(images), atol=1e-5, rtol=1e-5
    )
    from worldmodel.imagination import Imagination

    tokens, states = given["frame_tokens_normalized"][0], given["states"][0]
    actions = 0.1 * torch.randn(5, 2, 7)
    ours, theirs = (
        engine.imagine(engine.context(tokens[:1], states[:1]), actions)
        for engine in (Imagination(predictor), PublishedImagination(predictor, memory_mb=1))
    )
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_samples_are_clipped_and_never_turn():
    seen = []

    def cost(actions):
        seen.append(actions)
        return actions.square().sum((1, 2))

    plan = ReleasedCEM(replace(WRAPPER, close_from=1), seed=3).plan(cost)
    drawn = torch.cat(seen)
    assert drawn.shape == (4000, 2, 7)
    assert drawn[..., :3].abs().max() == torch.tensor(0.05)
    assert drawn[:, 0, 6].abs().max() == 0.75
    assert (drawn[:, 1, 6] == 1.0).all()
    assert not drawn[..., 3:6].any()
    assert not plan.actions[:, 3:6].any()
    assert plan.actions[0, 6] == 0.0  # small changes are set to 0


def test_a_cost_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        ReleasedCEM(QUICK).plan(lambda actions: torch.full((len(actions),), torch.nan))


def test_images_of_a_sequence_take_4_10_and_4_steps_and_one_alone_all():
    agent = make_agent(PolicyConfig("released", device="cpu", released=QUICK))
    assert isinstance(agent, PlanningAgent)
    image = np.zeros((128, 128, 3), np.uint8)
    observation = {"image": image, "state": np.array([0.5, 0.0, 0.2, 3.1, 0.0, -1.5, 0.0])}
    agent.reset([image] * 3, 0)
    decisions = [agent.act(observation) for _ in range(19)]
    assert [d.goal_index for d in decisions] == [0] * 4 + [1] * 10 + [2] * 5
    assert [d.finished for d in decisions] == [False] * 18 + [True]
    agent.reset([image], 0)
    assert not any(agent.act(observation).finished for _ in range(6))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["policy=released", "agent.cem.samples=9"], "agent.cem"),
        (["policy=released", "agent.bf16=false"], "agent.bf16"),
        (["policy=released", "readout=x"], "readout"),
        (["policy=released", "calibration=x"], "calibration"),
        (["policy=released", "goal=single", "released.steps=[9]"], "released.steps"),
        (["released.samples=90"], "released"),
        (["policy=released", "released.elites=1"], "elites 1 must be 2 to samples 400"),
        (["policy=released", "released.steps=[4,0]"], "numbers of 1 or more"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises((SettingsError, ValueError), match=message):
        load(Settings, settings)


@pytest.mark.parametrize(
    "given", [{"cost": awm.token_distance}, {"goal": "single"}, {"bf16": False}]
)
def test_the_python_agent_refuses_what_has_no_effect(given):
    with pytest.raises(ValueError, match=r"no effect|sub-goals"):
        awm.Agent(awm.load("shipped", "cpu"), awm.ReleasedCEM(), **given)
