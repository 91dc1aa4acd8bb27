"""Folders that are not ours stay as they are; destinations are tried before any work."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arm_worldmodel.cli import main
from robot_data import files
from robot_data.checks import Finding, repair
from robot_data.episodes import EpisodeStore
from robot_data.files import UnwritableError
from robot_data.importers.assemble import FitConfig
from robot_data.importers.npz import NpzImporter
from robot_data.importers.run import import_episodes
from robot_data.schema import DataError
from tests import recordings
from tests.conftest import DATA, make_episode

FRANKA = ["import", "format=npz", f"src={DATA / 'franka_example_traj.npz'}"]


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A folder of somebody's, with a foreign zarr group and an array; the working directory."""
    import zarr

    root = tmp_path / "home"
    (root / "Documents").mkdir(parents=True)
    (root / "Documents" / "thesis.tex").write_text("x")
    (root / "project").mkdir()
    zarr.open_group(root / "buffer.zarr", mode="w").create_array("states", data=np.zeros(3))
    zarr.save_array(root / "array.zarr", np.zeros(3))  # pyright: ignore[reportArgumentType]
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize("where", ["data=.", "data="])
@pytest.mark.parametrize("command", ["check", "repair", "info"])
def test_a_folder_without_episodes_is_refused_and_left_alone(home, capsys, command, where):
    before = tree(home)
    assert main(["data", command, where]) == 2
    told = capsys.readouterr().err
    assert ("no episodes in ." if where == "data=." else "'data' must be given") in told
    assert tree(home) == before
    assert not (home / ".removed").exists()


def test_the_parent_of_stores_is_refused_with_their_names(tmp_path, capsys):
    for name in ("lab1", "lab2"):
        EpisodeStore(tmp_path / name).write("e0", make_episode(4))
    for command in ("check", "repair"):
        assert main(["data", command, f"data={tmp_path}"]) == 2
        told = capsys.readouterr().err
        assert f"name one of the stores in it: {tmp_path}/lab1, {tmp_path}/lab2" in told
    assert main(["data", "repair", f"data={tmp_path}/lab1/e0"]) == 2
    assert f"it is one itself: name its store, {tmp_path}/lab1" in capsys.readouterr().err
    assert len(EpisodeStore(tmp_path / "lab1")) == 1


def test_repair_of_a_store_among_other_things_moves_damaged_episodes_only(home):
    store = EpisodeStore(home)
    for seed in range(2):
        store.write(f"e{seed}", make_episode(4, seed))
    (home / "e1" / "zarr.json").write_text("torn")
    before = {name: data for name, data in tree(home).items() if not name.startswith("e1/")}
    assert main(["data", "repair", f"data={home}"]) == 0
    assert store.names() == ["e0"]
    after = {name: data for name, data in tree(home).items() if not name.startswith(".removed/")}
    assert after == before


def test_what_an_earlier_repair_moved_stays(tmp_path):
    store = EpisodeStore(tmp_path)
    for seed in range(2):
        store.write("e", make_episode(4, seed))
        moved = repair(store, [Finding("e", "error", "damaged"), Finding("x", "error", "damaged")])
        assert list(moved) == ["e"]
    aside = EpisodeStore(tmp_path / ".removed")
    assert sorted(aside.read(name).meta["seed"] for name in aside.names()) == [0, 1]


@pytest.mark.parametrize("command", [FRANKA, ["collect", "episodes=1"]], ids=["import", "collect"])
def test_a_folder_of_other_things_is_no_store(home, capsys, command):
    before = tree(home)
    assert main([*command, f"out={home}"]) == 2
    assert "holds 'Documents' and no episode" in capsys.readouterr().err
    assert main([*command, "out="]) == 2
    assert "'out' must be given" in capsys.readouterr().err
    assert tree(home) == before


@pytest.mark.parametrize("form", ["npz", "lerobot", "rosbag"])
def test_an_export_goes_into_its_own_folder_and_cleans_what_is_its_own(
    home, tmp_path, capsys, form
):
    store, own = EpisodeStore(tmp_path / "store"), tmp_path / "own"
    store.write("e0", make_episode(4))
    for stranger in (home / "project/.tmp-x", home / ".tmp-y"):
        stranger.write_text("x")
    before = tree(tmp_path)
    words = ["export", f"format={form}", f"data={store.url}"]
    for out in (home, home / "Documents", store.root):
        assert main([*words, f"out={out}"]) == 2
        assert f"{out} holds '" in capsys.readouterr().err
        assert tree(tmp_path) == before
    own.mkdir()
    assert main([*words, f"out={own}"]) == 0
    (own / "sub").mkdir()
    (own / "sub/.tmp-x").write_text("x")
    left = own / ("meta" if form == "lerobot" else "") / ".tmp-dead"
    left.write_text("")
    assert main([*words, f"out={own}"]) == 0
    assert (own / "sub/.tmp-x").exists()
    assert not left.exists()


@pytest.mark.parametrize("name", ["2024_06_01", "1e3", "true", "a,b", "[lab]"])
def test_a_store_is_called_what_was_typed(home, name):
    assert main([*FRANKA, f"out={name}"]) == 0
    assert len(EpisodeStore(home / name)) == 1


