"""An episode is what it was read from and how: not its number, nor where it lay."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from arm_worldmodel.cli import main
from robot_data.checks import split
from robot_data.episodes import EpisodeStore
from robot_data.importers.assemble import FitConfig
from robot_data.importers.lerobot import LeRobotImporter
from robot_data.importers.npz import NpzImporter
from robot_data.importers.rosbag import RosbagImporter
from robot_data.importers.run import import_episodes
from robot_data.importers.umi import UmiImporter
from robot_data.latents import LatentCache
from robot_data.schema import DataError
from sims.collect import collect
from sims.config import ArmConfig
from sims.experts import CollectConfig
from tests import recordings
from tests.conftest import make_episode, smooth_images
from tests.recordings import FRANKA_HAND, OPEN_IS_ONE, OURS, UMI_HAND

SMALL = FitConfig(image_size=32)


def bring_in(importer, name, store, fit=SMALL):
    outcomes = list(import_episodes(importer, name, store, fit))
    assert not [o.reason for o in outcomes if o.status == "skipped"]
    return outcomes


def lengths(store):
    return sorted(store.frames(name) for name in store.names())


@pytest.mark.parametrize(("form", "write", "reader"), [
    ("lerobot", recordings.write_lerobot_v2, lambda root: LeRobotImporter(root, OPEN_IS_ONE)),
    ("umi", recordings.write_umi, lambda root: UmiImporter(root, UMI_HAND)),
], ids=["lerobot", "umi"])
def test_a_second_data_set_goes_in_beside_the_first(tmp_path, form, write, reader):
    store = EpisodeStore(tmp_path / "store")
    for name, frames in (("a", 20), ("b", 24)):  # episodes 0, 1 and 2 each
        write(tmp_path / name, episodes=3, frames=frames)
        for status in ("imported", "held"):
            outcomes = bring_in(reader(tmp_path / name), form, store)
            assert [o.status for o in outcomes] == [status] * 3
            assert not any(o.reason for o in outcomes)
    assert lengths(store) == [20, 20, 20, 24, 24, 24]
    assert bring_in(reader(tmp_path / "a"), form, store)[0].status == "held"


def test_two_bag_folders_are_two_episodes_and_one_bag_is_one_wherever_it_lies(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    for name, frames in (("x", 20), ("y", 30)):
        bag = recordings.write_bag(tmp_path / "bags" / name, frames=frames + 2)  # 2 without a pose
        bring_in(RosbagImporter(bag, FRANKA_HAND), "rosbag", store)
    assert lengths(store) == [20, 30]
    (tmp_path / "bags").rename(tmp_path / "moved")
    outcomes = bring_in(RosbagImporter(tmp_path / "moved", FRANKA_HAND), "rosbag", store)
    assert [o.status for o in outcomes] == ["held", "held"]
    assert not any(o.reason for o in outcomes)


def test_files_of_one_name_in_two_folders_are_two_episodes(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    for seed in range(2):
        path = tmp_path / f"day{seed}" / "log.npz"
        path.parent.mkdir()
        images = smooth_images(6, 32, seed)
        np.savez(path, observations=images[None], states=recordings.hand_path(6, seed)[None])
        bring_in(NpzImporter(path, OURS), "npz", store)
    assert len(store) == 2
    (outcome,) = bring_in(NpzImporter(path.rename(tmp_path / "other.npz"), OURS), "npz", store)
    assert outcome.status == "held"


def test_the_same_content_twice_in_a_source_is_said(tmp_path):
    for name in ("a", "b"):
        recordings.write_bag(tmp_path / "bags" / name, frames=6)
    shutil.rmtree(tmp_path / "bags/b")
    shutil.copytree(tmp_path / "bags/a", tmp_path / "bags/b")
    store = EpisodeStore(tmp_path / "store")
    first, second = bring_in(RosbagImporter(tmp_path / "bags", FRANKA_HAND), "rosbag", store)
    assert (first.status, second.status) == ("imported", "held")
    assert "the same content as a" in second.reason


def _second_camera(root):
    for index in range(2):
        recordings.write_mp4(
            root / f"videos/chunk-000/observation.images.wrist/episode_{index:06d}.mp4",
            smooth_images(20, 64, 7 + index), 10,
        )
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    features = info["features"]
    features["observation.images.wrist"] = features["observation.images.top"]
    path.write_text(json.dumps(info))


@pytest.mark.parametrize("camera", ["top", "wrist"])
def test_a_changed_video_of_either_camera_is_named(tmp_path, capsys, camera):
    root = recordings.write_lerobot_v2(tmp_path / "data")
    _second_camera(root)
    command = ["import", "format=lerobot", f"src={root}", f"out={tmp_path}/store", "fit.camera=top",
               "convention.gripper=openness", "fit.image_size=32"]
    assert main(command) == 0
    store = EpisodeStore(tmp_path / "store")
    first = next(n for n in store.names() if "episode_000000" in n)
    assert sorted(store.read(first).meta["import"]["sha256"]) == [
        "data/chunk-000/episode_000000.parquet",
        "videos/chunk-000/observation.images.top/episode_000000.mp4",
        "videos/chunk-000/observation.images.wrist/episode_000000.mp4",
    ]
    changed = f"videos/chunk-000/observation.images.{camera}/episode_000000.mp4"
    recordings.write_mp4(root / changed, smooth_images(20, 64, 3), 10)
    capsys.readouterr()
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert f"held episode_000000: the source has changed since ({changed})" in shown
    assert "0 imported, 2 already there (1 of them differ)" in shown
    report = json.loads((tmp_path / "store/import-report.json").read_text())
    reasons = {e["key"]: e["reason"] for e in report["episodes"]}
    assert reasons["episode_000001"] == ""
    assert first in reasons["episode_000000"]
    assert len(store) == 2


def test_a_changed_array_of_a_replay_buffer_is_noticed_for_its_episode_alone(tmp_path):
    root = recordings.write_umi(tmp_path / "replay.zarr")
    store = EpisodeStore(tmp_path / "store")
    bring_in(UmiImporter(root, UMI_HAND), "umi", store)
    chunk = root / "data/robot0_eef_pos/0.0"
    raw = bytearray(chunk.read_bytes())
    raw[-5] ^= 1
    chunk.write_bytes(raw)
    first, second = list(import_episodes(UmiImporter(root, UMI_HAND), "umi", store, SMALL))
    assert (first.status, second.status, second.reason) == ("held", "held", "")
    assert "has changed since (data/robot0_eef_pos" in first.reason


def test_the_same_source_read_otherwise_is_said_with_what_differs(tmp_path, capsys):
    root = recordings.write_lerobot_v2(tmp_path / "data", episodes=1)
    command = ["import", "format=lerobot", f"src={root}", f"out={tmp_path}/store"]
    assert main([*command, "fit.image_size=64", "convention.gripper=openness"]) == 0
    (name,) = EpisodeStore(tmp_path / "store").names()
    read = EpisodeStore(tmp_path / "store").read(name).meta["import"]
    assert read["convention"]["gripper"] == "openness"
    assert read["fit"]["image_size"] == 64
    assert read["columns"]["state"] == ["observation.state"]
    capsys.readouterr()
    other = ["fit.image_size=32", "convention.gripper=closedness", "fit.hz=5"]
    assert main([*command, *other]) == 0
    shown = capsys.readouterr().out
    for text in ("fit.image_size=64, not 32", "convention.gripper=openness, not closedness",
                 "fit.hz=null, not 5.0"):
        assert text in shown
    (outcome,) = json.loads((tmp_path / "store/import-report.json").read_text())["episodes"]
    assert outcome["status"] == "held"
    assert "fit.image_size=64" in outcome["reason"]


def test_imports_of_earlier_versions_go_on(tmp_path):
    """They named an episode by its key alone and its files by their base names."""
    root = recordings.write_lerobot_v2(tmp_path / "data")
    recordings.write_lerobot_v2(tmp_path / "other", frames=14)
    now, store = EpisodeStore(tmp_path / "now"), EpisodeStore(tmp_path / "store")
    bring_in(LeRobotImporter(root, OPEN_IS_ONE), "lerobot", now)
    name = next(n for n in now.names() if "episode_000000" in n)
    episode = now.read(name)
    found = episode.meta["import"]
    episode.meta["import"] = {
        "format": "lerobot", "key": found["key"], "notes": [],
        "sha256": {path.rpartition("/")[2]: value for path, value in found["sha256"].items()},
    }
    store.write("lerobot-episode_000000-557b9afd", episode)
    first, second = bring_in(LeRobotImporter(root, OPEN_IS_ONE), "lerobot", store)
    assert (first.status, first.reason, second.status) == ("held", "", "imported")
    outcomes = bring_in(LeRobotImporter(tmp_path / "other", OPEN_IS_ONE), "lerobot", store)
    assert [o.status for o in outcomes] == ["imported", "imported"]
    video = root / "videos/chunk-000/observation.images.top/episode_000000.mp4"
    recordings.write_mp4(video, smooth_images(20, 64, 5), 10)
    first, _ = bring_in(LeRobotImporter(root, OPEN_IS_ONE), "lerobot", store)
    assert "the source has changed since (episode_000000.mp4)" in first.reason


# -- what is derived -------------------------------------------------------------------------


def _encode(images):
    return images.reshape(len(images), 4, -1).astype(np.float16)


def _agree(store, cache):
    """Latents and states are those of the episodes."""
    for found in cache.episodes():
        episode = store.read(found.name)
        np.testing.assert_array_equal(found.states, episode.states)
        np.testing.assert_array_equal(found.latents, _encode(episode.images))


def _renewed(store, name, change):
    """The same name, another episode."""
    episode = store.read(name)
    shutil.rmtree(store.root / name)
    change(episode)
    store.write(name, episode)


def _other_states(episode):
    episode.states[:, 6] = 1 - episode.states[:, 6]


def _other_pictures(episode):
    episode.images = 255 - episode.images


def _other_commands(episode):
    episode.commanded_closedness[:] = 0.25


@pytest.mark.parametrize("change", [_other_states, _other_pictures, _other_commands])
def test_latents_of_an_episode_that_changed_are_made_anew(tmp_path, change):
    store, made = EpisodeStore(tmp_path), []
    for seed in range(2):
        store.write(f"e{seed}", make_episode(6, seed))

    def encode(images):
        made.append(len(images))
        return _encode(images)

    list(LatentCache(store, "hash").fill(encode))
    _renewed(store, "e1", change)
    with pytest.raises(DataError, match=r"latents of e1 .* other data .*worldmodel encode"):
        LatentCache(store, "hash").episodes()
    assert list(LatentCache(store, "hash").fill(encode)) == ["e0", "e1"]
    assert made == [6, 6, 6]
    _agree(store, LatentCache(store, "hash"))
    list(LatentCache(store, "hash").fill(encode))
    assert len(made) == 3


def test_latents_of_earlier_versions_are_read_where_they_are_of_the_episode(tmp_path):
    """They kept no checksums beside the latents."""
    store, made = EpisodeStore(tmp_path), []
    for seed in range(2):
        store.write(f"e{seed}", make_episode(6, seed))
    cache = LatentCache(store, "hash")

    def encode(images):
        made.append(len(images))
        return _encode(images)

    list(cache.fill(encode))
    for path in cache.folder.glob("*.json"):
        path.unlink()
    list(cache.fill(encode))
    assert len(made) == 2
    for path in cache.folder.glob("*.json"):
        path.unlink()
    _renewed(store, "e1", _other_states)
    list(cache.fill(encode))
    assert len(made) == 3
    _agree(store, cache)


def test_mended_polarity_reaches_the_latents(tmp_path):
    root = recordings.write_lerobot_v2(tmp_path / "data", episodes=1, frames=6)
    store = EpisodeStore(tmp_path / "store")
    for convention in (OURS, OPEN_IS_ONE):
        for name in store.names():
            shutil.rmtree(store.root / name)
        bring_in(LeRobotImporter(root, convention), "lerobot", store)
        list(LatentCache(store, "hash").fill(_encode))
    _agree(store, LatentCache(store, "hash"))


def test_a_split_of_another_store_is_refused(tmp_path):
    for name in ("a", "b"):
        for seed in range(8):
            EpisodeStore(tmp_path / name).write(f"e{seed}", make_episode(4, seed, side=16))
    split(EpisodeStore(tmp_path / "a"), tmp_path / "parts", 0.4, seed=0)
    split(EpisodeStore(tmp_path / "a"), tmp_path / "parts", 0.4, seed=0)
    with pytest.raises(DataError, match=r"of another store, .*/a; choose another out="):
        split(EpisodeStore(tmp_path / "b"), tmp_path / "parts", 0.4, seed=0)


def test_a_collection_goes_on_with_the_same_settings_only(tmp_path):
    arm, config = ArmConfig(image_size=32), CollectConfig(frames=3)
    list(collect(arm, config, str(tmp_path), range(1), workers=1))
    (name,) = EpisodeStore(tmp_path).names()
    assert EpisodeStore(tmp_path).read(name).meta["recorded_with"]["collect"]["frames"] == 3
    for other_arm, other, text in (
        (replace(arm, control_hz=4.0), config, "arm.control_hz=5.0, not 4.0"),
        (ArmConfig(), config, "arm.image_size=32, not 128"),
        (arm, replace(config, noise_m=0.0), "collect.noise_m=0.008, not 0.0"),
    ):
        with pytest.raises(DataError, match=f"ep-000000000 was recorded with {text}"):
            list(collect(other_arm, other, str(tmp_path), range(2), workers=1))
    assert list(collect(arm, config, str(tmp_path), range(1), workers=1)) == []


def test_collections_of_earlier_versions_go_on(tmp_path):
    """Their episodes do not say how they were recorded."""
    store = EpisodeStore(tmp_path)
    store.write("ep-000000000", make_episode(4))
    assert list(collect(ArmConfig(), CollectConfig(), str(tmp_path), range(1), workers=1)) == []
