"""The losses that make imagination right: rollouts, and what is read from imagined frames."""

import numpy as np
import pytest
import torch

from robot_data.events import object_places
from worldmodel.config import PredictorConfig, ReadoutConfig, TrainConfig
from worldmodel.encoder import normalise_tokens
from worldmodel.losses import PostTraining, Window, unroll
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout, error_scales, object_loss, object_place
from worldmodel.train import post_train, train_readout

SMALL = PredictorConfig(32, 16, 24, 48, 2, 4, residual=True)
READOUT = ReadoutConfig(24, 4, 32, 1, 2, 2, object=True)


def predictor(**changes):
    torch.manual_seed(0)
    made = Predictor(PredictorConfig(32, 16, 24, 48, 2, 4, **changes))
    torch.nn.init.normal_(made.predictor_proj.weight, std=0.1)
    return made


@pytest.mark.parametrize("outside", [False, True])
def test_a_rollout_that_keeps_keys_and_values_is_the_whole_forward_pass(outside):
    model = predictor(residual=not outside, use_extrinsics=outside)
    torch.manual_seed(1)
    first = normalise_tokens(torch.randn(3, 4, 24))
    actions, states = 0.1 * torch.randn(3, 4, 7), torch.randn(3, 5, 7)
    seen_from = torch.randn(3, 5, 6) if outside else None
    whole = first[:, None]
    for t in range(1, 5):
        there = None if seen_from is None else seen_from[:, :t]
        following = model(whole, actions[:, :t], states[:, :t], there)
        whole = torch.cat([whole, normalise_tokens(following)[:, -1:]], dim=1)
    rolled = unroll(model, first, actions, states, seen_from, 4)
    torch.testing.assert_close(rolled, whole[:, 1:], atol=1e-5, rtol=1e-4)
    gradients = []
    for imagined in (rolled, whole[:, 1:]):
        model.zero_grad()
        imagined.square().sum().backward(retain_graph=True)
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_recovery_teaches_what_the_token_error_alone_does_not_ask(tmp_path):
    """A hand that shows in one channel of one token: L1 over all tokens hardly sees it."""
    torch.manual_seed(0)
    readout = Readout(READOUT)

    def window(step):
        g = torch.Generator().manual_seed(step)
        moved = torch.rand(8, 2, 1, generator=g) * 0.1
        place = torch.cat([torch.zeros(8, 1, 1), moved.cumsum(1)], 1)
        tokens = torch.randn(8, 1, 4, 24, generator=g).repeat(1, 3, 1, 1)
        tokens[:, :, 0, 0] = 20 * place[..., 0]
        tokens = normalise_tokens(tokens)
        actions, states = torch.zeros(8, 2, 7), torch.zeros(8, 3, 7)
        actions[..., :1], states[..., :1] = moved, 0.4 + place
        return Window(tokens, actions, states, torch.zeros(8, 3), torch.full((8, 3, 3), 0.1))

    def frames(step):
        w = window(step)
        return w.tokens.flatten(0, 1), w.states.flatten(0, 1), w.objects.flatten(0, 1)

    config = TrainConfig(steps=300, learning_rate=3e-3, warmup_steps=10, bf16=False)
    train_readout(readout, frames, config, tmp_path / "readout", device="cpu")
    test = window(10_000)
    errors = {}
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        model = PostTraining(
            Predictor(SMALL), 2, [readout] if weight else [], weight, 0.0, teacher_forcing=False
        )
        short = TrainConfig(steps=120, learning_rate=3e-3, warmup_steps=10, bf16=False)
        post_train(model, window, short, tmp_path / str(weight), device="cpu")
        with torch.no_grad():
            imagined = unroll(
                model.predictor, test.tokens[:, 0], test.actions, test.states, None, 2
            )
            read = readout.state(imagined[:, -1])
        errors[weight] = (read[:, 0] - test.states[:, -1, 0]).abs().mean().item()
    assert errors[1.0] < 0.8 * errors[0.0]
    assert not any(p.requires_grad for p in readout.parameters())


