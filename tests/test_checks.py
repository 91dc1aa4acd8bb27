import json
import shutil

import numpy as np
import pytest
from PIL import Image
from rerun.chunk import RrdReader

from arm_worldmodel.cli import main
from robot_data.checks import inspect, is_validation, split
from robot_data.episodes import EpisodeStore
from robot_data.layout import Outline
from robot_data.pose import diff
from robot_data.schema import STATE_FIELDS, DataError
from robot_data.summary import Summary
from tests.conftest import make_episode


def sound_episode(seed: int, frames: int = 12):
    """Small moves, 5 Hz: nothing to complain about."""
    episode = make_episode(frames, seed)
    rng = np.random.default_rng(seed)
    episode.states[:, :6] = np.cumsum(rng.normal(0, 0.01, (frames, 6)), axis=0)
    episode.timestamps_ns = np.arange(frames, dtype=np.int64) * 200_000_000 + seed
    return episode


def findings_of(store):
    return {name: [f.text for f in found] for name, found in inspect(store, Summary())}


def test_sound_episodes_have_no_findings(tmp_path):
    store = EpisodeStore(tmp_path)
    for seed in range(3):
        store.write(f"e{seed}", sound_episode(seed))
    assert findings_of(store) == {"e0": [], "e1": [], "e2": []}


def _millimetres(e):
    e.states[:, :3] *= 1000


def _jump(e):
    e.states[5:, 0] += 1.0


def _degrees(e):
    e.states[:, 5] = 90.0


def _gap(e):
    e.timestamps_ns[6:] += 5 * 10**9


def _stale(e):
    e.images[4] = e.images[3]
    e.states[4:, 0] += 0.05


def _black(e):
    e.images[2] = 0


def _still(e):
    e.states[:, :3] = 0.3


@pytest.mark.parametrize(
    ("change", "text"),
    [(_millimetres, "metres"), (_jump, "jumps"), (_degrees, "radians"), (_gap, "gaps in time"),
     (_stale, "repeat the picture"), (_black, "black"), (_still, "never moves")],
)
def test_each_suspicion_is_named(tmp_path, change, text):
    store = EpisodeStore(tmp_path)
    episode = sound_episode(0)
    change(episode)
    store.write("e", episode)
    assert any(text in found for found in findings_of(store)["e"])


def test_check_and_repair_move_what_cannot_be_used_and_delete_nothing(tmp_path, capsys):
    store = EpisodeStore(tmp_path)
    for seed in range(3):
        store.write(f"e{seed}", sound_episode(seed))
    store.write("twin", sound_episode(1))
    path = tmp_path / "e2" / "zarr.json"
    path.write_text(path.read_text()[:40])
    (tmp_path / ".tmp-dead").mkdir()
    assert main(["data", "check", f"data={tmp_path}"]) == 2
    shown = capsys.readouterr()
    assert "duplicate of e1" in shown.out
    assert "e2: damaged" in shown.out
    assert "data repair" in shown.err
    assert main(["data", "repair", f"data={tmp_path}"]) == 0
    assert store.names() == ["e0", "e1"]
    assert {p.name for p in (tmp_path / ".removed").iterdir()} == {"e2", "twin"}
    assert not (tmp_path / ".tmp-dead").exists()
    assert main(["data", "check", f"data={tmp_path}", f"out={tmp_path}/.check"]) == 0
    assert json.loads((tmp_path / ".check" / "report.json").read_text())["findings"] == []


