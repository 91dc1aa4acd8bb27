import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_data.episodes import (
    DamagedEpisode,
    DamagedEpisodeWarning,
    EpisodeStore,
    WindowSampler,
)
from robot_data.pose import diff
from robot_data.schema import DataError
from tests.conftest import make_episode


@given(st.integers(2, 30), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_what_is_written_is_read(tmp_path_factory, frames, seed):
    store = EpisodeStore(tmp_path_factory.mktemp("store"))
    episode = make_episode(frames, seed)
    store.write("a", episode)
    read = store.read("a")
    for name in ("images", "states", "actions", "commanded_closedness"):
        np.testing.assert_array_equal(getattr(read, name), getattr(episode, name))
    np.testing.assert_array_equal(
        read.privileged["object_pose"], episode.privileged["object_pose"]
    )
    assert read.meta == episode.meta


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


WRITER = """
import sys
from robot_data.episodes import EpisodeStore
from tests.conftest import make_episode
store = EpisodeStore(sys.argv[1])
episode = make_episode(24, side=64)
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
