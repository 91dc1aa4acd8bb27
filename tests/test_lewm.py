"""LeWorldModel: the regularisation is right, training does not collapse, and any action size."""

import json
import math
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from conftest import make_episode
from hypothesis import given, settings
from hypothesis import strategies as st

from arm_worldmodel.cli import main
from arm_worldmodel.evaluation import Cell, Keep, jobs_of, run_job
from planners.config import AgentConfig, CEMConfig, PolicyConfig
from planners.lewm import lewm_parts, untrained_dynamics
from planners.perception import View
from planners.world_policy import WorldPolicy
from robot_data.action_windows import ActionWindows
from robot_data.episodes import EpisodeStore
from robot_data.schema import DataError
from robot_data.told_actions import told_actions
from worldmodel import checkpoint
from worldmodel.checkpoint import CheckpointError
from worldmodel.config import LeWMConfig, LeWMLossConfig, TrainConfig
from worldmodel.lewm import LeWorldModel
from worldmodel.lewm_training import LeWMTraining, train_lewm, validate_lewm
from worldmodel.models import MissingPart, Models, image_size, parts_in
from worldmodel.run import TrainingError
from worldmodel.sigreg import effective_rank, epps_pulley, sigreg

NORMAL = math.sqrt(2 * math.pi) * (1 - 1 / math.sqrt(3))  # expected of normal samples, 1.06
TINY = LeWMConfig(
    image_size=16, patch_size=4, encoder_dim=32, encoder_depth=1, encoder_heads=2, embed_dim=16,
    projector_dim=32, predictor_depth=1, predictor_heads=2, predictor_head_dim=8,
    predictor_mlp=32, action_size=2, action_mean=(0.0, 0.0), action_std=(0.1, 0.1),
)
TRAIN = TrainConfig(
    steps=150, batch_size=64, learning_rate=3e-3, warmup_steps=10, bf16=False, log_every=10,
    weight_decay=1e-3,
)


# -- SIGReg ---------------------------------------------------------------------------------------


def closed_form(x):
    """The statistic of samples x [B] with the integral over all t (Epps & Pulley 1983)."""
    pairs = (-(x[:, None] - x[None]).square() / 2).exp().mean()
    single = (-x.square() / 4).exp().mean()
    return len(x) * math.sqrt(2 * math.pi) * (pairs - math.sqrt(2) * single + 1 / math.sqrt(3))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(-2, 2), st.floats(0.1, 3))
def test_the_statistic_is_the_closed_form_and_the_published_knots_come_near(seed, mean, spread):
    generator = torch.Generator().manual_seed(seed)
    x = mean + spread * torch.randn(50, generator=generator, dtype=torch.float64)
    exact = closed_form(x).item()
    assert epps_pulley(x, knots=801, reach=10.0).item() == pytest.approx(exact, rel=1e-4, abs=1e-4)
    # The published knots end at t = 3: 0.040 off at most in 20,000 draws.
    assert epps_pulley(x).item() == pytest.approx(exact, rel=0.02, abs=0.06)


def test_the_statistic_of_normal_samples_is_what_is_expected_whatever_their_number():
    generator = torch.Generator().manual_seed(0)
    for count in (32, 256):
        found = epps_pulley(torch.randn(count, 4000, generator=generator)).mean().item()
        assert found == pytest.approx(NORMAL, rel=0.04)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 10_000),
    st.sampled_from([
        lambda x: x + 0.6, lambda x: 2.0 * x, lambda x: 0.5 * x, lambda x: 0.0 * x,
        lambda x: x.sign(), lambda x: (x.abs() - 0.8) / 0.6, lambda x: x**3 / 3,
    ]),
)
def test_the_statistic_of_other_samples_is_larger(seed, change):
    x = torch.randn(400, 20, generator=torch.Generator().manual_seed(seed))
    assert epps_pulley(change(x)).mean() > 3 * epps_pulley(x).mean()


def test_sigreg_tells_latents_of_few_directions_from_those_of_all():
    torch.manual_seed(0)
    free = torch.randn(3, 200, 16)
    flat = free[..., :1] * torch.ones(16)
    assert sigreg(free, 256).item() == pytest.approx(NORMAL, rel=0.3)
    assert sigreg(flat, 256) > 3 * sigreg(free, 256)


