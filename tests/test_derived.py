"""What is made of episodes knows of which, and is refused by name of what differs."""

import json
import re
import shutil

import numpy as np
import pytest
import torch

from arm_worldmodel.cli import main
from arm_worldmodel.training_inputs import contents, require_same_inputs
from robot_data.episodes import EpisodeStore
from robot_data.exporters.lerobot import export_lerobot
from robot_data.exporters.made import FOLDER
from robot_data.exporters.npz import export_npz
from robot_data.exporters.rosbag import export_rosbag
from robot_data.importers.lerobot import SIDECAR
from robot_data.schema import DataError
from tests.conftest import make_episode
from worldmodel.models import Models

EXPORTS = {"npz": export_npz, "rosbag": export_rosbag, "lerobot": export_lerobot}


def replace_episode(store, name, change):
    """As a user does who deletes an episode and imports it anew."""
    episode = store.read(name)
    shutil.rmtree(store.root / name)
    change(episode)
    store.write(name, episode)


def invert_gripper(episode):
    episode.states[:, 6] = 1 - episode.states[:, 6]


def rename_task(episode):
    episode.meta["language"] = "another task"


@pytest.fixture
def store(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    for number in range(2):
        store.write(f"ep-{number}", make_episode(8, number))
    return store


@pytest.mark.parametrize("kind", EXPORTS)
@pytest.mark.parametrize(("change", "told"), [(invert_gripper, "states"), (rename_task, "meta")])
def test_an_export_of_an_episode_that_changed_is_refused(tmp_path, store, kind, change, told):
    export, out = EXPORTS[kind], tmp_path / "out"
    assert list(export(store, out)) == ["ep-0", "ep-1"]
    list(export(store, out))  # nothing has changed
    replace_episode(store, "ep-1", change)
    with pytest.raises(DataError, match=rf"1\S* was exported of other data .*\({told}\).* out="):
        list(export(store, out))
    assert list(export(store, tmp_path / "other")) == ["ep-0", "ep-1"]


@pytest.mark.parametrize("kind", ["npz", "rosbag"])
def test_an_export_names_its_episodes_that_left_the_store(tmp_path, store, capsys, kind):
    out = tmp_path / "out"
    words = ["export", f"format={kind}", f"data={store.url}", f"out={out}"]

    def left():
        capsys.readouterr()
        assert main(words) == 0
        report = json.loads((out / "export-report.json").read_text())
        return report["not_in_store"], capsys.readouterr().out

    assert left()[0] == []
    files = {path: path.stat().st_mtime_ns for path in out.glob("ep-0*")}
    shutil.rmtree(store.root / "ep-0")
    for number in range(2, 6):
        store.write(f"ep-{number}", make_episode(8, number))
    names, said = left()
    assert names == ["ep-0"]
    assert f"{out} also holds ep-0, which {store.url} does not" in said
    assert files == {path: path.stat().st_mtime_ns for path in out.glob("ep-0*")}  # it stays
    for number in range(1, 5):
        shutil.rmtree(store.root / f"ep-{number}")
    names, said = left()
    assert names == [f"ep-{number}" for number in range(5)]
    assert "ep-0, ep-1, ep-2 and 2 more, which" in said
    for path in files:  # what was deleted from the export is not told of
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert left()[0] == [f"ep-{number}" for number in range(1, 5)]


def test_an_export_with_other_settings_is_refused(tmp_path, store):
    list(export_lerobot(store, tmp_path / "l", 5.0))
    with pytest.raises(DataError, match="video=none, not h264"):
        list(export_lerobot(store, tmp_path / "l", 5.0, "h264"))
    with pytest.raises(DataError, match=r"fps=5\.0, not 10\.0"):
        list(export_lerobot(store, tmp_path / "l", 10.0))
    list(export_rosbag(store, tmp_path / "b", 5.0))
    with pytest.raises(DataError, match=r"fps=5\.0, not 10\.0"):
        list(export_rosbag(store, tmp_path / "b", 10.0))


def test_exports_of_earlier_versions_go_on(tmp_path, store):
    for kind, export in EXPORTS.items():
        list(export(store, tmp_path / kind))
    for kind in ("npz", "rosbag"):
        shutil.rmtree(tmp_path / kind / FOLDER)
    for path in (tmp_path / "lerobot" / SIDECAR).glob("*.json"):
        record = json.loads(path.read_text())
        del record["made_of"]
        path.write_text(json.dumps(record))
    store.write("ep-2", make_episode(8, 2))
    for kind, export in EXPORTS.items():
        assert "ep-2" in list(export(store, tmp_path / kind))


def test_a_damaged_record_of_an_export_is_named(tmp_path, store):
    list(export_lerobot(store, tmp_path / "l"))
    (tmp_path / "l" / SIDECAR / "episode_000001.json").write_text("")
    with pytest.raises(DataError, match=r"episode_000001\.json is damaged .*out="):
        list(export_lerobot(store, tmp_path / "l"))
    list(export_npz(store, tmp_path / "n"))
    (tmp_path / "n" / FOLDER / "ep-1.json").write_text("[]")
    with pytest.raises(DataError, match=r"ep-1\.json is damaged .*out="):
        list(export_npz(store, tmp_path / "n"))


@pytest.mark.parametrize("kind", ["npz", "rosbag"])
def test_what_a_killed_export_left_beside_its_notes_goes(tmp_path, store, kind):
    notes = tmp_path / kind / FOLDER
    notes.mkdir(parents=True)
    (notes / ".tmp-0123456789abcdef.json").write_text('{"episode": ')
    list(EXPORTS[kind](store, tmp_path / kind))
    assert not list(notes.glob(".tmp-*"))
    assert len(list(notes.glob("ep-*.json"))) == len(store.names())


PRETRAIN = (
    "encoder.image_size=32", "encoder.embed_dim=48", "encoder.depth=1", "encoder.num_heads=4",
    "train.batch_size=4", "device=cpu",
)


def test_training_goes_on_with_the_same_data_and_settings_only(tmp_path, store, capsys):
    out = tmp_path / "out"
    words = ["pretrain", f"out={out}", *PRETRAIN]
    here = [*words, f"data={store.url}"]
    assert main([*here, "train.steps=1"]) == 0
    shutil.copytree(store.root, tmp_path / "moved")  # the same episodes elsewhere
    more = ("train.steps=2", "train.learning_rate=1e-4")  # which may change on the way
    assert main([*words, *more, f"data={tmp_path / 'moved'}"]) == 0
    for other, told in (
        ("train.seed=3", "seed=0, not 3"), ("motion_frames=2", "motion_frames=4, not 2"),
    ):
        capsys.readouterr()
        assert main([*here, other]) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert f"pretrain_state.pt is of a run with {told}: give the same" in line
    replace_episode(store, "ep-1", lambda e: np.copyto(e.images, 0))
    assert main(here) == 2
    assert "a run with other data of ep-1:" in capsys.readouterr().err


def test_a_predictor_goes_on_with_the_same_teachers_only(tmp_path, store, capsys):
    """The readouts that its imagined frames must satisfy, by their weights."""
    small = ["device=cpu", "predictor.depth=1", "predictor.predictor_dim=48",
             "predictor.num_heads=4", "train.batch_size=2", "window=3", "losses.rollout_steps=2"]
    for teacher in ("one", "other"):
        Models.load("shipped", ["readout"], "cpu").save(tmp_path / teacher)
    words = ["train", f"data={store.url}", f"out={tmp_path / 'out'}", "parts=[predictor]",
             *small]
    same = f"recover_with=[{tmp_path / 'one'}]"
    assert main([*words, same, "train.steps=1"]) == 0
    assert main([*words, same, "train.steps=2"]) == 0
    for others in (f"[{tmp_path / 'other'}]", f"[{tmp_path / 'one'},{tmp_path / 'other'}]", "[]"):
        capsys.readouterr()
        assert main([*words, "train.steps=3", f"recover_with={others}"]) == 2
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert "train_state.pt is of a run with recover_with=[" in line
    retrained = Models.load("shipped", ["readout"], "cpu")
    torch.nn.init.zeros_(next(retrained.readout.parameters()))
    retrained.save(tmp_path / "one")  # another readout in its place
    capsys.readouterr()
    assert main([*words, same, "train.steps=3"]) == 2
    assert re.search(rf"a run with teachers\.{tmp_path}/one=\w+, not \w+: give the same",
                     capsys.readouterr().err)


def test_a_readout_is_not_trained_on_from_a_damaged_state(tmp_path, store, capsys):
    out = tmp_path / "out"
    words = ["train", f"data={store.url}", f"out={out}", "parts=[readout]", "device=cpu",
             "readout_train.batch_size=2"]
    assert main([*words, "readout_train.steps=1"]) == 0
    (out / "readout_state.pt").write_bytes(b"")
    capsys.readouterr()
    assert main([*words, "readout_train.steps=2"]) == 2
    (line,) = [told for told in capsys.readouterr().err.splitlines() if "error" in told]
    assert f"{out}/readout_state.pt is damaged" in line
    assert "delete it" in line


def test_episodes_that_came_and_went_are_named(tmp_path, store):
    (tmp_path / "train_state.pt").touch()
    require_same_inputs(str(tmp_path), "train", contents(store), {"window": 5})
    shutil.rmtree(store.root / "ep-0")
    for number in range(2, 7):
        store.write(f"ep-{number}", make_episode(8, number))
    with pytest.raises(DataError) as refused:
        require_same_inputs(str(tmp_path), "train", contents(store), {"window": 3})
    for told in ("that are gone: ep-0;", "without ep-2, ep-3, ep-4 and 2 more;", "window=5, not 3"):
        assert told in str(refused.value)
    (tmp_path / "train_inputs.json").write_text("")
    with pytest.raises(DataError, match=r"train_inputs\.json is damaged .*delete it"):
        require_same_inputs(str(tmp_path), "train", contents(store), {"window": 3})
    (tmp_path / "train_inputs.json").unlink()  # as of a run of an earlier version
    require_same_inputs(str(tmp_path), "train", contents(store), {"window": 3})
