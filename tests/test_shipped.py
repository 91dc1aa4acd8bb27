"""The shipped weights, end to end on the real simulator."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from planners.agent import AgentConfig, PlanningAgent
from planners.cem import CEMConfig
from planners.loop import run_episode
from planners.objective import ObjectiveConfig
from robot_data.pose import diff
from sims.experts import CollectConfig, record_episode
from sims.mujoco_arm import MujocoArm
from worldmodel import checkpoint
from worldmodel.losses import post_training_losses

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def models():
    encoder = checkpoint.load_encoder(checkpoint.SHIPPED)
    return (
        encoder,
        checkpoint.load_predictor(checkpoint.SHIPPED, encoder),
        checkpoint.load_readout(checkpoint.SHIPPED, encoder),
    )


def agent(config=None):
    encoder = checkpoint.load_encoder(checkpoint.SHIPPED)
    predictor = checkpoint.load_predictor(checkpoint.SHIPPED, encoder)
    readout = checkpoint.load_readout(checkpoint.SHIPPED, encoder)
    return PlanningAgent(encoder, predictor, readout, config or AgentConfig())


def test_weights_are_small_and_documented():
    files = list(checkpoint.SHIPPED.glob("*.safetensors"))
    assert {f.stem for f in files} == {"encoder", "predictor", "readout"}
    assert sum(f.stat().st_size for f in files) < 40e6
    card = (checkpoint.SHIPPED / "README.md").read_text()
    assert checkpoint.state_hash(checkpoint.load_encoder(checkpoint.SHIPPED)) in card


@pytest.fixture(scope="module")
def unseen():
    """A random-play episode of a seed no training run used."""
    env = MujocoArm(task="pick_and_place")
    episode = record_episode(env, CollectConfig(play_fraction=1.0), seed=7_000_001)
    env.close()
    return episode


@torch.no_grad()
def test_predictor_beats_copying_and_uses_the_actions(models, unseen):
    encoder, predictor, _ = models
    tokens = encoder.encode_frames(torch.from_numpy(unseen.images))
    states = torch.from_numpy(unseen.states).float()
    actions = torch.from_numpy(diff(unseen.states[:-1], unseen.states[1:])).float()
    starts = range(len(unseen) - 2)
    z = torch.stack([tokens[t : t + 3] for t in starts])
    s = torch.stack([states[t : t + 3] for t in starts])
    a = torch.stack([actions[t : t + 2] for t in starts])
    loss, _ = post_training_losses(predictor, z, a, s)
    wrong, _ = post_training_losses(predictor, z, -a, s)
    copied = (z[:, 1:] - z[:, :-1]).abs().mean()
    assert loss < 0.8 * copied
    assert loss < wrong


@torch.no_grad()
def test_readout_sees_the_hand(models, unseen):
    encoder, _, readout = models
    read = readout.state(encoder.encode_frames(torch.from_numpy(unseen.images))).numpy()
    error = np.linalg.norm(read[:, :3] - unseen.states[:, :3], axis=1)
    assert np.median(error) < 0.025


def test_planner_reaches_goal_images():
    env, planner = MujocoArm(task="reach"), agent()
    results = [run_episode(env, planner, seed, 20) for seed in range(7_100_000, 7_100_006)]
    env.close()
    assert sum(r.success for r in results) >= 4
    assert np.median([s for r in results for s in r.plan_seconds]) < 4.0  # one thread


def test_latents_alone_pull_the_hand_towards_the_goal():
    """Without any pose term: tokens of the imagined frame against tokens of the goal image."""
    config = AgentConfig(
        cem=CEMConfig(max_turn_rad=0.0, max_grip=0.0),
        objective=ObjectiveConfig(position_weight=0, rotation_weight=0, grip_weight=0),
    )
    env, planner = MujocoArm(task="reach"), agent(config)
    closer = 0
    for seed in range(7_200_000, 7_200_004):
        _, info = env.reset(seed=seed)
        result = run_episode(env, planner, seed, 8)
        closer += result.distance_m < info["distance_m"]
    env.close()
    assert closer >= 3


def test_readme_python_runs():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