def test_the_effective_rank_counts_directions():
    x = torch.randn(2000, 8, generator=torch.Generator().manual_seed(0))
    x = x * torch.tensor([1.0] * 3 + [0.0] * 5)
    assert effective_rank(x).item() == pytest.approx(3, rel=0.01)
    assert effective_rank(torch.ones(50, 8)).item() == pytest.approx(1)


# -- training -------------------------------------------------------------------------------------


def dots(number, batch=64, frames=4, size=2):
    """A dot that an action of ``size`` numbers moves by its first two, in images of 16 px."""
    rng = np.random.default_rng([7, number])
    actions = rng.uniform(-0.15, 0.15, (batch, frames - 1, size))
    place = [rng.uniform(0.1, 0.9, (batch, 2))]
    for t in range(frames - 1):
        moved = np.clip(place[-1] + actions[:, t, :2], 0.0, 1.0)
        actions[:, t, :2] = moved - place[-1]
        place.append(moved)
    return torch.from_numpy(drawn(np.stack(place, 1))), torch.from_numpy(actions)


def drawn(places):
    """Dots at ``places`` [..., 2] in 0..1 -> uint8 [..., 16, 16, 3]."""
    rows, columns = np.mgrid[0:16, 0:16] / 15
    far = (rows - places[..., 0, None, None]) ** 2 + (columns - places[..., 1, None, None]) ** 2
    return np.repeat((255 * np.exp(-far / 0.02)).astype(np.uint8)[..., None], 3, axis=-1)


def trained(out, losses=None, config=TINY, feed=dots, **changes):
    torch.manual_seed(0)
    model = LeWMTraining(LeWorldModel(config), losses or LeWMLossConfig(directions=128))
    return train_lewm(model, feed, replace(TRAIN, **changes), out, "cpu")


@pytest.fixture(scope="module")
def dot_world(tmp_path_factory):
    """A trained model of the dots whose actions have 7 numbers, as the arm's."""
    config = replace(TINY, action_size=7, action_mean=(0.0,) * 7, action_std=(0.1,) * 7)
    return trained(
        tmp_path_factory.mktemp("dots"), config=config, feed=lambda n: dots(n, size=7), steps=300
    )


def test_training_does_not_collapse_and_uses_actions(dot_world):
    found = validate_lewm(dot_world, lambda number: dots(10_000 + number, size=7), 4)
    assert found["spread"] > 0.7
    assert found["rank"] > 4
    assert found["prediction"] < 0.5 * found["copy"]
    assert found["prediction"] < 0.5 * found["shuffled_actions"]


def test_without_sigreg_training_collapses(tmp_path):
    model = trained(tmp_path, LeWMLossConfig(sigreg_weight=0.0, directions=128))
    found = validate_lewm(model, lambda number: dots(10_000 + number), 4)
    assert found["spread"] < 0.1


def test_actions_are_recovered_where_that_has_a_weight(tmp_path):
    trained(tmp_path, LeWMLossConfig(directions=128, recovery_weight=1.0))
    losses = json.loads((tmp_path / "lewm_losses.json").read_text())
    assert losses["recovery"] < 0.5 * (0.3 / 0.1) ** 2 / 12  # their variance: 0.3 wide, std 0.1


def test_a_run_that_goes_on_is_the_run_that_was_not_interrupted(tmp_path):
    whole = trained(tmp_path / "whole", steps=6)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", steps=6, checkpoint_every=3, feed=interrupted)
    parts = trained(tmp_path / "parts", steps=6, checkpoint_every=3)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, msg=name)


def interrupted(number):
    if number == 5:
        raise KeyboardInterrupt
    return dots(number)


def test_fsdp_is_refused(tmp_path):
    with pytest.raises(TrainingError, match="parallel=ddp"):
        trained(tmp_path, parallel="fsdp")


# -- in a World -----------------------------------------------------------------------------------


class DotPool:
    """Dots as a World of stable-worldmodel has its environments, moved by two numbers within 0.15
    of the picture's side."""

    single_action_space = gymnasium.spaces.Box(-0.15, 0.15, (2,), np.float32)
    num_envs = 12

    def __init__(self):
        rng = np.random.default_rng(5)
        self.places = rng.uniform(0.2, 0.8, (self.num_envs, 2))
        self.goals = np.clip(self.places + rng.uniform(-0.3, 0.3, self.places.shape), 0.1, 0.9)

    def infos(self):
        return {"pixels": drawn(self.places)[:, None], "goal": drawn(self.goals)[:, None]}

    def away(self):
        return np.median(np.linalg.norm(self.goals - self.places, axis=1))


