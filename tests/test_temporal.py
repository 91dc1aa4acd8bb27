"""A distance that counts frames: what it learns, and that plans go by it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import make_episode
from hypothesis import given, settings
from hypothesis import strategies as st

from arm_worldmodel.cli import main
from planners.config import AgentConfig
from planners.goals import Goal
from planners.lewm import lewm_parts, untrained_dynamics
from planners.objective import VectorCost
from robot_data.episodes import EpisodeStore
from worldmodel import checkpoint
from worldmodel.config import LeWMConfig, LeWMLossConfig, TemporalConfig, TrainConfig
from worldmodel.lewm import LeWorldModel
from worldmodel.lewm_training import LeWMTraining, train_lewm
from worldmodel.models import Models
from worldmodel.temporal import TemporalDistance
from worldmodel.temporal_training import (
    LatentPairs,
    temporal_loss,
    train_temporal,
    validate_temporal,
)

TINY = LeWMConfig(
    image_size=16, patch_size=8, encoder_dim=16, encoder_depth=1, encoder_heads=2, embed_dim=8,
    projector_dim=16, predictor_depth=1, predictor_heads=2, predictor_head_dim=4,
    predictor_mlp=16, temporal_dim=4,
)
TRAIN = TrainConfig(
    steps=500, batch_size=256, learning_rate=3e-3, warmup_steps=20, weight_decay=0.0, bf16=False
)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.floats(1, 50), min_size=2, max_size=8), st.floats(0.05, 0.5), st.floats(0, 50)
)
def test_the_loss_is_least_at_the_expectile_of_the_frames(frames, low, elsewhere):
    def loss(distance):
        points = torch.zeros(len(frames), 2, 3, dtype=torch.float64)
        points[:, 1, 0] = distance
        return temporal_loss(points, torch.tensor(frames, dtype=torch.float64), low).item()

    found = np.mean(frames)
    for _ in range(200):  # the expectile is the mean by its own weights
        weight = np.where(found > frames, 1 - low, low) / (1 + np.array(frames))
        found = np.average(frames, weights=weight)
    assert loss(found) <= loss(elsewhere) + 1e-9
    assert min(frames) - 1e-9 <= found <= np.mean(frames) + 1e-9


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 1000)
)
def test_pairs_are_of_one_episode_and_count_its_frames(lengths, skip, number):
    kept = [
        torch.tensor([[float(i), float(t)] for t in range(n)]) for i, n in enumerate(lengths)
    ]
    if max(lengths) < 2:
        with pytest.raises(ValueError, match="no episode has two frames"):
            LatentPairs(kept, skip, 16, 0)
        return
    pairs = LatentPairs(kept, skip, 16, 0)
    drawn, frames = pairs(number)
    (episodes, rows), again = drawn.movedim(-1, 0), pairs(number)
    assert torch.equal(episodes[:, 0], episodes[:, 1])
    assert (rows[:, 1] > rows[:, 0]).all()
    torch.testing.assert_close(frames, (rows[:, 1] - rows[:, 0]) / skip)
    assert torch.equal(again[0], drawn)


DOOR = np.array([0.5, 0.9])
WAVES = torch.randn(2, 64, generator=torch.Generator().manual_seed(1)) * 6


def latents(places):
    """Places [..., 2] -> [..., 64], about equally far from each other once they are apart."""
    return torch.cos(torch.as_tensor(places, dtype=torch.float32) @ WAVES + torch.arange(64))


def ways(count, seed):
    """Noisy ways [n, 2] of equal steps from place to place in two rooms with one door between."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        start, goal = rng.uniform(0.05, 0.95, (2, 2))
        through = [DOOR] if (start[0] < 0.5) != (goal[0] < 0.5) else []
        place, way = start, [start]
        for target in [*through, goal]:
            while np.linalg.norm(target - place) > 0.05:
                step = 0.05 * (target - place) / np.linalg.norm(target - place)
                place = place + step + rng.normal(0, 0.01, 2)
                way.append(place)
        found.append(latents(np.array(way)))
    return found


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    torch.manual_seed(0)
    model = TemporalDistance(64, 16)
    pairs = LatentPairs(ways(300, 0), 1, TRAIN.batch_size, 0)
    return train_temporal(model, pairs, 0.2, TRAIN, tmp_path_factory.mktemp("rooms"), "cpu")


def test_behind_a_wall_is_far_though_it_looks_near(rooms):
    def frames(a, b):
        return (rooms(latents(a)) - rooms(latents(b))).norm().item()

    across, beside = frames([0.42, 0.2], [0.58, 0.2]), frames([0.26, 0.2], [0.42, 0.2])
    assert 2 < beside < 5  # 0.16 at 0.05 a frame
    assert across > 4 * beside  # 1.4 at 0.05 a frame, through the door: 29
    found = validate_temporal(rooms, LatentPairs(ways(50, 1), 1, 256, 1), 4)
    assert found["temporal_error"] < 0.4 * found["temporal_constant"]