def test_info_tells_rates_sources_and_ranges(tmp_path, capsys):
    store = EpisodeStore(tmp_path)
    for seed in range(2):
        episode = sound_episode(seed)
        episode.meta |= {"licence": "CC BY 4.0", "import": {"format": "droid"}}
        store.write(f"e{seed}", episode)
    assert main(["data", "info", f"data={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    assert "2 episodes, 24 frames" in shown
    assert "CC BY 4.0 (2)" in shown
    assert "droid (2)" in shown
    assert "closedness" in shown


@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_info_tells_without_reading_pictures_what_all_of_the_episodes_say(tmp_path, codec):
    store, whole, light = EpisodeStore(tmp_path, codec), Summary(), Summary()
    for seed in range(3):
        store.write(f"e{seed}", make_episode(6 + 3 * seed, seed))
    episodes = [episode for _, episode in store.episodes()]
    for episode in episodes:
        whole.add(Outline.of(episode))
    for path in list(tmp_path.rglob("c/*")):  # of pictures all but the first chunk, with its header
        if "images" in str(path) and "offsets" not in str(path) and path.name != "0":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in store.names():
        light.add(store.outline(name))
    assert light.report() == whole.report()
    states = np.concatenate([e.states for e in episodes])
    moves = np.concatenate([diff(e.states[:-1], e.states[1:]) for e in episodes])
    for kind, rows in (("state", states), ("move", moves)):
        told = whole.report()[kind]
        for key, value in (("min", rows.min(0)), ("mean", rows.mean(0)), ("std", rows.std(0)),
                           ("max", rows.max(0))):
            np.testing.assert_allclose([told[n][key] for n in STATE_FIELDS], value, atol=1e-12)


@pytest.mark.parametrize("hurt", ["zarr.json", "states/c/0/0"])
def test_info_counts_no_damaged_episode_and_says_so(tmp_path, capsys, hurt):
    store = EpisodeStore(tmp_path / "store")
    for seed in range(2):
        store.write(f"e{seed}", sound_episode(seed))
    path = store.root / "e1" / hurt
    path.write_bytes(path.read_bytes()[:-8] + b"\0" * 8)
    assert main(["data", "info", f"data={store.url}", f"out={tmp_path / 'told'}"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("1 episodes, 12 frames")
    assert "1 episodes are damaged and not counted, the first of them e1; `worldmodel data" in shown
    report = json.loads((tmp_path / "told" / "report.json").read_text())
    assert [f["name"] for f in report["findings"]] == ["e1"]


def test_show_draws_episodes_spread_over_the_store_with_every_camera(tmp_path):
    store, out = EpisodeStore(tmp_path / "all"), tmp_path / "shown"
    for i in range(5):
        store.write(f"episode-{i}", make_episode(4, i, side=16))
    assert main(["data", "show", f"data={tmp_path / 'all'}", "episodes=3", f"out={out}"]) == 0
    assert sorted(p.stem for p in out.glob("*.png")) == ["episode-0", "episode-2", "episode-4"]
    with Image.open(out / "episode-2.png") as figure:
        assert np.asarray(figure.convert("L")).std() > 5
    seen = {
        chunk.entity_path for chunk in RrdReader(str(out / "episode-2.rrd")).stream()
    }
    assert {"/cameras/camera", "/cameras/wrist", "/world/hand", "/state/closedness"} <= seen


def test_split_is_by_episode_disjoint_and_stable(tmp_path):
    store = EpisodeStore(tmp_path / "all")
    names = [f"episode-{i}" for i in range(24)]
    for i, name in enumerate(names):
        store.write(name, make_episode(4, i, side=16))
    parts = split(store, tmp_path / "parts", 0.25, seed=0)
    assert set(parts["train"]) | set(parts["validation"]) == set(names)
    assert not set(parts["train"]) & set(parts["validation"])
    train = EpisodeStore(tmp_path / "parts/train")
    assert train.names() == parts["train"]
    np.testing.assert_array_equal(
        train.read(parts["train"][0]).images, store.read(parts["train"][0]).images
    )
    held_out = {name for name in names if is_validation(name, 0.25, 0)}
    store.write("later", make_episode(4, 99, side=16))
    again = split(store, tmp_path / "parts", 0.25, seed=0)
    assert held_out <= set(again["validation"])
    assert set(again["validation"]) - held_out <= {"later"}
    with pytest.raises(DataError, match="not of this split"):
        split(store, tmp_path / "parts", 0.25, seed=1)
    with pytest.raises(DataError, match="between 0 and 1"):
        split(store, tmp_path / "x", 1.5, seed=0)
