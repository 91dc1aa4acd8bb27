"""Does the model prefer the actions that are best?  Regret against the simulator's outcomes."""

from dataclasses import replace
from itertools import combinations, islice

import numpy as np
import pytest

from arm_worldmodel.candidate_bank import (
    CANDIDATES,
    Bank,
    agent_config,
    banks_of_episode,
    candidates,
    distance_m,
    least_of_cheapest,
    least_of_random,
    regret_figures,
)
from arm_worldmodel.commands import diagnose
from arm_worldmodel.motion_text import regret_lines
from arm_worldmodel.running import FIRST_SEED
from arm_worldmodel.verdict import judge
from planners.config import AgentConfig, EmbeddingConfig
from worldmodel.models import Models

BANKS = 2


@pytest.fixture(scope="module")
def models():
    return Models.load("shipped", ["predictor", "readout"], "cpu")


@pytest.fixture(scope="module")
def banks(env, models):
    return list(islice(banks_of_episode(env, models, agent_config(models), FIRST_SEED, 0), BANKS))


@pytest.fixture(scope="module")
def deaf_banks(env, models):
    predictor = models.predictor
    hears = predictor.config
    predictor.config = replace(hears, action_scale=0.0)
    config = agent_config(models)
    found = list(islice(banks_of_episode(env, models, config, FIRST_SEED, 0), BANKS))
    predictor.config = hears
    return found


def test_the_shipped_model_prefers_better_actions_than_chance(banks):
    figures = regret_figures(banks, 12)
    assert figures["banks"] == BANKS
    assert figures["best_mm"]["mean"] < figures["now_mm"]["mean"]
    assert figures["imagined_choice"]["relative"]["mean"] < 0.9
    assert figures["rendered_choice"]["relative"]["mean"] < 0.9
    assert list(figures["imagined_choice"]["by_goal"]) == [bank.goal for bank in banks]
    assert banks[0].goal in regret_lines({**figures, "distance": "l1"})[-1]


def test_a_model_that_ignores_actions_is_at_chance_whatever_it_ties(deaf_banks):
    figures = regret_figures(deaf_banks, 12)
    assert len({len(set(bank.imagined)) for bank in deaf_banks}) == 1
    for title in ("choice", "elite"):
        assert figures[f"imagined_{title}"]["relative"]["mean"] == pytest.approx(1)
    assert figures["rendered_choice"]["relative"]["mean"] < 0.9


def test_outcomes_do_not_depend_on_who_judges_them(banks, deaf_banks):
    for heard, deaf in zip(banks, deaf_banks, strict=True):
        assert heard.goal == deaf.goal
        assert heard.distance_m == pytest.approx(deaf.distance_m)
        assert heard.rendered == pytest.approx(deaf.rendered)


def test_no_action_leaves_the_distance_as_it_is(banks):
    bank = banks[0]
    assert len(bank.distance_m) == CANDIDATES
    assert bank.distance_m[-1] == pytest.approx(bank.now_m, abs=0.01)  # the arm still settles
    assert bank.distance_m[-2] < bank.now_m  # the scripted action


def test_candidates_are_bounded_and_hold_the_scripted_action_and_none():
    config, scripted = AgentConfig(), np.array([0.05, 0, -0.02, 0, 0, 0.04, 0])
    found = candidates(scripted, config, np.random.default_rng(0))
    assert found.shape == (CANDIDATES, 1, 7)
    assert np.all(np.abs(found[:, 0].numpy()) <= np.array(config.cem.limit) + 1e-6)
    assert found[-2, 0].numpy() == pytest.approx(scripted)
    assert not found[-1].any()


def test_the_distance_counts_hand_gripper_and_object():
    here = np.array([0.5, 0, 0.1, np.pi, 0, 0, 0, 0.5, 0.1, 0.02])
    lengths = EmbeddingConfig()
    assert distance_m(here, here) == 0
    turned = lengths.turn_m * 2**0.5 * 2 * np.sin(0.25)  # two columns, by 0.5 rad
    for field, change, far in (
        (0, 0.03, 0.03), (5, 0.5, turned), (6, 1, lengths.grip_m), (9, 0.05, 0.05)
    ):
        there = here.copy()
        there[field] += change
        assert distance_m(here, there) == pytest.approx(far)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_the_least_of_random_choices_is_their_mean(count):
    distance = np.array([0.5, 0.1, 0.9, 0.4, 0.4, 0.2])
    every = [min(chosen) for chosen in combinations(distance, count)]
    assert least_of_random(distance, count) == pytest.approx(np.mean(every))


def test_ties_are_broken_every_way():
    distance = np.array([0.4, 0.1, 0.9, 0.3])
    assert least_of_cheapest(np.array([0, 1, 1, 1]), distance, 1) == pytest.approx(0.4)
    assert least_of_cheapest(np.array([0, 1, 1, 1]), distance, 2) == pytest.approx(
        np.mean([0.1, 0.4, 0.3])
    )
    assert least_of_cheapest(np.zeros(4), distance, 1) == pytest.approx(distance.mean())
    assert least_of_cheapest(np.arange(4.0), distance, 3) == pytest.approx(0.1)


def figures(imagined, rendered):
    distance = np.linspace(0.01, 0.1, 10)
    costs = {True: distance, False: -distance}
    bank = Bank(FIRST_SEED, "lifted", costs[imagined], costs[rendered], distance, 0.1)
    return regret_figures([bank], 2)


def test_a_model_that_prefers_bad_actions_misjudges_and_the_fault_is_named():
    summary = {
        "rank_among_random": {"mean": 0.01}, "energy_true_action": {"mean": 0.1},
        "energy_zero_action": {"mean": 0.3}, "energy_copy_last_frame": {"mean": 0.3},
    }
    assert judge(summary, None, figures(True, True)).kind == "usable"
    blamed = judge(summary, None, figures(False, True))
    assert blamed.kind == "misjudges"
    assert "imagination is at fault" in blamed.text
    assert "cost is at fault" in judge(summary, None, figures(False, False)).text


def test_a_negative_number_of_banks_is_refused():
    with pytest.raises(ValueError, match="banks=-1"):
        diagnose.run(diagnose.Settings(data="nowhere", banks=-1))
