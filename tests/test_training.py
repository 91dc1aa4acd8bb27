"""The training code really trains, resumes exactly, and stops at bad input."""

import copy
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from arm_worldmodel.batches import LatentBatches
from arm_worldmodel.commands.pretrain import Settings as Pretrain
from configs.overrides import load
from robot_data.latents import LatentEpisode
from robot_data.schema import DataError
from worldmodel.config import EncoderConfig, PredictorConfig, ReadoutConfig, TrainConfig
from worldmodel.encoder import Encoder, normalise_images, normalise_tokens
from worldmodel.losses import PostTraining, Window, post_training_losses, unroll
from worldmodel.masked import MASKS, MaskedPredictor, MaskedPretraining, visible_tokens
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout, decode, object_loss, readout_loss
from worldmodel.run import TrainingError, learning_rate
from worldmodel.train import post_train, pretrain, pretrain_published

AC = PredictorConfig(64, 16, 24, 48, 2, 4, residual=True, action_scale=20.0)


PUSH = torch.randn(24, generator=torch.Generator().manual_seed(99))


def windows(step):
    """A world where the first action axis shifts every token along one direction."""
    generator = torch.Generator().manual_seed(step)
    tokens = [normalise_tokens(torch.randn(16, 16, 24, generator=generator))]
    push = torch.randint(0, 2, (16, 2), generator=generator)
    for t in range(2):
        tokens.append(normalise_tokens(tokens[-1] + push[:, t, None, None] * PUSH))
    actions = torch.zeros(16, 2, 7)
    actions[..., 0] = 0.05 * push
    return Window(torch.stack(tokens, 1), actions, torch.zeros(16, 3, 7))


def config(**changes):
    base = dict(steps=60, batch_size=16, warmup_steps=5, bf16=False, checkpoint_every=20)
    return TrainConfig(**{**base, **changes})


def test_post_training_learns_to_use_actions(tmp_path):
    torch.manual_seed(0)
    model = post_train(
        PostTraining(Predictor(AC)), windows, config(steps=250, learning_rate=3e-3), tmp_path
    )
    from worldmodel.train import validate

    result = validate(model, lambda step: windows(10_000 + step), 4)
    assert result["teacher_forcing"] < 0.6 * result["copy"]
    assert result["teacher_forcing"] < 0.7 * result["shuffled_actions"]


def test_checkpointed_activations_give_the_same_gradients():
    torch.manual_seed(0)
    predictor = Predictor(PredictorConfig(32, 16, 24, 48, 2, 4))
    tokens, actions, states = torch.randn(2, 3, 4, 24), torch.randn(2, 2, 7), torch.randn(2, 3, 7)
    gradients = []
    for predictor.checkpoint_activations in (False, True):
        predictor.zero_grad()
        sum(post_training_losses(predictor, tokens, actions, states)).backward()
        gradients.append([p.grad.clone() for p in predictor.parameters() if p.grad is not None])
    assert len(gradients[0]) > 10
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_frozen_blocks_stay_as_they_are(tmp_path):
    torch.manual_seed(0)
    predictor = Predictor(AC)
    predictor.freeze_blocks(1)
    before = {k: v.clone() for k, v in predictor.state_dict().items()}
    post_train(PostTraining(predictor), windows, config(steps=3), tmp_path)
    changed = {k for k, v in predictor.state_dict().items() if not torch.equal(v, before[k])}
    assert any(name.startswith("predictor_blocks.1.") for name in changed)
    assert not any(name.startswith(("predictor_blocks.0.", "action_encoder")) for name in changed)
    with pytest.raises(ValueError, match="0 to 1"):
        predictor.freeze_blocks(2)


def test_resumed_run_equals_an_uninterrupted_one(tmp_path):
    def weights(folder, stops):
        for stop in stops:
            torch.manual_seed(0)
            calls = []

            def batch(step, calls=calls, stop=stop):
                calls.append(step)
                if stop is not None and step >= stop:
                    raise KeyboardInterrupt
                return windows(step)

            model = Predictor(AC)
            try:
                post_train(PostTraining(model), batch, config(), folder)
            except KeyboardInterrupt:
                continue
        return model.state_dict()

    whole = weights(tmp_path / "whole", [None])
    broken = weights(tmp_path / "broken", [30, 45, None])
    for key, value in whole.items():
        assert torch.equal(value, broken[key]), key