# -- destinations that take nothing ----------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [FRANKA, ["collect", "episodes=1"], ["evaluate", "policy=random", "episodes=1"],
     ["plan", "policy=random"], ["data", "info", "data={store}"],
     ["export", "format=npz", "data={store}"], ["encode", "data={store}"]],
    ids=lambda words: words[0],
)
def test_an_unwritable_destination_is_told_before_any_work(tmp_path, capsys, command):
    store, file = tmp_path / "store", tmp_path / "file"
    EpisodeStore(store).write("e0", make_episode(4))
    file.write_text("x")
    before = tree(tmp_path)
    words = [word.format(store=store) for word in command]
    assert main([*words, f"out={file}/inner"]) == 2
    told = capsys.readouterr()
    assert f"{file}/inner cannot be written: {file} is a file, not a folder" in told.err
    assert "episode" not in told.out
    assert tree(tmp_path) == before


def on_a_full_disk(size: int, *words: str) -> subprocess.CompletedProcess[str]:
    """A command for which the kernel refuses files beyond a size, as it refuses those for which
    there is no room."""
    script = (
        "import sys; from arm_worldmodel.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True, text=True, cwd=Path(__file__).parents[1],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def test_a_full_disk_ends_an_import_at_its_first_episode(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for seed in range(3):
        images = np.random.default_rng(seed).integers(0, 256, (1, 6, 64, 64, 3), np.uint8)
        np.savez(source / f"{seed}.npz", observations=images,
                 states=recordings.hand_path(6, seed)[None])
    done = on_a_full_disk(
        50_000, "import", "format=npz", f"src={source}", "codec=raw", "fit.image_size=64",
        f"out={tmp_path}/store",
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"worldmodel import: error: {tmp_path}/store cannot be written: File too large"
    )
    assert "skipped" not in done.stdout + done.stderr
    assert "Task was destroyed" not in done.stderr
    assert not list((tmp_path / "store").iterdir())


@pytest.mark.parametrize("form", ["npz", "lerobot", "rosbag"])
def test_a_full_disk_ends_an_export_midway_and_leaves_nothing_torn(tmp_path, form):
    store, out = EpisodeStore(tmp_path / "store"), tmp_path / "out"
    for name, frames in (("e0", 4), ("e1", 80)):
        episode = make_episode(frames, frames)
        episode.meta["control_hz"] = 5.0
        store.write(name, episode)
    words = ["export", f"format={form}", f"data={store.url}", f"out={out}"]
    done = on_a_full_disk(300_000, *words)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"worldmodel export: error: {out} cannot be written: ")
    assert last.endswith("File too large")
    assert not list(out.rglob(".tmp-*"))
    assert not [path for path in out.rglob("e1*") if path.parent.name != "made_of"]
    assert main(words) == 0
    assert main(["import", f"format={form}", f"src={out}", f"out={tmp_path}/back"]) == 0
    assert sorted(map(EpisodeStore(tmp_path / "back").frames,
                      EpisodeStore(tmp_path / "back").names())) == [4, 80]


def test_a_destination_that_fails_midway_is_no_fault_of_the_source(tmp_path, monkeypatch):
    store = EpisodeStore(tmp_path / "store")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(UnwritableError, match=r"store cannot be written: No space left on device"):
        list(import_episodes(
            NpzImporter(DATA / "franka_example_traj.npz", recordings.OURS), "npz", store,
            FitConfig(image_size=None),
        ))
    assert not list(store.root.iterdir())


def test_an_unreadable_source_is_skipped_whatever_the_destination(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.npz").write_bytes(b"torn")
    outcomes = list(import_episodes(
        NpzImporter(tmp_path / "source", recordings.OURS), "npz", EpisodeStore(tmp_path / "store"),
        FitConfig(),
    ))
    assert [o.status for o in outcomes] == ["skipped"]


# -- leftovers and what is alive ---------------------------------------------------------------


def test_what_a_living_writer_writes_is_no_leftover(tmp_path):
    (tmp_path / ".tmp-dead").mkdir()
    (tmp_path / ".tmp-dead.json").write_text("{}")
    with files.staging(tmp_path) as staged, files.replacing(tmp_path / "report.json") as report:
        report.write_text("{}")
        assert EpisodeStore(tmp_path).remove_staged() == 2
        assert staged.is_dir()
        staged.rename(tmp_path / "made")
    assert {p.name for p in tmp_path.iterdir()} == {"made", "report.json"}
    shutil.rmtree(tmp_path / "made")
    assert EpisodeStore(tmp_path).remove_staged() == 0


def test_a_name_taken_meanwhile_is_kept_and_said(tmp_path, monkeypatch):
    store = EpisodeStore(tmp_path)
    rename, first = os.rename, make_episode(4, 1)

    def other_was_first(source, target):
        monkeypatch.setattr(os, "rename", rename)
        store.write("e", first)
        rename(source, target)

    monkeypatch.setattr(os, "rename", other_was_first)
    with pytest.raises(DataError, match="exists; episodes are immutable"):
        store.write("e", make_episode(4, 2))
    np.testing.assert_array_equal(store.read("e").images, first.images)
    assert not list(tmp_path.glob(".tmp-*"))