def brought(model, steps=4):
    pool = DotPool()
    policy = WorldPolicy(model, CEMConfig(samples=64, iterations=3, elites=8))
    policy.set_env(pool)
    before = pool.away()
    for _ in range(steps):
        pool.places = np.clip(pool.places + policy.get_action(pool.infos()), 0, 1)
    return before, pool.away()


def test_in_a_world_the_planner_brings_dots_to_their_goals_and_without_the_model_does_not(tmp_path):
    model = trained(tmp_path, config=replace(TINY, residual=True), steps=300)
    before, after = brought(model)
    assert before > 0.15
    assert after < 0.05
    assert brought(untrained_dynamics(model))[1] > 0.12


# -- the model ------------------------------------------------------------------------------------


def untrained(**changes):
    torch.manual_seed(0)
    return LeWorldModel(replace(TINY, **changes)).eval().requires_grad_(False)


@pytest.mark.parametrize(("size", "skip"), [(2, 1), (2, 5), (7, 1), (11, 2)])
def test_actions_of_any_size_and_blocks_of_any_length_are_imagined(size, skip):
    model = untrained(
        action_size=size, frame_skip=skip, action_mean=(0.5,) * size, action_std=(2.0,) * size
    )
    images = torch.randint(0, 256, (3, 2, 16, 16, 3), dtype=torch.uint8)
    latents = model.encode(images)
    assert latents.shape == (3, 2, 16)
    assert model.encode_frames(images).shape == (3, 2, 1, 16)
    assert model.imagine(latents, torch.randn(3, 1 + 6, size * skip)).shape == (3, 6, 16)


def test_actions_are_measured_in_units_of_the_data():
    model = untrained(action_mean=(1.0, -2.0), action_std=(0.1, 4.0), frame_skip=2)
    blocks = torch.tensor([[1.1, 2.0, 0.9, -2.0]])
    torch.testing.assert_close(model.normalised(blocks), torch.tensor([[1.0, 1.0, -1.0, 0.0]]))


def test_no_frame_is_predicted_from_later_ones_and_imagining_is_predicting_again_and_again():
    model = untrained()
    for block in model.blocks:  # AdaLN-zero begins as the identity
        torch.nn.init.normal_(block.modulation.weight)
    latents, actions = torch.randn(2, 3, 16), torch.randn(2, 5, 2)
    whole = model.predict(latents, actions[:, :3])
    torch.testing.assert_close(model.predict(latents[:, :2], actions[:, :2]), whole[:, :2])
    changed = model.predict(latents, actions[:, :3].flip(0))
    assert (changed - whole).abs().min() > 1e-6
    imagined = model.imagine(latents[:, :1], actions)
    frames = [latents[:, 0]]
    for t in range(5):
        back = slice(max(0, t - 2), t + 1)  # history 3
        frames.append(model.predict(torch.stack(frames, 1)[:, back], actions[:, back])[:, -1])
    torch.testing.assert_close(imagined, torch.stack(frames[1:], 1))


def test_a_residual_model_adds_to_the_present_latent():
    plain, residual = untrained(), untrained(residual=True)
    latents, actions = torch.randn(2, 3, 16), torch.randn(2, 3, 2)
    torch.testing.assert_close(
        residual.predict(latents, actions), latents + plain.predict(latents, actions)
    )