def test_state_of_another_run_is_refused(tmp_path):
    torch.manual_seed(0)
    post_train(PostTraining(Predictor(AC)), windows, config(steps=20), tmp_path)
    other = PredictorConfig(64, 16, 24, 96, 2, 4)
    with pytest.raises(TrainingError, match="another run"):
        post_train(PostTraining(Predictor(other)), windows, config(steps=20), tmp_path)


@pytest.mark.parametrize("damage", ["emptied", "text", "cut", "flipped", "foreign", "folder"])
def test_a_damaged_state_is_named_with_what_to_do(tmp_path, damage):
    torch.manual_seed(0)
    post_train(PostTraining(Predictor(AC)), windows, config(steps=2), tmp_path)
    state = tmp_path / "train_state.pt"
    whole = state.read_bytes()
    state.unlink()
    if damage == "folder":
        state.mkdir()
    elif damage == "foreign":
        torch.save(torch.zeros(3), state)
    else:
        half = len(whole) // 2
        state.write_bytes({
            "emptied": b"", "text": b"not weights", "cut": whole[:half],
            "flipped": whole[:half] + bytes(255 - b for b in whole[half:half + 64])
            + whole[half + 64:],
        }[damage])
    with pytest.raises(TrainingError, match=r"train_state\.pt is .*delete it .*out=") as told:
        post_train(PostTraining(Predictor(AC)), windows, config(steps=3), tmp_path)
    assert "\n" not in str(told.value)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path):
    def bad(step):
        return windows(step)._replace(tokens=torch.full((16, 3, 16, 24), float("nan")))

    with pytest.raises(TrainingError, match="learning_rate"):
        post_train(PostTraining(Predictor(AC)), bad, config(steps=3), tmp_path)


def test_episodes_too_short_for_a_window_are_named_and_left_out(capsys):
    def cache(*lengths):
        return SimpleNamespace(episodes=lambda: [
            LatentEpisode("e", np.zeros((t, 4, 8), np.float16), np.zeros((t, 7)), np.zeros(t),
                          np.full((t, 3), np.nan))
            for t in lengths
        ])

    feed = LatentBatches([cache(28, 29)], 16, 8, 0, (4,))
    assert feed.windows(0).tokens.shape == (16, 8, 4, 8)
    assert "1 of 2 episodes are left out" in capsys.readouterr().err
    with pytest.raises(DataError, match="no episode has 29 frames"):
        LatentBatches([cache(28)], 16, 8, 0, (4,))


