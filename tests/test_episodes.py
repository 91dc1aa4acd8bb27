import json
import os
import signal
import subprocess
import sys
import time

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_data.episodes import DamagedEpisodeWarning, EpisodeStore
from robot_data.latents import LatentCache
from robot_data.layout import DamagedEpisode
from robot_data.pose import diff
from robot_data.schema import DataError
from robot_data.windows import WindowDataset, WindowSampler
from tests.conftest import make_episode, smooth_images


def assert_same_numbers(read, episode):
    """Everything but the pictures, bit for bit."""
    for name in ("states", "actions", "commanded_closedness", "timestamps_ns"):
        np.testing.assert_array_equal(getattr(read, name), getattr(episode, name))
    for group in ("privileged", "raw"):
        ours, theirs = getattr(read, group), getattr(episode, group)
        assert ours.keys() == theirs.keys()
        for key in theirs:
            assert ours[key].dtype == theirs[key].dtype
            np.testing.assert_array_equal(ours[key], theirs[key])
    assert read.cameras.keys() == episode.cameras.keys()
    assert read.meta == episode.meta


@given(st.integers(2, 30), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, frames, seed):
    store = EpisodeStore(tmp_path_factory.mktemp("store"))
    episode = make_episode(frames, seed)
    store.write("a", episode)
    read = store.read("a")
    assert_same_numbers(read, episode)
    np.testing.assert_array_equal(read.images, episode.images)
    np.testing.assert_array_equal(read.cameras["wrist"], episode.cameras["wrist"])


@given(st.integers(2, 30), st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_jpeg_store_keeps_numbers_exactly_and_pictures_to_40_db(tmp_path_factory, frames, seed):
    store = EpisodeStore(tmp_path_factory.mktemp("store"), codec="jpeg")
    episode = make_episode(frames, seed)
    episode.images = smooth_images(frames, 64, seed)
    store.write("a", episode)
    read = store.read("a")
    assert_same_numbers(read, episode)
    error = (read.images.astype(float) - episode.images) ** 2
    assert 10 * np.log10(255**2 / error.mean()) > 40
    assert read.cameras["wrist"].shape == episode.cameras["wrist"].shape


def test_episodes_of_the_first_schema_are_read(tmp_path):
    store = EpisodeStore(tmp_path)
    episode = make_episode()
    episode.timestamps_ns, episode.cameras, episode.raw = None, {}, {}
    store.write("a", episode)
    path = tmp_path / "a" / "zarr.json"
    meta = json.loads(path.read_text())
    meta["attributes"]["schema_version"] = 1
    del meta["attributes"]["codec"]
    path.write_text(json.dumps(meta))
    np.testing.assert_array_equal(store.read("a").images, episode.images)
    meta["attributes"]["schema_version"] = 99
    path.write_text(json.dumps(meta))
    with pytest.raises(DamagedEpisode, match="schema 99"):
        store.read("a")


def test_remote_store_keeps_the_same_promises():
    store = EpisodeStore("memory://lab/robot", codec="jpeg")
    assert store.names() == []
    episode = make_episode()
    store.write("a", episode)
    with pytest.raises(DataError, match="immutable"):
        store.write("a", episode)
    assert_same_numbers(store.read("a"), episode)
    files, root = fsspec.url_to_fs("memory://lab/robot")
    files.pipe(f"{root}/b/zarr.json", files.cat(f"{root}/a/zarr.json")[:40])  # died while writing
    assert store.names() == ["a"]
    store.write("b", make_episode(seed=1))
    with pytest.raises(DataError, match="remote"):
        LatentCache(store, "hash")
    assert WindowSampler(store, 4, verify=False).sample(np.random.default_rng(0)).images.shape == (
        4, 32, 32, 3
    )


def test_episodes_are_immutable(tmp_path):
    store = EpisodeStore(tmp_path)
    store.write("a", make_episode())
    with pytest.raises(DataError, match="immutable"):
        store.write("a", make_episode())


def _flip_a_byte(store):
    chunk = next(p for p in (store.root / "b" / "images").rglob("*") if p.name.isdigit())
    chunk = chunk if chunk.is_file() else next(p for p in chunk.rglob("*") if p.is_file())
    raw = bytearray(chunk.read_bytes())
    raw[100] ^= 1
    chunk.write_bytes(raw)


def _drop_a_chunk(store):
    next(p for p in (store.root / "b" / "images" / "c").rglob("*") if p.is_file()).unlink()


def _tear_metadata(store):
    path = store.root / "b" / "zarr.json"
    path.write_text(path.read_text()[:50])


def _drop_a_field(store):
    path = store.root / "b" / "zarr.json"
    meta = json.loads(path.read_text())
    del meta["attributes"]["crc32"]["states"]
    path.write_text(json.dumps(meta))


@pytest.mark.parametrize(
    "damage", [_flip_a_byte, _drop_a_chunk, _tear_metadata, _drop_a_field]
)
def test_damaged_episode_is_reported_and_skipped(tmp_path, damage):
    store = EpisodeStore(tmp_path)
    for name in "abc":
        store.write(name, make_episode(seed=ord(name)))
    damage(store)
    with pytest.raises(DamagedEpisode, match="b"):
        store.read("b")
    with pytest.warns(DamagedEpisodeWarning, match="b"):
        assert [name for name, _ in store.episodes()] == ["a", "c"]
    with pytest.warns(DamagedEpisodeWarning):
        sampler = WindowSampler(store, 4)
    sound = np.concatenate([store.read(n).images for n in "ac"])
    rng = np.random.default_rng(0)
    for _ in range(50):
        frame = sampler.sample(rng).images[0]
        assert (frame == sound).all(axis=(1, 2, 3)).any()


def test_staged_episodes_are_not_listed_and_can_be_removed(tmp_path):
    store = EpisodeStore(tmp_path)
    store.write("a", make_episode())
    (tmp_path / ".tmp-123").mkdir()
    assert store.names() == ["a"]
    assert store.remove_staged() == 1
    assert store.names() == ["a"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("states", np.full((20, 7), np.nan), "finite"),
        ("states", np.full((20, 7), 3.0), "closedness"),
        ("states", np.zeros((19, 7)), "shape"),
        ("images", np.zeros((20, 32, 32, 3), np.float32), "uint8"),
        ("images", np.zeros((20, 30, 32, 3), np.uint8), "16"),
    ],
)
def test_invalid_episode_is_refused_and_nothing_is_left(tmp_path, field, value, message):
    store = EpisodeStore(tmp_path)
    episode = make_episode()
    setattr(episode, field, value)
    with pytest.raises(DataError, match=message):
        store.write("a", episode)
    assert list(tmp_path.iterdir()) == []