def test_wrong_sizes_are_explained():
    model = untrained()
    with pytest.raises(ValueError, match=r"takes uint8 \[..., 16, 16, 3\].*fit_picture"):
        model.encode(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="takes 2: frame_skip 1 actions of 2 numbers"):
        model.predict(torch.zeros(1, 1, 16), torch.zeros(1, 1, 7))
    with pytest.raises(ValueError, match="looks back at 3"):
        model.predict(torch.zeros(1, 4, 16), torch.zeros(1, 4, 2))
    with pytest.raises(ValueError, match="a block after each frame"):
        model.imagine(torch.zeros(1, 2, 16), torch.zeros(1, 1, 2))
    for changes, message in (
        ({"patch_size": 5}, "must divide image_size 16"),
        ({"encoder_heads": 3}, "must divide encoder_dim 32"),
        ({"history": 0}, "at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(TINY, **changes)


# -- weights --------------------------------------------------------------------------------------


def test_weights_come_back_with_the_statistics_of_their_data(tmp_path):
    model = trained(tmp_path / "run", steps=3)
    checkpoint.save_part(tmp_path, model, None)
    back = Models.load(tmp_path, device="cpu").lewm
    assert back.config == model.config
    assert (parts_in(tmp_path), image_size(tmp_path, "lewm")) == (["lewm"], 16)
    assert back.projector[1].num_batches_tracked == 3
    images, _ = dots(0, batch=8)
    torch.testing.assert_close(back.encode(images), model.encode(images), atol=2e-2, rtol=1e-2)


def test_a_checkpoint_that_lacks_what_is_asked_for_says_what_to_do(tmp_path):
    checkpoint.save_part(tmp_path, untrained(), None)
    for load in (lambda: Models.load(tmp_path, ["predictor"], "cpu"), lambda: image_size(tmp_path)):
        with pytest.raises(MissingPart, match=r"holds a LeWorldModel; plan with world_model=lewm"):
            load()
    with pytest.raises(MissingPart, match=r"train one: `worldmodel lewm data=STORE out=DIR`"):
        Models.load("shipped", ["lewm"], "cpu")
    (tmp_path / "lewm.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        Models.load(tmp_path, ["lewm"], "cpu")


# -- data -----------------------------------------------------------------------------------------


def test_measured_actions_say_what_the_fingers_were_told_and_end_where_the_arm_is_parked(tmp_path):
    store, episode = EpisodeStore(tmp_path), make_episode(12, 0)
    episode.states[:, :3] = 0.5, 0.0, 0.1
    episode.states[:, 6] = 0, 0.4, 0.5, *[0.5] * 9  # on an object
    episode.commanded_closedness[:] = 0, 0.5, *[1.0] * 10
    episode.states[8:, 0] = -0.3  # driven away
    store.write("ep", episode)
    windows = ActionWindows(store, 2)
    assert windows.frames == [8]
    rng = np.random.default_rng(0)
    blocks = np.concatenate([windows.sample(rng)[1] for _ in range(60)])
    assert np.abs(blocks[:, 0]).max() < 0.1
    assert set(blocks[:, 6].round(6)) == {0.0, 0.5}
    assert windows.statistics()[1][0] == 1.0  # never changes: the drive is not in it


def store_of(folder, size=2, frames=12, rows=None, count=3):
    """Episodes whose source gave actions of ``size`` numbers."""
    store = EpisodeStore(folder)
    for seed in range(count):
        episode = make_episode(frames, seed)
        rng = np.random.default_rng(seed)
        episode.raw["action"] = rng.normal(3.0, 2.0, (rows or frames, size))
        store.write(f"ep-{seed}", episode)
    return store


def test_windows_hold_every_action_between_their_frames(tmp_path):
    store = store_of(tmp_path, size=3)
    windows = ActionWindows(store, length=3, skip=4, actions="raw/action")
    images, blocks = windows.sample(np.random.default_rng(0))
    assert (images.shape, blocks.shape) == ((3, 32, 32, 3), (2, 12))
    episodes = [episode for _, episode in store.episodes()]
    (found,) = [
        (e, t) for e in episodes for t in range(4) if (e.images[t : t + 9 : 4] == images).all()
    ]
    episode, start = found
    np.testing.assert_array_equal(blocks.reshape(8, 3), episode.raw["action"][start : start + 8])
    mean, std = windows.statistics()
    rows = np.concatenate([e.raw["action"][:-1] for e in episodes])
    np.testing.assert_allclose((mean, std), (rows.mean(0), rows.std(0)))
    measured = ActionWindows(store, 2).sample(np.random.default_rng(1))[1]
    changes = [told_actions(e.states, e.commanded_closedness) for e in episodes]
    assert any((row == measured[0]).all() for rows in changes for row in rows)


def test_a_number_that_never_changes_is_not_divided_by_nothing(tmp_path):
    store = EpisodeStore(tmp_path)
    episode = make_episode(8)
    episode.raw["action"] = np.ones((8, 2))
    store.write("ep", episode)
    assert ActionWindows(store, 2, actions="raw/action").statistics()[1].tolist() == [1.0, 1.0]


def test_actions_that_do_not_fit_are_explained(tmp_path):
    store = store_of(tmp_path / "a")
    for actions, message in (
        ("commanded", "valid: measured, or raw/NAME"),
        ("raw/torque", r"valid: measured, raw/action, raw/clock"),
        ("raw/clock", r"has shape \(3,\); expected \[12, A\] or \[11, A\]"),
    ):
        with pytest.raises(DataError, match=message):
            ActionWindows(store, 2, actions=actions)
    episode = make_episode(8, 9)
    episode.raw["action"] = np.full((8, 2), np.nan)
    store.write("nan", episode)
    with pytest.raises(DataError, match="not finite at frame 0"):
        ActionWindows(store, 2, actions="raw/action")
    other = store_of(tmp_path / "b", size=2, count=1)
    episode.raw["action"] = np.zeros((8, 3))
    other.write("three", episode)
    with pytest.raises(DataError, match=r"actions of \[2, 3\] numbers"):
        ActionWindows(other, 2, actions="raw/action")


# -- commands -------------------------------------------------------------------------------------

SMALL = (
    "model.image_size=16", "model.patch_size=8", "model.encoder_dim=16", "model.encoder_depth=1",
    "model.encoder_heads=2", "model.embed_dim=8", "model.projector_dim=16",
    "model.predictor_depth=1", "model.predictor_heads=2", "model.predictor_head_dim=4",
    "model.predictor_mlp=16", "losses.directions=16", "train.batch_size=4",
    "train.warmup_steps=1", "train.log_every=1",
)


def test_a_model_of_other_actions_is_trained_by_the_command_and_reported(tmp_path, capsys):
    data, check = store_of(tmp_path / "data").url, store_of(tmp_path / "check", count=1).url
    out = tmp_path / "out"
    given = ["lewm", f"data={data}", f"validation={check}", f"out={out}", "actions=raw/action",
             "model.frame_skip=2", "validation_batches=1", *SMALL]
    assert main([*given, "train.steps=2"]) == 0
    assert "LeWorldModel of 0.0" in capsys.readouterr().out
    found = json.loads((out / "report.json").read_text())
    config = found["lewm"]["config"]
    assert (config["action_size"], config["frame_skip"]) == (2, 2)
    assert config["action_mean"] == pytest.approx([3.0, 3.0], abs=1.5)
    assert set(found["validation"]) == {
        "prediction", "copy", "shuffled_actions", "spread", "rank"
    }
    assert {"prediction", "sigreg", "spread", "rank"} <= set(found["losses"])
    assert Models.load(out, ["lewm"], "cpu").lewm.config.block_size == 4
    assert main([*given, "train.steps=3"]) == 0  # goes on
    assert json.loads((out / "lewm_losses.json").read_text())["step"] == 3
    assert main([*given, "train.steps=4", "losses.recovery_weight=0.5"]) == 2
    assert "recovery_weight" in capsys.readouterr().err
    three = store_of(tmp_path / "three", size=3, count=1).url
    assert main([*given[:2], f"validation={three}", f"out={tmp_path / 'x'}", *given[4:]]) == 2
    assert "actions of 3 numbers" in capsys.readouterr().err
    assert main(["evaluate", "world_model=lewm", f"checkpoint={out}", "task=reach", "episodes=1",
                 f"out={tmp_path / 'e'}"]) == 2
    assert "actions of 2 numbers, and the arm's have 7" in capsys.readouterr().err


# -- planning -------------------------------------------------------------------------------------


def step_towards(model, place, goal, imagined_by):
    """The first action's x and y from a dot at ``place`` to one at ``goal``."""
    cem = CEMConfig(max_move_m=0.15)
    perception, goals, search = lewm_parts(model, AgentConfig(cem, bf16=False), imagined_by)
    search.reset(0)
    goals.reset([drawn(np.array(goal))])
    state = torch.zeros(7)
    view = View(perception.encode(torch.from_numpy(drawn(np.array([place])))), state)
    cost, _ = goals.advance(view)
    return search.plan(cost, view, 0.0).actions[0, :2]


PAIRS = [((0.3, 0.3), (0.45, 0.3)), ((0.6, 0.5), (0.5, 0.6)), ((0.5, 0.7), (0.5, 0.55)),
         ((0.3, 0.6), (0.2, 0.5)), ((0.7, 0.4), (0.6, 0.3)), ((0.4, 0.5), (0.5, 0.6))]


def miss(model, imagined_by):
    """Median distance of the action from the one that leads to the goal."""
    return np.median([
        (step_towards(model, a, b, imagined_by) - (torch.tensor(b) - torch.tensor(a))).norm()
        for a, b in PAIRS
    ])


def test_the_search_finds_the_action_that_leads_to_the_goal_image(dot_world):
    assert miss(dot_world, "trained") < 0.07
    assert miss(dot_world, "random") > 0.1
    assert miss(dot_world, "shuffled") > 0.1


def test_untrained_dynamics_see_as_before_and_imagine_otherwise(dot_world):
    other = untrained_dynamics(dot_world)
    images, actions = dots(0, batch=4, size=7)
    latents = dot_world.encode(images)
    torch.testing.assert_close(other.encode(images), latents)
    ours, theirs = (m.imagine(latents[:, :1], actions.float()) for m in (dot_world, other))
    assert (ours - theirs).abs().mean() > 0.1


def test_a_horizon_holds_whole_action_blocks():
    model = untrained(action_size=7, frame_skip=2, action_mean=(), action_std=())
    with pytest.raises(ValueError, match=r"horizon=3 is no multiple .*agent.cem.horizon=4"):
        lewm_parts(model, AgentConfig(CEMConfig(horizon=3)))
    perception, goals, search = lewm_parts(model, AgentConfig(CEMConfig(horizon=4)))
    goals.reset([drawn(np.array([0.5, 0.5]))])
    view = View(perception.encode(torch.zeros(1, 16, 16, 3, dtype=torch.uint8)), torch.zeros(7))
    assert search.plan(goals.advance(view)[0], view, 0.0).actions.shape == (4, 7)


@pytest.fixture(scope="module")
def random_arm(tmp_path_factory):
    """A checkpoint for the arm of random weights."""
    folder = tmp_path_factory.mktemp("random")
    model = untrained(
        action_size=7, action_mean=(0.0,) * 7, action_std=(0.03,) * 7, image_size=32, patch_size=8
    )
    checkpoint.save_part(folder, model, None)
    return folder


@pytest.mark.parametrize("imagined_by", ["random", "shuffled"])
def test_the_arm_is_planned_for_with_the_model_switched_off(random_arm, imagined_by):
    policy = PolicyConfig(
        world_model="lewm", checkpoint=str(random_arm), predictor=imagined_by, device="cpu"
    )
    cell = Cell("short", "reach", policy=policy, episodes=1, max_steps=1)
    (result,) = [run_job(job, Keep()) for job in jobs_of(cell, 50_000_000)]
    assert result.steps == 1
    assert np.isfinite(result.distance_m)


def test_evaluate_plans_with_a_leworldmodel(random_arm, tmp_path):
    assert main([
        "evaluate", "world_model=lewm", f"checkpoint={random_arm}", "task=reach", "episodes=1",
        "first_seed=50000000", "max_steps=2", "workers=1", f"out={tmp_path}",
    ]) == 0
    found = json.loads((tmp_path / "report.json").read_text())
    assert (found["episodes"], found["per_episode"][0]["steps"]) == (1, 2)


def test_plan_draws_an_episode_and_a_deadline_is_measured(random_arm, tmp_path, capsys):
    assert main([
        "plan", "world_model=lewm", f"checkpoint={random_arm}", "task=reach", "seed=50000000",
        "max_steps=2", "agent.cem.deadline_s=0.5", "agent.cem.horizon=2", f"out={tmp_path}",
    ]) == 0
    assert "samples x" in capsys.readouterr().out
    assert (tmp_path / "episode.mp4").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["world_model=lewm"], "shipped has no LeWorldModel; train one"),
        (["checkpoint={random}"], "plan with world_model=lewm"),
        (["world_model=lewm", "checkpoint={random}", "agent.objective.distance=l1"],
         "no effect here: world_model=lewm"),
        (["world_model=lewm", "policy=servo"], "no effect here: policy=servo"),
    ],
)
def test_what_does_not_go_together_is_refused(random_arm, tmp_path, capsys, words, message):
    words = [word.format(random=random_arm) for word in words]
    assert main(["evaluate", "task=reach", "episodes=1", *words, f"out={tmp_path}"]) == 2
    assert message in capsys.readouterr().err