def test_a_window_says_what_the_fingers_were_told_and_not_what_they_met():
    measured, told = np.zeros((6, 7)), np.array([0.0, 0.5, 1.0, 1.0, 1.0, 0.0])
    measured[:, 6] = 0.0, 0.4, 0.5, 0.5, 0.5, 0.1  # on an object, then open
    measured[:, 0] = 0.05 * np.arange(6)
    episode = LatentEpisode(
        "e", np.zeros((6, 4, 8), np.float16), measured, told, np.full((6, 3), np.nan)
    )
    feed = LatentBatches([SimpleNamespace(episodes=lambda: [episode])], 1, 6, 0, (1,))
    window = feed.windows(0)
    np.testing.assert_allclose(window.actions[0, :, 6], [0.5, 0.5, 0, 0, -1], atol=1e-6)
    np.testing.assert_allclose(window.states[0, :, 6], [0, 0.5, 1, 1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(window.actions[0, :, 0], 0.05)
    np.testing.assert_array_equal(window.commanded[0], told)
    np.testing.assert_array_equal(episode.states[:, 6], measured[:, 6])  # as recorded


def test_frames_with_a_parked_arm_tell_of_the_object_and_not_of_the_hand():
    states, told = np.zeros((12, 7)), np.r_[0, 0, np.ones(3), np.zeros(7)]
    states[:, 6] = 0, 0, 0.5, 0.5, 0.5, *np.zeros(7)  # held, then released
    states[:, :3] = 0.5, 0.0, 0.02
    states[8:, 0] = -0.3  # driven away
    episode = LatentEpisode(
        "e", np.arange(12.0, dtype=np.float16)[:, None, None].repeat(4, 1).repeat(8, 2), states,
        told, np.full((12, 3), np.nan),
    )
    cache = SimpleNamespace(episodes=lambda: [episode])
    feed = LatentBatches([cache], 64, 3, 0, (1,))
    assert max(feed.windows(0).tokens.max() for _ in range(3)) == 7
    tokens, labels, places = feed.frames(0)
    away = tokens[:, 0, 0] >= 8
    assert 0 < away.sum() < 64
    assert labels[away, :6].isnan().all()
    assert labels[~away].isfinite().all()
    assert (places[away] - torch.tensor([0.5, 0.0, 0.02])).abs().max() < 1e-6
    with pytest.raises(DataError, match="no episode has"):
        LatentBatches([cache], 64, 9, 0, (1,))


def test_a_hand_that_is_not_in_the_picture_is_expected_to_be_read_far_off():
    output, place = torch.randn(4, 15, requires_grad=True), torch.zeros(4, 3)
    state = torch.zeros(4, 7)
    state[2:, :6] = torch.nan
    assert readout_loss(output, state).isfinite()
    (away,) = torch.autograd.grad(readout_loss(output, state), output, retain_graph=True)
    assert not away[2:].any()  # nothing is learned of it
    assert away[:2, :10].all()
    (scale,) = torch.autograd.grad(object_loss(output, state, place), output)
    assert (scale[2:, 14] < 0).all()  # but that it is unsure


def test_learning_rate_warms_up_and_falls():
    c = config(steps=100, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.1)
    rates = [learning_rate(c, s) for s in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def shipped_steps(parameters, losses, rate):
    """The optimiser that made the shipped weights, written out."""
    groups = [{"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.04},
              {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.95))
    for step, loss in enumerate(losses):
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()


def shipped_rate(step, steps, warmup):
    """Up to 6e-4 in a line, down to 1e-5 in a cosine."""
    if step < warmup:
        return 6e-4 * (step + 1) / warmup
    turn = math.cos(math.pi * (step - warmup) / (steps - warmup))
    return 1e-5 + (6e-4 - 1e-5) * 0.5 * (1 + turn)


def test_post_training_by_default_is_to_the_bit_what_made_the_shipped_predictor(tmp_path):
    torch.manual_seed(0)
    model = PostTraining(Predictor(AC), 2, teacher_forcing=False)
    by_hand = copy.deepcopy(model)
    post_train(model, windows, TrainConfig(steps=6, warmup_steps=2, bf16=False), tmp_path, "cpu")

    def losses():
        for step in range(6):
            given = windows(step)
            rolled = unroll(by_hand.predictor, given.tokens[:, 0], *given[1:3], None, 2)
            yield (rolled - given.tokens[:, 1:3]).abs().mean()

    trained = [p for p in by_hand.parameters() if p.requires_grad]
    shipped_steps(trained, losses(), lambda step: shipped_rate(step, 6, 2))
    for (name, value), expected in zip(
        model.state_dict().items(), by_hand.state_dict().values(), strict=True
    ):
        assert torch.equal(value, expected), name


def test_pre_training_by_default_is_to_the_bit_what_made_the_shipped_encoder(tmp_path):
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(64, 48, 2, 4))
    by_hand = MaskedPretraining(copy.deepcopy(encoder))

    def clips(step):
        generator = torch.Generator().manual_seed(step)
        return torch.randint(0, 256, (4, 2, 64, 64, 3), generator=generator, dtype=torch.uint8)

    torch.manual_seed(1)  # of the predictor
    teacher = pretrain(
        encoder, clips, TrainConfig(steps=6, warmup_steps=2, bf16=False), tmp_path, "cpu"
    )
    torch.manual_seed(1)
    by_hand.predictor = MaskedPredictor(by_hand.student, len(by_hand.levels))

    def losses():
        for step in range(6):
            generator = torch.Generator().manual_seed(step)
            keep = visible_tokens(4, 1, 4, MASKS[step % 2], generator)
            yield by_hand(normalise_images(clips(step)).transpose(1, 2), keep)[0]
            by_hand.update_teacher(1.0 - 0.004 * (1.0 - 0.9 * step / 6))

    trained = [p for p in by_hand.parameters() if p.requires_grad]
    shipped_steps(trained, losses(), lambda step: shipped_rate(step, 6, 2))
    for (name, value), expected in zip(
        teacher.state_dict().items(), by_hand.teacher.state_dict().values(), strict=True
    ):
        assert torch.equal(value, expected), name


@pytest.mark.parametrize("kind", MASKS)
def test_masks_hide_the_same_patches_in_every_frame(kind):
    keep = visible_tokens(8, 3, 8, kind, torch.Generator().manual_seed(0))
    assert keep.shape[1] % 3 == 0
    count = keep.shape[1] // 3
    for row in keep:
        assert row.unique().numel() == len(row)
        frames = [set((row[i * count : (i + 1) * count] - 64 * i).tolist()) for i in range(3)]
        assert frames[0] == frames[1] == frames[2]
    assert count < 0.6 * 64


def clips(step):
    """Bright squares at random places on a fixed background."""
    background = np.random.default_rng(0).integers(60, 120, (64, 64, 3))
    batch = np.repeat(background[None], 32, 0)
    place = np.random.default_rng(step).integers(0, 48, (32, 2))
    for image, (y, x) in zip(batch, place, strict=True):
        image[y : y + 16, x : x + 16] = 255
    return torch.from_numpy(batch.astype(np.uint8))[:, None].repeat(1, 2, 1, 1, 1)


def test_the_image_mode_learns_and_does_not_collapse(tmp_path):
    given = load(Pretrain, ["data=x", "out=x", "recipe=pretrain_image"])
    assert given.published.frames == 1
    small = replace(given.published, predictor_dim=48, predictor_depth=2, predictor_heads=4)
    short = replace(given.train, steps=60, warmup_steps=5, learning_rate=1e-3, batch_size=32)
    torch.manual_seed(0)
    encoder = pretrain_published(
        Encoder(EncoderConfig(64, 48, 3, 4)), clips, small, short, tmp_path, "cpu"
    )
    with torch.no_grad():
        tokens = encoder.encode_frames(clips(999)[:, 0])
    assert tokens.std(dim=0).mean() > 0.3
    always_zero = tokens.abs().mean()  # the error of the guess 0
    assert json.loads((tmp_path / "pretrain_losses.json").read_text())["loss"] < 0.7 * always_zero


def test_masked_pretraining_learns_and_does_not_collapse(tmp_path):
    torch.manual_seed(0)
    encoder = pretrain(
        Encoder(EncoderConfig(64, 48, 3, 4)), clips, config(steps=120, learning_rate=1e-3), tmp_path
    )
    with torch.no_grad():
        tokens = encoder.encode_frames(clips(999)[:, 0])
    assert tokens.std(dim=0).mean() > 0.15


def test_teacher_gets_no_gradient_and_follows_the_student():
    model = MaskedPretraining(Encoder(EncoderConfig(64, 48, 2, 4)))
    video = torch.randn(4, 3, 2, 64, 64)
    keep = visible_tokens(4, 1, 4, MASKS[0], torch.Generator().manual_seed(0))
    loss, _ = model(video, keep)
    loss.backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    assert all(p.grad is not None for p in model.student.parameters())
    with torch.no_grad():
        model.student.norm.weight.add_(1.0)
    model.update_teacher(0.9)
    assert model.teacher.norm.weight.mean().item() == pytest.approx(1.1)


def test_readout_decodes_what_its_loss_wants():
    torch.manual_seed(0)
    readout = Readout(ReadoutConfig(24, 16, 32, 1, 4, 4))
    tokens = torch.randn(16, 16, 24)
    states = torch.rand(16, 7) * torch.tensor([0.2, 0.2, 0.2, 3.0, 0.3, 1.5, 1.0])
    states[:, 6] = states[:, 6].round()
    optimiser = torch.optim.Adam(readout.parameters(), 3e-3)
    for _ in range(300):
        loss = readout_loss(readout(tokens), states)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    read = decode(readout(tokens))
    assert (read[:, :3] - states[:, :3]).abs().max() < 0.02
    assert (read[:, 3:6] - states[:, 3:6]).abs().max() < 0.1
    assert (read[:, 6] - states[:, 6]).abs().max() < 0.1