def test_a_run_that_goes_on_is_the_run_that_was_not_interrupted(tmp_path):
    feed = LatentPairs(ways(5, 0), 1, 16, 0)

    def run(out, steps, batch=feed):
        torch.manual_seed(0)
        plan = replace(TRAIN, steps=steps, checkpoint_every=3)
        return train_temporal(TemporalDistance(64, 4), batch, 0.2, plan, out, "cpu").state_dict()

    def interrupted(number):
        if number == 5:
            raise KeyboardInterrupt
        return feed(number)

    whole = run(tmp_path / "whole", 6)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", 6, interrupted)
    for name, value in run(tmp_path / "parts", 6).items():
        torch.testing.assert_close(value, whole[name], msg=name)


def test_bounds_of_its_settings():
    for wrong in ({"low": 0.0}, {"low": 0.6}, {"frames": 1}):
        with pytest.raises(ValueError, match=r"low .* must be in \(0, 0.5\]"):
            TemporalConfig(**wrong)


# -- of a LeWorldModel ----------------------------------------------------------------------------


def untrained(**changes):
    torch.manual_seed(0)
    return LeWorldModel(replace(TINY, **changes)).eval().requires_grad_(False)


def test_it_is_left_alone_while_the_rest_is_trained(tmp_path):
    def windows(number):
        images = torch.randint(0, 256, (4, 4, 16, 16, 3), dtype=torch.uint8)
        return images, torch.randn(4, 3, 7)

    torch.manual_seed(0)
    model = LeWorldModel(TINY)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    train_lewm(
        LeWMTraining(model, LeWMLossConfig(directions=8)), windows, replace(TRAIN, steps=2),
        tmp_path, "cpu",
    )
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed
    assert not any(name.startswith("temporal.") for name in changed)


def test_plans_shorten_it_where_there_is_one_and_else_the_distance_of_latents():
    seen, goal = torch.randn(5, 1, 8), torch.randn(1, 8)
    for model in (untrained(), untrained(temporal_dim=0)):
        _, goals, _ = lewm_parts(model, AgentConfig(bf16=False), "trained")
        cost = goals.towards(Goal(goal))
        assert isinstance(cost, VectorCost)
        there = torch.nn.Identity() if model.temporal is None else model.temporal
        expected = (there(seen[:, 0]) - there(goal[0])).norm(dim=-1)
        torch.testing.assert_close(cost(seen, torch.zeros(5, 7)), expected)


def test_switching_the_dynamics_off_leaves_it():
    model = untrained()
    off = untrained_dynamics(model)
    seen = torch.randn(3, 8)
    assert torch.equal(off.apart(seen, seen[0]), model.apart(seen, seen[0]))


def test_the_command_trains_it_after_the_rest_and_anew_for_other_latents(tmp_path, capsys):
    store = EpisodeStore(tmp_path / "data")
    for seed in range(3):
        store.write(f"ep-{seed}", make_episode(12, seed))
    out = tmp_path / "out"
    given = ["lewm", f"data={store.url}", f"validation={store.url}", f"out={out}",
             "model.image_size=32", "model.encoder_dim=16", "model.encoder_depth=1",
             "model.encoder_heads=2", "model.embed_dim=8", "model.projector_dim=16",
             "model.predictor_depth=1", "model.predictor_heads=2", "model.predictor_head_dim=4",
             "model.predictor_mlp=16", "losses.directions=16", "train.batch_size=4",
             "train.warmup_steps=1", "validation_batches=1"]
    on = [*given, "model.temporal_dim=4", "temporal.train.steps=3", "temporal.train.batch_size=8"]
    assert main([*on, "train.steps=2"]) == 0
    found = json.loads((out / "report.json").read_text())["validation"]
    assert {"temporal_error", "temporal_constant", "prediction"} <= set(found)
    first = Models.load(out, ["lewm"], "cpu").lewm
    assert first.temporal is not None
    assert main([*on, "train.steps=2"]) == 0  # nothing is left to do
    assert torch.equal(weights(Models.load(out, ["lewm"], "cpu").lewm), weights(first))
    assert main([*on, "train.steps=3"]) == 0
    assert not torch.equal(weights(Models.load(out, ["lewm"], "cpu").lewm), weights(first))
    assert json.loads((out / "temporal_losses.json").read_text())["step"] == 3
    assert main([*given, "temporal.low=0.1"]) == 2
    assert "model.temporal_dim=0: no temporal distance" in capsys.readouterr().err
    assert main([*on, "temporal.low=0.9"]) == 2
    assert "must be in (0, 0.5]" in capsys.readouterr().err
    assert main([*on, "temporal.low=0.1"]) == 2
    assert "is of a run with" in capsys.readouterr().err


def weights(model):
    return torch.cat([value.flatten() for value in model.temporal.parameters()])


def test_weights_without_it_are_loaded_as_before(tmp_path):
    model = untrained(temporal_dim=0)
    checkpoint.save_part(tmp_path, model, None)
    assert Models.load(tmp_path, ["lewm"], "cpu").lewm.temporal is None
