"""What ``tools/gpu`` records, draws and trains, at a small size on the CPU."""

import itertools
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from robot_data.told_actions import told_window

TOOLS = Path(__file__).parents[1] / "tools/gpu"


@pytest.fixture(scope="module")
def tools():
    sys.path.insert(0, str(TOOLS))
    import fit
    import latents
    import mixture

    yield mixture, latents, fit
    sys.path.remove(str(TOOLS))


def test_kinds_are_mixed_by_their_shares_and_no_episode_is_drawn_twice(tools):
    mixture = tools[0]
    jobs = list(mixture.jobs(400))
    known = mixture.kinds()
    share = Counter(job.kind for job in jobs)
    assert sum(kind.share for kind in known.values()) == 100
    assert all(abs(share[name] / 4 - kind.share) < 1 for name, kind in known.items())
    seeds = sorted(job.seed for job in jobs)
    assert all(b - a >= mixture.BLOCK for a, b in itertools.pairwise(seeds))
    assert 0 <= seeds[0] < seeds[-1] + mixture.BLOCK <= 100_000  # training's own


def block(path, rng, lengths):
    frames = sum(lengths)
    states = np.zeros((frames, 7))
    states[:, :3] = rng.normal(0.4, 0.01, (frames, 3))
    states[:, 6] = rng.random(frames)
    np.savez(
        path, latents=np.arange(frames, dtype=np.float16)[:, None, None].repeat(2, 1).repeat(3, 2),
        states=states, told=rng.random(frames), lengths=np.array(lengths),
        places=np.full((frames, 3), np.nan),
    )


@pytest.fixture
def work(tmp_path):
    (tmp_path / "enc").mkdir()
    block(tmp_path / "enc/00000.npz", np.random.default_rng(0), [9, 12])
    return tmp_path


def test_windows_lie_in_one_episode_and_say_what_was_told(tools, work):
    data = tools[1].Latents(work, "cpu", 40, 2, 3)
    data.refresh()
    assert (data.frames, data.complete) == (21, False)
    rng = np.random.default_rng(1)
    rows, actions, states, told, places = data.draw_windows(rng, 64, 9)
    assert set(rows[:, 0]) <= {0, 9, 10, 11, 12}  # not across the end of the first
    assert (np.diff(rows, axis=1) == 1).all()
    expected = told_window(data.states[rows[0]], data.told[rows[0]])
    np.testing.assert_array_equal(actions[0], expected[0])
    np.testing.assert_array_equal(states[0], expected[1])
    np.testing.assert_array_equal(told, data.told[rows])
    assert places.shape == (64, 9, 3)
    tokens = tools[1].taken(data.tokens, torch.from_numpy(rows))
    assert (tokens.shape, tokens.dtype) == ((64, 9, 2, 3), torch.float32)
    np.testing.assert_array_equal(tokens[:, :, 0, 0].numpy(), rows)


def test_blocks_that_came_since_are_taken_in_while_there_is_room(tools, work):
    data = tools[1].Latents(work, "cpu", 40, 2, 3)
    data.refresh()
    block(work / "enc/00001.npz", np.random.default_rng(2), [10])
    block(work / "enc/00002.npz", np.random.default_rng(3), [30])
    data.refresh()
    assert (data.frames, data.lengths.tolist()) == (31, [9, 12, 10])
    np.testing.assert_array_equal(data.starts, [0, 9, 21])
    data.refresh()
    assert (data.frames, data.complete) == (31, True)


def test_a_training_ends_in_time_and_has_learned(tools, work, capsys):
    latents, fit = tools[1:]
    data = latents.Latents(work, "cpu", 40, 2, 3)
    data.refresh()
    torch.manual_seed(0)
    network = nn.Linear(6, 1)

    def loss(tokens, wanted):
        error = (network(tokens.flatten(1) / 20)[:, 0] - wanted).square().mean()
        return error, {"error": error.detach()}

    def draw(rng):
        rows = rng.integers(data.frames, size=32)
        return rows, rows / 20

    before = loss(latents.taken(data.tokens, torch.arange(20)), torch.arange(20) / 20)[0].item()
    one = fit.Fit("line", network, data, draw, loss, 3e-2, 0, 0.0, 1e12, warmup=5)
    began = time.time()
    fit.train([one], data, began + 1)
    assert 1 <= time.time() - began < 10
    after = loss(latents.taken(data.tokens, torch.arange(20)), torch.arange(20) / 20)[0].item()
    assert after < before / 10
    assert f"line: step {one.step}" in capsys.readouterr().out
    assert not one.feed.is_alive()


def test_a_loss_that_is_no_number_ends_it_by_name(tools, work):
    latents, fit = tools[1:]
    data = latents.Latents(work, "cpu", 40, 2, 3)
    data.refresh()
    network = nn.Linear(1, 1)
    one = fit.Fit(
        "lost", network, data, lambda rng: (rng.integers(9, size=2),),
        lambda tokens: (network(tokens[:, 0, :1]).sum() * torch.nan, {}), 1.0, 0, 0.0, 1.0,
    )
    with pytest.raises(FloatingPointError, match="lost"):
        fit.train([one], data, time.time() + 0.2)
