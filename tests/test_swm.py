"""stable-worldmodel both ways: its recordings come in, an arm's as episodes and any body's as
windows; our planner plays in its World, and our arm is an environment there."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import h5py
import numpy as np
import pytest
import torch
from conftest import DATA, smooth_images

from arm_worldmodel.cli import main
from benchmarks.peer import SETUP, installed
from planners.config import CEMConfig
from planners.world_policy import WorldPolicy
from robot_data.conventions import StateConvention
from robot_data.episodes import EpisodeStore
from robot_data.importers.assemble import FitConfig
from robot_data.importers.run import import_episodes
from robot_data.importers.swm import SwmImporter
from robot_data.schema import DataError
from robot_data.swm import open_swm
from robot_data.swm_windows import SwmWindows
from tests.recordings import IN_STATE, hand_path, write_swm
from worldmodel.config import LeWMConfig
from worldmodel.lewm import LeWorldModel
from worldmodel.models import Models

TWO_ROOM = DATA / "swm_two_room.h5"  # recorded by stable-worldmodel
THERE = Path(__file__).parent / "their_world.py"
PIXELS_PER_STEP = 5.0  # of a whole action in Two-Room
TINY = [
    "model.image_size=32", "model.patch_size=16", "model.encoder_dim=16", "model.encoder_depth=1",
    "model.encoder_heads=2", "model.embed_dim=8", "model.projector_dim=16",
    "model.predictor_depth=1", "model.predictor_heads=2", "model.predictor_head_dim=4",
    "model.predictor_mlp=16",
]
QUICK = CEMConfig(samples=4, iterations=1, elites=2, horizon=1)
needs_peer = pytest.mark.skipif(not installed(), reason=f"stable-worldmodel is missing: {SETUP}")


def bring_in(path, store, columns=IN_STATE, fit=None):
    importer = SwmImporter(path, StateConvention(), columns)
    fit = fit or FitConfig(image_size=None)
    outcomes = list(import_episodes(importer, "swm", store, fit))
    return outcomes, [store.read(o.name) for o in outcomes if o.status == "imported"]


# -- an arm's recordings are episodes -------------------------------------------------------------


def test_recordings_of_an_arm_come_in(tmp_path):
    path = write_swm(tmp_path / "arm.h5")
    outcomes, episodes = bring_in(path, EpisodeStore(tmp_path / "s", codec="raw"))
    assert len(episodes) == 2
    for index, episode in enumerate(episodes):
        np.testing.assert_array_equal(episode.states, hand_path(12, index))
        np.testing.assert_array_equal(episode.images, smooth_images(12, 64, index))
        moved = np.diff(hand_path(12, index), axis=0)
        np.testing.assert_allclose(episode.raw["action"][:-1], moved, atol=1e-6)
        assert episode.raw["terminated"].dtype == bool
        assert not episode.cameras  # the goal is none
    assert "'goal', 'env_name'" in outcomes[0].notes[0]
    again, none = bring_in(path, EpisodeStore(tmp_path / "s", codec="raw"))
    assert not none
    assert [o.status for o in again] == ["held", "held"]


def test_the_import_command_asks_which_columns_are_the_arm(tmp_path, capsys):
    path = write_swm(tmp_path / "arm.h5")
    command = ["import", "format=swm", f"src={path}", f"out={tmp_path}/store"]
    named = "convention.gripper=closedness"
    assert main([*command, named]) == 2
    told = capsys.readouterr().err
    assert "columns.state=[...]" in told
    assert "state [7]" in told
    assert "worldmodel lewm" in told
    assert main([*command, named, "columns.state=[state]", "fit.source_hz=5"]) == 0
    (first, _) = EpisodeStore(tmp_path / "store").names()
    assert first.startswith("swm-episode_000000-")
    times = EpisodeStore(tmp_path / "store").read(first).timestamps_ns
    assert times is not None
    assert times[1] == 200_000_000


def test_a_place_in_pixels_is_no_arm(tmp_path, capsys):
    command = ["import", "format=swm", f"src={TWO_ROOM}", f"out={tmp_path}/store"]
    assert main([*command, "convention.gripper=none", "columns.state=[state]"]) == 2
    assert "expected [..., 6]" in capsys.readouterr().err
    path = write_swm(tmp_path / "pushed.h5", 1)  # seven numbers, as Push-T's state, in pixels
    with h5py.File(path, "a") as file:
        file["state"][:, :2] = 256.0
    outcomes, _ = bring_in(path, EpisodeStore(tmp_path / "s"))
    assert "256 m from the base" in outcomes[0].reason


def test_damaged_descriptions_of_a_file_are_refused_wherever_they_lie(tmp_path):
    path = write_swm(tmp_path / "arm.h5", frames=4)
    whole, told = path.read_bytes(), []
    for place in (*range(211, 2500, 211), *range(len(whole) - 9000, len(whole) - 8, 211)):
        torn = bytes(255 - byte for byte in whole[place : place + 8])
        path.write_bytes(whole[:place] + torn + whole[place + 8 :])
        try:
            open_swm(path)
        except DataError as error:
            told.append(str(error))
    assert len(told) > 5
    assert all("is no readable HDF5 file" in line for line in told)


def test_a_damaged_table_of_episodes_and_a_column_elsewhere_are_refused(tmp_path):
    path = write_swm(tmp_path / "arm.h5")
    with h5py.File(path, "a") as file:
        file["ep_len"][1] = 13
    with pytest.raises(DataError, match="beyond the 24 rows"):
        open_swm(path).episodes  # noqa: B018
    with h5py.File(path, "a") as file:
        file["ep_len"][1] = 12
        del file["pixels"]
        file["pixels"] = h5py.ExternalLink(str(TWO_ROOM), "pixels")
    outcomes, _ = bring_in(path, EpisodeStore(tmp_path / "s"))
    assert "no camera images" in outcomes[0].reason
    with h5py.File(path, "a") as file:
        del file["ep_len"]
    with pytest.raises(DataError, match="no ep_len"):
        open_swm(path)


# -- any body's are windows -----------------------------------------------------------------------


def test_windows_of_a_real_recording_hold_the_actions_between_their_pictures():
    data = open_swm(TWO_ROOM)
    assert data.episodes == [(0, 16), (16, 32)]
    windows = SwmWindows(data, length=3, skip=5)
    assert windows.size == 2
    assert windows.count == 2 * 6
    places = data.column("state", 0, 32).astype(float)
    pictures = np.stack(list(data.images("pixels", range(32))))
    for seed in range(20):
        images, blocks = windows.sample(np.random.default_rng(seed))
        found = [t for t in range(32) if np.array_equal(pictures[t], images[0])]
        for row in found:
            np.testing.assert_array_equal(images, pictures[row : row + 11 : 5])
            moved = np.diff(places[row : row + 11], axis=0)
            free = (np.abs(moved) > 0.01).all(1)  # no wall in the way
            told = PIXELS_PER_STEP * blocks.reshape(-1, 2)
            assert np.abs(told - moved)[free].max() < 1e-3
        assert found
    again = pickle.loads(pickle.dumps(windows))  # noqa: S301
    assert again.sample(np.random.default_rng(0))[0].shape == (3, 32, 32, 3)
    mean, std = windows.statistics()
    assert (np.abs(mean) < 0.5).all()
    assert (std > 0.3).all()


@pytest.mark.parametrize(
    ("given", "match"),
    [({"actions": "measured"}, "raw/action"), ({"actions": "raw/nothing"}, "raw/action"),
     ({"length": 9}, "41 rows"), ({"pictures": "wrist"}, "there are: pixels")],
)
def test_windows_that_cannot_be_are_refused(given, match):
    with pytest.raises(DataError, match=match):
        SwmWindows(open_swm(TWO_ROOM), **{"length": 3, "skip": 5, **given})


def test_a_leworldmodel_is_trained_from_the_file_as_it_is(tmp_path, capsys):
    command = [
        "lewm", f"validation={TWO_ROOM}", f"out={tmp_path}/model", *TINY,
        "model.history=2", "model.frame_skip=5", "train.steps=2", "train.batch_size=4",
        "train.bf16=false", "validation_batches=1", "device=cpu", "losses.directions=16",
    ]
    mine = f"data={TWO_ROOM}"
    assert main([*command, mine]) == 2
    assert "give actions=raw/action" in capsys.readouterr().err
    command.append("actions=raw/action")
    assert main([*command, mine]) == 0
    model = Models.load(str(tmp_path / "model"), ["lewm"], "cpu").lewm
    assert model.config.action_size == 2
    other = tmp_path / "other.h5"
    shutil.copy(TWO_ROOM, other)
    with h5py.File(other, "a") as file:
        file["action"][3] = 0.5
    assert main([*command, f"data={other}"]) == 2
    assert "other data of rows_0_16" in capsys.readouterr().err


# -- our planner and our arm in their World -------------------------------------------------------


def untrained(size, skip=1, side=32):
    torch.manual_seed(0)
    return LeWorldModel(LeWMConfig(
        image_size=side, patch_size=16, encoder_dim=16, encoder_depth=1, encoder_heads=2,
        embed_dim=8, projector_dim=16, predictor_depth=1, predictor_heads=2, predictor_head_dim=4,
        predictor_mlp=16, action_size=size, frame_skip=skip,
    )).eval()


class Pool:
    """What a World hands to a policy, of two environments with two-number actions."""

    num_envs = 2

    def __init__(self, high=1.0, size=2):
        self.single_action_space = gymnasium.spaces.Box(-high, high, (size,), np.float32)


def infos(**changes):
    pictures = np.zeros((2, 1, 32, 32, 3), np.uint8)
    return {"pixels": pictures, "goal": pictures + 200, **changes}


def test_a_plan_is_carried_out_block_by_block_and_ends_with_the_episode():
    policy = WorldPolicy(untrained(2, skip=3), QUICK)
    policy.set_env(Pool())
    actions = [policy.get_action(infos()) for _ in range(3)]
    assert len(policy.plan_seconds) == 2
    assert actions[0].dtype == np.float32
    assert not np.array_equal(actions[0], actions[1])
    assert np.abs(actions).max() <= 1
    policy.set_seed(0)
    np.testing.assert_array_equal(policy.get_action(infos()), actions[0])  # the same draws
    given = infos(_needs_flush=np.array([True, False]))
    policy.get_action(given)
    assert len(policy.plan_seconds) == 5  # only the first was new
    assert "_needs_flush" not in given
    ended = policy.get_action(infos(terminated=np.array([[True], [False]])))
    assert not ended[0].any()
    assert ended[1].any()


def test_what_the_planner_cannot_search_is_refused():
    policy = WorldPolicy(untrained(2), QUICK)
    with pytest.raises(RuntimeError, match="set_policy"):
        policy.get_action(infos())
    with pytest.raises(ValueError, match="Box with bounds"):
        policy.set_env(Pool(high=np.inf))
    with pytest.raises(ValueError, match="trained on actions of 2 numbers"):
        policy.set_env(Pool(size=7))
    policy.set_env(Pool())
    with pytest.raises(ValueError, match="no 'goal'"):
        policy.get_action({"pixels": infos()["pixels"]})
    with pytest.raises(DataError, match="pixels has dtype float32"):
        policy.get_action(infos(pixels=np.zeros((2, 1, 3, 32, 32), np.float32)))
    with pytest.raises(ValueError, match="1 to the horizon, 1 blocks"):
        WorldPolicy(untrained(2), QUICK, replan=2)


def tried(folder, *names):
    """What tests/their_world.py tells of each."""
    command = [sys.executable, "-W", "ignore", str(THERE), str(folder), *names]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr[-3000:]
    return json.loads(found.stdout.splitlines()[-1])


@needs_peer
@pytest.mark.slow
def test_our_arm_is_recorded_and_our_planner_plays_in_their_world(tmp_path):
    told = tried(tmp_path, "record", "play")
    exact, coded = (EpisodeStore(tmp_path / form) for form in ("hdf5", "lance"))
    assert len(exact) == len(coded) == 2
    for a, b in zip(exact.names(), coded.names(), strict=True):
        one, other = exact.read(a), coded.read(b)
        assert len(one) == 4
        assert one.states[:, 2].min() > 0  # above the table
        assert any("goal" in note for note in one.meta["import"]["notes"])
        np.testing.assert_allclose(one.states, other.states, atol=1e-6)
        assert np.abs(one.images.astype(int) - other.images).mean() < 3  # JPEG
        np.testing.assert_allclose(one.raw["action"], other.raw["action"], atol=1e-6)
    # two side by side of 4 steps, of which a plan is for 2; then both again, for the third
    assert told["play"] == {"episodes": 3, "plans": 8}
