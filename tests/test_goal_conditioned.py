import pytest
import torch

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