def test_a_frozen_readout_is_not_changed_by_the_predictors_training(tmp_path):
    readout = Readout(READOUT)
    before = {k: v.clone() for k, v in readout.state_dict().items()}
    model = PostTraining(Predictor(SMALL), 1, [readout], 0.3, 0.3)
    window = Window(
        torch.randn(2, 2, 4, 24), torch.zeros(2, 1, 7), torch.zeros(2, 2, 7), torch.zeros(2, 2),
        torch.zeros(2, 2, 3),
    )
    post_train(model, lambda step: window, TrainConfig(steps=2, bf16=False), tmp_path, "cpu")
    assert all(torch.equal(v, before[k]) for k, v in readout.state_dict().items())


def test_recovery_without_what_was_told_says_what_is_missing():
    model = PostTraining(Predictor(SMALL), 1, [Readout(READOUT)], 0.3, 0.3)
    with pytest.raises(ValueError, match=r"what the gripper was told.*recovery_weight 0"):
        model(torch.randn(2, 2, 4, 24), torch.zeros(2, 1, 7), torch.zeros(2, 2, 7))


def test_a_readout_that_gets_an_object_reads_the_hand_as_before():
    torch.manual_seed(0)
    plain = Readout(ReadoutConfig(24, 4, 32, 1, 2, 2))
    tokens = torch.randn(3, 4, 24)
    wide = plain.with_object()
    torch.testing.assert_close(wide.state(tokens), plain.state(tokens))
    assert wide(tokens).shape == (3, 15)
    assert wide.with_object() is wide


def test_places_that_are_not_known_do_not_count():
    torch.manual_seed(0)
    output, state = torch.randn(4, 15), torch.zeros(4, 7)
    place = torch.rand(4, 3)
    place[1:] = float("nan")
    alone = object_loss(output[:1], state[:1], place[:1])
    scale = output[:, 14]  # of the hand's error, known everywhere
    hand = object_loss(output, state, torch.full((4, 3), float("nan")))
    assert torch.isfinite(object_loss(output, state, place))
    together = object_loss(output, state, place) - hand
    first = alone - object_loss(output[:1], state[:1], torch.full((1, 3), float("nan")))
    torch.testing.assert_close(together, first)
    assert scale.shape == (4,)


def test_error_scales_come_to_be_the_mean_errors(tmp_path):
    """Half of the frames are hopeless; the readout learns where it errs."""
    torch.manual_seed(0)
    readout = Readout(READOUT)

    def frames(step):
        g = torch.Generator().manual_seed(step)
        tokens = torch.randn(64, 4, 24, generator=g)
        hopeless = torch.rand(64, generator=g) < 0.5
        tokens[:, :, 0] = 4.0 * hopeless[:, None]
        place = 0.5 + 0.05 * torch.randn(64, 3, generator=g) * hopeless[:, None]
        return tokens, torch.zeros(64, 7), place

    config = TrainConfig(steps=300, learning_rate=3e-3, warmup_steps=10, bf16=False)
    train_readout(readout, frames, config, tmp_path, device="cpu")
    tokens, _, place = frames(9999)
    with torch.no_grad():
        output = readout(tokens)
    expected, _ = error_scales(output)
    hopeless = tokens[:, 0, 0] > 1
    assert expected[hopeless].mean() > 2 * expected[~hopeless].mean()
    off = (object_place(output) - place).abs().mean(-1)
    assert expected[hopeless].mean().item() == pytest.approx(
        off[hopeless].mean().item(), rel=0.5
    )


def episode(grasp=5, release=12, frames=20, lift=0.1, drop=False):
    """Down to the object, closed on it at ``grasp``, carried, put down at ``release``, away."""
    states, told = np.zeros((frames, 7)), np.zeros(frames)
    states[:, 0] = np.linspace(0.4, 0.6, frames)
    states[:, 2] = 0.15
    states[grasp - 1 : grasp + 1, 2] = 0.02
    if not drop:
        states[release - 1, 2] = 0.02
    states[grasp:release, 6], told[grasp:release] = 0.4, 1.0
    return states, told


def test_the_object_is_where_it_is_grasped_then_in_the_hand_then_where_it_was_put():
    states, told = episode()
    places = object_places(states, told)
    grasp, release = 5, 12
    assert np.allclose(places[:grasp], states[grasp, :3])
    assert np.allclose(places[grasp:release], states[grasp:release, :3])
    assert np.allclose(places[release:16], states[release - 1, :3])


