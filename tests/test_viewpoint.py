"""Every recorded view can be the model's, by its name, and none is lost on the way."""

import json

import numpy as np
import pytest
from PIL import Image

from arm_worldmodel.commands.data import camera as command
from arm_worldmodel.dataset import Dataset
from robot_data.checks import inspect
from robot_data.episodes import EpisodeStore
from robot_data.schema import DataError
from robot_data.summary import Summary
from robot_data.viewpoint import through_camera
from robot_data.windows import WindowSampler
from tests.conftest import make_episode, smooth_images


def recorded(folder, codec="raw", episodes=2):
    store = EpisodeStore(folder, codec)
    for seed in range(episodes):
        episode = make_episode(9, seed, side=32)
        episode.images = smooth_images(9, 32, seed)
        episode.cameras = {"wrist": smooth_images(9, 48, 50 + seed), "left": episode.images // 2}
        episode.meta["camera"] = "front"
        store.write(f"e{seed}", episode)
    return store


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_another_camera_becomes_the_models_view_and_nothing_else_changes(tmp_path, codec):
    store = recorded(tmp_path / "all", codec)
    linked, without = through_camera(store, "wrist", tmp_path / "wrist")
    assert (linked, without) == (["e0", "e1"], [])
    seen = EpisodeStore(tmp_path / "wrist")
    for name in linked:
        before, after = store.read(name), seen.read(name)  # with its checksums
        assert after.meta == {**before.meta, "camera": "wrist"}
        np.testing.assert_array_equal(after.images, before.cameras["wrist"])
        assert set(after.cameras) == {"front", "left"}
        np.testing.assert_array_equal(after.cameras["front"], before.images)
        np.testing.assert_array_equal(after.cameras["left"], before.cameras["left"])
        for field in ("states", "actions", "timestamps_ns"):
            np.testing.assert_array_equal(getattr(after, field), getattr(before, field))
        assert after.raw.keys() == before.raw.keys()
        assert after.privileged.keys() == before.privileged.keys()
    window = WindowSampler(seen, 3).sample(np.random.default_rng(0))
    assert window.images.shape == (3, 48, 48, 3)
    assert [f for _, found in inspect(seen, Summary()) for f in found if f.level == "error"] == []
    through_camera(seen, "front", tmp_path / "back")
    back = EpisodeStore(tmp_path / "back").read("e0")
    np.testing.assert_array_equal(back.images, store.read("e0").images)
    assert back.meta == store.read("e0").meta


def test_links_take_no_space_and_are_made_once(tmp_path):
    store = recorded(tmp_path / "all")
    through_camera(store, "wrist", tmp_path / "wrist")
    files = [p for p in (tmp_path / "wrist").rglob("*") if p.is_file() and not p.is_symlink()]
    assert {p.name for p in files} == {"zarr.json"}
    through_camera(store, "wrist", tmp_path / "wrist")
    assert EpisodeStore(tmp_path / "wrist").names() == ["e0", "e1"]
    with pytest.raises(DataError, match="choose another out="):
        through_camera(store, "left", tmp_path / "wrist")
    assert not list((tmp_path / "wrist").glob(".tmp-*"))


def test_a_camera_that_is_missing_or_does_not_fit_is_named(tmp_path):
    store = recorded(tmp_path / "all")
    with pytest.raises(DataError, match=r"no episode has a camera 'top'; there are front, left, w"):
        through_camera(store, "top", tmp_path / "out")
    odd = make_episode(4, 9)  # its wrist camera has 24x40
    store.write("odd", odd)
    with pytest.raises(DataError, match="24x40"):
        through_camera(store, "wrist", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_tells_which_episodes_lack_the_camera(tmp_path, capsys):
    store = recorded(tmp_path / "all")
    bare = make_episode(4, 3)
    bare.cameras = {}
    store.write("bare", bare)
    out = tmp_path / "wrist"
    command.run(command.Settings(data=str(tmp_path / "all"), camera="wrist", out=str(out)))
    assert "2 episodes seen through wrist, 1 without it left out" in capsys.readouterr().out
    assert json.loads((out / "camera-report.json").read_text())["without"] == ["bare"]
    assert EpisodeStore(out).names() == ["e0", "e1"]


def test_the_figure_of_an_episode_shows_every_camera(tmp_path):
    recorded(tmp_path / "all", episodes=1)
    figure = Dataset(tmp_path / "all").figure(0)
    titles = {axis.get_title() for part in figure.subfigs for axis in part.axes}
    assert {"front, frame 0", "wrist, frame 0", "left, frame 8"} <= titles
    figure.savefig(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert np.asarray(sheet.convert("L")).std() > 5
