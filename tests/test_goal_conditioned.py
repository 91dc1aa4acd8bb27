import numpy as np
import pytest
import torch

from arm_worldmodel.hindsight import HindsightBatches
from robot_data.episodes import EpisodeStore
from robot_data.latents import LatentCache
from robot_data.schema import Episode
from worldmodel import checkpoint
from worldmodel.config import EncoderConfig, GoalConditionedConfig, ReadoutConfig
from worldmodel.encoder import Encoder
from worldmodel.goal_conditioned import EVENTS, InverseDynamics, SubgoalPredictor
from worldmodel.models import Models
from worldmodel.readout import Readout

SMALL = GoalConditionedConfig(
    image=ReadoutConfig(embed_dim=32, tokens=16, dim=32, depth=1, num_heads=4), hidden=32
)


def batch(count=6):
    torch.manual_seed(0)
    tokens = torch.randn(count, 16, 32)
    state = torch.cat([torch.rand(count, 3) * 0.2 + 0.4, 0.1 * torch.randn(count, 3),
                       torch.rand(count, 1)], dim=1)
    return tokens, state


def test_subgoal_predictor_gives_odds_and_poses():
    network = SubgoalPredictor(SMALL)
    tokens, state = batch()
    features = network.features(tokens)
    odds, poses = network.predict(features, features.flip(0), state)
    assert odds.shape == (6, len(EVENTS))
    assert torch.allclose(odds.sum(1), torch.ones(6))
    assert poses.shape == (6, 7)
    assert ((poses[:, 6] >= 0) & (poses[:, 6] <= 1)).all()


def test_pairs_that_are_left_out_do_not_change_the_loss():
    network = SubgoalPredictor(SMALL)
    tokens, state = batch()
    features = network.features(tokens)
    kind = torch.tensor([0, 1, 2, -1, -1, 1])
    pose = state.clone()
    whole, _ = network.loss(network(features, features, state), kind, pose)
    pose[3:5] += 100.0
    again, _ = network.loss(network(features, features, state), kind, pose)
    assert torch.equal(whole, again)
    pose[1] += 0.1
    moved, _ = network.loss(network(features, features, state), kind, pose)
    assert moved != whole


@pytest.mark.parametrize("kind", [SubgoalPredictor, InverseDynamics])
def test_networks_learn_their_targets(kind):
    torch.manual_seed(1)
    network = kind(SMALL)
    tokens, state = batch(12)
    goal = tokens.flip(0)
    if kind is SubgoalPredictor:
        targets = (torch.arange(12) % 3, state + 0.05)
    else:
        targets = (torch.cat([0.03 * torch.randn(12, 6), torch.rand(12, 1).round()], 1),)
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        output = network(network.features(tokens), network.features(goal), state)
        loss, _ = network.loss(output, *targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_inverse_dynamics_change_of_closedness_starts_from_the_measured_one():
    network = InverseDynamics(SMALL)
    tokens, state = batch()
    features = network.features(tokens)
    action = network.action(features, features, state)
    told = action[:, 6] + state[:, 6]
    assert ((told >= 0) & (told <= 1)).all()


def test_weights_round_trip_and_another_encoder_is_refused(tmp_path):
    encoder = Encoder(EncoderConfig(image_size=64, embed_dim=32, depth=1, num_heads=4))
    other = Encoder(EncoderConfig(image_size=64, embed_dim=32, depth=1, num_heads=4))
    checkpoint.save_part(tmp_path, encoder, encoder)
    for kind, part in ((SubgoalPredictor, "subgoals"), (InverseDynamics, "inverse_dynamics")):
        network = kind(SMALL).half().float()  # weights are kept as fp16
        checkpoint.save_part(tmp_path, network, encoder)
        back = Models.load(tmp_path, [part], "cpu").part(part)
        assert back.config == network.config
        for a, b in zip(network.parameters(), back.parameters(), strict=True):
            assert torch.equal(a, b)
        with pytest.raises(checkpoint.CheckpointError, match="was trained on encoder"):
            checkpoint.load_part(tmp_path, part, checkpoint.encoder_hashes(other))


def test_the_trunk_of_a_trained_readout_is_taken_over():
    readout = Readout(SMALL.image)
    network = SubgoalPredictor(SMALL)
    network.start_from(readout)
    assert torch.equal(network.image.embed.weight, readout.embed.weight)
    assert network.image.head.out_features == SMALL.hidden


@pytest.fixture
def cache(tmp_path):
    """Ten recordings of a hand that goes along x, 1 cm a frame; in every other one it grasps
    something at frame 20 of 40 and keeps it."""
    store = EpisodeStore(tmp_path / "store")
    for number in range(10):
        closed = (np.arange(40) >= 20) & (number % 2 == 0)
        states = np.zeros((40, 7))
        states[:, 0] = 0.01 * np.arange(40)
        states[:, 6] = 0.4 * closed
        store.write(f"{number}", Episode(
            np.full((40, 16, 16, 3), number, np.uint8), states, np.zeros((40, 7)),
            commanded_closedness=closed.astype(float),
        ))
    found = LatentCache(store, "hash")
    list(found.fill(lambda images: np.zeros((len(images), 4, 8), np.float16)))
    return found


def test_near_goals_are_all_that_a_path_without_an_event_gives(cache):
    feed = HindsightBatches([cache], 64, seed=0, near=8)
    far = 0
    for step in range(20):
        pairs = feed(step)
        present, goal = pairs.states[pairs.present, 0], pairs.states[pairs.goal, 0]
        gap = ((goal - present) / 0.01).round().int()
        assert (gap >= 1).all()
        grasped = (pairs.kind == EVENTS.index("grasp"))
        assert (present[grasped] < 0.205).all()
        assert (gap[~grasped] <= 8).all()
        far += int((gap[grasped] > 8).sum())
        assert (~grasped).sum() > 20
        torch.testing.assert_close(pairs.moved[:, 0], torch.full_like(present, 0.01))
    assert far > 50


def test_without_near_every_other_frame_is_a_goal(cache):
    pairs = HindsightBatches([cache], 64, seed=0)(0)
    gap = (pairs.states[pairs.goal, 0] - pairs.states[pairs.present, 0]) / 0.01
    assert len(gap) == 16 * 12
    assert gap.max() > 25
    assert gap.min() < -25
    again = HindsightBatches([cache], 64, seed=0)(0)
    assert torch.equal(pairs.present, again.present)
