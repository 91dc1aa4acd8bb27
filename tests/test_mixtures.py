"""What pre-training as published learns from: spread frames, mixed stores, single frames apart."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from arm_worldmodel.cli import main
from arm_worldmodel.clips import CroppedClips
from robot_data.episodes import EpisodeStore
from robot_data.schema import DataError, Episode
from robot_data.windows import MixedSampler, WindowSampler, spread_rows
from tests.test_released_phases import MASKED, NEWER, SMALL
from tests.test_released_training import part
from worldmodel.models import Models

DATA = Path(__file__).parent / "data"


def test_frames_of_a_clip_are_spread_as_the_published_loader_does():
    vectors = load_file(DATA / "released_cooldown.safetensors")

    class First:
        def integers(self, low, high):
            assert low < high
            return low

    recorded = part(vectors, "rows")
    assert len(recorded) == 7
    for count, rows in recorded.items():
        np.testing.assert_array_equal(spread_rows(int(count), 8, 5, First()), rows)
    starts = {int(spread_rows(47, 8, 5, np.random.default_rng(n))[0]) for n in range(200)}
    assert starts == set(range(7))


def written(folder, bright, count=1, frames=9):
    """A store of ``count`` recordings of one brightness."""
    store = EpisodeStore(folder)
    images = np.full((frames, 48, 64, 3), bright, np.uint8)
    still = np.zeros((frames, 7))
    for number in range(count):
        store.write(f"e{number}", Episode(images, still, still, still[:, 0]))
    return store


@pytest.fixture
def stores(tmp_path):
    return [written(tmp_path / name, bright, count)
            for name, bright, count in (("a", 50, 1), ("b", 150, 3))]


def test_short_recordings_make_spread_clips_and_no_even_ones(stores):
    masked = replace(MASKED, frames=8, stride=5)
    spread = CroppedClips(stores[0], 2, 0, replace(masked, spacing="spread"), SMALL)
    assert spread(0).shape == (2, 8, 32, 32, 3)
    with pytest.raises(DataError, match="no sound episode"):
        CroppedClips(stores[0], 2, 0, masked, SMALL)


@pytest.mark.parametrize(("shares", "expected"), [((3.0, 1.0), 0.75), ((), 0.25)])
def test_clips_come_from_each_store_by_its_share(stores, shares, expected):
    mixed = MixedSampler([WindowSampler(store, 1) for store in stores], shares)
    feed = CroppedClips(mixed, 200, 0, MASKED, SMALL)
    bright = feed(0).mean((1, 2, 3, 4))
    assert set(bright.round().tolist()) == {50.0, 150.0}
    assert abs((bright < 100).float().mean().item() - expected) < 0.1
    assert torch.equal(feed(0), feed(0))


@pytest.mark.parametrize(
    ("shares", "message"), [((1.0,), "1 shares for 2 stores"), ((1.0, 0.0), "above 0")]
)
def test_shares_that_do_not_fit_are_refused(stores, shares, message):
    with pytest.raises(DataError, match=message):
        MixedSampler([WindowSampler(store, 1) for store in stores], shares)


def test_single_frames_come_from_a_store_and_in_a_size_of_their_own(stores):
    masked = replace(MASKED, image_batch_size=3, image_size=96)
    feed = CroppedClips(stores[0], 2, 0, masked, NEWER, stores[1])
    frames, moving = feed(0), feed(1)
    assert frames.shape == (3, 1, 96, 96, 3)
    assert moving.shape == (2, 4, 64, 64, 3)
    assert frames.round().unique().tolist() == [150.0]
    assert moving.round().unique().tolist() == [50.0]


def test_commands_distil_mix_and_cool_down(stores, tmp_path, capsys):
    sizes = [f"encoder.{k}={getattr(SMALL, k)}" for k in (
        "image_size", "embed_dim", "depth", "num_heads", "patch_size")]
    quick = ["method=published", "published.frames=2", "published.predictor_dim=24",
             "published.predictor_depth=1", "published.predictor_heads=2", "device=cpu",
             "train.batch_size=2", "train.warmup_steps=0", f"data={stores[0].url}"]
    big, small, cool = (tmp_path / name for name in ("big", "small", "cool"))
    assert main(["pretrain", f"out={big}", *quick, "train.steps=1", *sizes,
                 f"also=[{stores[1].url}]", "shares=[1,3]"]) == 0
    halved = [*sizes, "encoder.embed_dim=12", "encoder.num_heads=1"]
    halved = [word for word in halved if word not in (sizes[1], sizes[3])]
    assert main(["pretrain", f"out={small}", *quick, "train.steps=2", *halved,
                 f"teacher={big}"]) == 0
    assert json.loads((small / "report.json").read_text())["settings"]["teacher"] == str(big)
    capsys.readouterr()
    longer = [*quick, "train.steps=1", "published.frames=4"]
    longer.remove("published.frames=2")
    assert main(["pretrain", f"out={cool}", *longer, *sizes, f"start_from={big}"]) == 0
    assert "moving average, predictor and moments" in capsys.readouterr().out
    anew = tmp_path / "anew"
    wide = [word.replace("image_size=32", "image_size=48") for word in sizes]
    (big / "pretrain_state.pt").unlink()
    assert main(["pretrain", f"out={anew}", *quick, "train.steps=1", *wide,
                 f"start_from={big}"]) == 0
    assert "the predictor is new" in capsys.readouterr().out
    assert Models.load(anew, (), "cpu").image_size == 48
    assert main(["pretrain", f"out={tmp_path}/x", *quick, "train.steps=1", *halved,
                 f"start_from={big}"]) == 2
    assert "encoder.embed_dim=24" in capsys.readouterr().err
    assert main(["pretrain", f"out={tmp_path}/x", *quick, "shares=[1]"]) == 2
    assert "also= names no store" in capsys.readouterr().err