def test_a_dropped_object_and_one_the_hand_came_back_to_are_not_known():
    states, told = episode(drop=True)
    assert np.isnan(object_places(states, told)[12:]).all()
    states, told = episode()
    states[18:, :3] = states[11, :3]  # back at the object, which may be pushed
    places = object_places(states, told)
    assert not np.isnan(places[12:18]).any()
    assert np.isnan(places[18:]).all()


def test_where_an_object_was_put_down_earlier_says_nothing_of_where_it_is_now():
    states, told = episode(grasp=3, release=8, frames=40)
    states[21:28, 6], told[21:28] = 0.4, 1.0  # gripped again, the hand having stayed near till then
    states[8:21, :3] = states[7, :3]
    states[[21, 27], 2] = 0.02
    states[30:, :3] = states[27, :3] + [0.2, 0.0, 0.0]
    states[36:, :3] = states[27, :3]  # back where it was put down last, and it may be pushed
    places = object_places(states, told)
    assert np.allclose(places[28:36], states[27, :3])
    assert np.isnan(places[36:]).all()


def test_where_an_object_was_before_the_hand_last_came_near_is_not_known():
    states, told = episode(grasp=15, release=19)
    states[4, :3] = states[15, :3]  # the hand may have pushed it there
    places = object_places(states, told)
    assert np.isnan(places[:5]).all()
    assert np.allclose(places[5:15], states[15, :3])


def test_an_object_moved_by_a_hand_that_stayed_near_is_not_known_in_between():
    states, told = episode(grasp=3, release=8, frames=30)
    states[8:, :3] = states[7, :3] + np.linspace([0, 0, 0], [0.08, 0, 0.06], 22)
    states[20:26, 6], told[20:26] = 0.4, 1.0
    states[[20, 25], 2] = 0.02
    states[26:, 2] = 0.3
    places = object_places(states, told)
    assert np.isnan(places[8:20]).all()
    assert np.allclose(places[20:26], states[20:26, :3])
    states[8:20, 0] = states[20, 0] = states[7, 0]  # gripped again where it was put down
    assert not np.isnan(object_places(states, told)[8:20]).any()


def test_an_object_picked_up_where_it_was_put_down_lay_there_though_a_hand_was_beside_it():
    states, told = episode(grasp=3, release=8, frames=40)
    states[8:, :3] = states[7, :3] + [0.3, 0.0, 0.2]
    states[14:18, :3] = states[7, :3] + [0.05, 0.0, 0.0]  # low beside it
    states[27:, :3] = states[7, :3]
    states[30:36, 6], told[30:36] = 0.4, 1.0
    states[26:, 0] += 0.01
    places = object_places(states, told)
    assert np.allclose(places[8:30], states[7, :3], atol=0.015)
    states[14:18, 6] = 1.0  # closed fingers may have pushed it there and back
    assert np.isnan(object_places(states, told)[14:18]).all()
    states[14:18, 6] = 0.0
    states[26:, 0] += 0.02  # elsewhere: it was moved, and nobody saw when
    assert np.isnan(object_places(states, told)[14:18]).all()


def test_without_a_grasp_no_place_is_known():
    states = np.zeros((10, 7))
    assert np.isnan(object_places(states, np.zeros(10))).all()


def test_where_nobody_knows_the_object_it_is_what_the_readout_reads_from_the_real_frame():
    torch.manual_seed(0)
    readout = Readout(READOUT)
    model = PostTraining(Predictor(SMALL), 2, [readout], 0.3, 0.3, teacher_forcing=False)
    tokens = normalise_tokens(torch.randn(3, 3, 4, 24))
    rest = torch.zeros(3, 2, 7), torch.zeros(3, 3, 7), torch.zeros(3, 3)
    known = torch.rand(3, 3, 3)
    known[1:] = float("nan")
    with torch.no_grad():
        read = object_place(readout(tokens.flatten(0, 1))).view(3, 3, 3)
    loss, _ = model(tokens, *rest, known)
    filled, _ = model(tokens, *rest, torch.where(known.isnan(), read, known))
    other, _ = model(tokens, *rest, torch.where(known.isnan(), read + 0.2, known))
    torch.testing.assert_close(loss, filled)
    assert not torch.isclose(loss, other)