def test_empty_store_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="worldmodel collect"):
        WindowSampler(EpisodeStore(tmp_path / "nothing"), 4)


def test_windows_are_consecutive_and_carry_pose_changes(tmp_path):
    store = EpisodeStore(tmp_path)
    episode = make_episode(30)
    store.write("a", episode)
    window = WindowSampler(store, 4, stride=3).sample(np.random.default_rng(1))
    start = next(
        t for t in range(30) if np.array_equal(episode.images[t], window.images[0])
    )
    rows = slice(start, start + 10, 3)
    np.testing.assert_array_equal(window.images, episode.images[rows])
    np.testing.assert_array_equal(window.states, episode.states[rows])
    np.testing.assert_allclose(window.actions, diff(window.states[:-1], window.states[1:]))


def test_same_generator_gives_same_window(tmp_path):
    store = EpisodeStore(tmp_path)
    for i in range(3):
        store.write(f"e{i}", make_episode(seed=i))
    sampler = WindowSampler(store, 5)
    a, b = (sampler.sample(np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(a.images, b.images)


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_forked_workers_give_the_windows_of_the_parent(tmp_path, codec):
    store = EpisodeStore(tmp_path, codec=codec)
    for i in range(3):
        store.write(f"e{i}", make_episode(seed=i))
    dataset = WindowDataset(WindowSampler(store, 5, stride=2), 12, seed=3)
    here = [dataset[i] for i in range(len(dataset))]  # used before the fork
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=4, num_workers=2, multiprocessing_context="fork", timeout=60
    )
    batches = list(loader)
    for key in ("images", "states", "actions"):
        there = torch.cat([batch[key] for batch in batches]).numpy()
        np.testing.assert_array_equal(there, np.stack([w[key] for w in here]))


WRITER = """
import sys
import numpy as np
from robot_data.episodes import EpisodeStore
from robot_data.schema import Episode
store = EpisodeStore(sys.argv[1])
rng = np.random.default_rng(0)
episode = Episode(
    images=rng.integers(0, 256, (24, 64, 64, 3), dtype=np.uint8),
    states=np.c_[rng.uniform(-0.5, 0.5, (24, 6)), rng.uniform(0, 1, 24)],
    actions=rng.normal(0, 0.01, (24, 7)), commanded_closedness=rng.uniform(0, 1, 24),
)
i = len(store)
while True:
    store.write(f"ep-{i:06d}", episode)
    print(i, flush=True)
    i += 1
"""


def test_kill_9_loses_no_committed_episode(tmp_path):
    store = EpisodeStore(tmp_path)
    rng = np.random.default_rng(0)
    committed = -1
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )
        assert writer.stdout is not None
        committed = int(writer.stdout.readline())
        time.sleep(float(rng.uniform(0, 0.3)))
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
        committed = int(rest[-1]) if rest else committed
        writer.wait()
        writer.stdout.close()
        names = store.names()
        assert len(names) >= committed + 1
        assert len(list(store.episodes())) == len(names)  # none torn
        store.remove_staged()
