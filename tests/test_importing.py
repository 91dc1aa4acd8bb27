"""Import in several processes gives what one gives; what is no file, and what unfolds to more than
there is, is skipped."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from arm_worldmodel.commands import import_
from robot_data.conventions import StateConvention
from robot_data.episodes import EpisodeStore
from robot_data.files import UnwritableError
from robot_data.importers.assemble import FitConfig
from robot_data.importers.droid import DroidImporter
from robot_data.importers.memory import MOST_MB
from robot_data.importers.npz import NpzImporter
from robot_data.importers.run import import_episodes
from robot_data.importers.source import sorted_paths
from robot_data.schema import DataError
from tests import recordings
from tests.bombs import bombed
from tests.conftest import smooth_images
from tests.fuzz import trial
from tests.recordings import OURS, hand_path, write_droid


@pytest.fixture(scope="module")
def droid(tmp_path_factory):
    """Four episodes, one of which is there twice, and one whose trajectory is torn."""
    root = tmp_path_factory.mktemp("droid")
    for seed in range(4):
        write_droid(root, 12, seed=seed)
    twin = next((root / "ILIAD").rglob("Sat_Jul__1_10:00:02_2023"))
    shutil.copytree(twin, root / "COPY" / twin.name)  # a second encoding may have other bytes
    torn = write_droid(tmp_path_factory.mktemp("other"), 12, lab="TORN")
    shutil.move(torn / "TORN", root)
    next((root / "TORN").rglob("trajectory.h5")).write_bytes(b"torn")
    return root


def settings(droid, out, **others):
    return import_.Settings(
        "droid", str(droid), str(out), fit=FitConfig("ext1", 32), **others
    )


def told(report):
    return [(e["key"], e["name"], e["status"], e["notes"]) for e in report["episodes"]]


@pytest.mark.slow
def test_several_processes_import_what_one_imports(droid, tmp_path, capsys):
    one = import_.run(settings(droid, tmp_path / "one", workers=1))
    two = import_.run(settings(droid, tmp_path / "two", workers=2))
    stores = [EpisodeStore(tmp_path / name) for name in ("one", "two")]
    assert stores[0].names() == stores[1].names()
    for name in stores[0].names():
        a, b = (store.read(name) for store in stores)
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.states, b.states)
        assert a.meta == b.meta
    for report in (one, two):
        counts = [report[status] for status in ("imported", "held", "skipped")]
        assert counts == [4, 1, 1]
    assert [e["key"] for e in one["episodes"]] == [e["key"] for e in two["episodes"]]
    assert told(one)[-1] == told(two)[-1]
    again = import_.run(settings(droid, tmp_path / "two", workers=2))
    assert again["held"] == 5
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_destination_that_one_of_several_processes_cannot_write_ends_the_import(
    droid, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(EpisodeStore, "require_writable", lambda self: None)
    out.rmdir()
    out.write_text("a file")
    with pytest.raises(UnwritableError, match="cannot be written"):
        import_.run(settings(droid, out, workers=2))


@pytest.mark.parametrize(("name", "value"), [("workers", 0), ("memory_mb", -1)])
def test_less_than_one_process_or_megabyte_is_refused(droid, tmp_path, name, value):
    with pytest.raises(ValueError, match=f"{name}={value}; expected at least 1"):
        import_.run(settings(droid, tmp_path / "out", **{name: value}))


def test_an_episode_that_takes_more_memory_than_allowed_is_skipped_and_the_next_is_not(tmp_path):
    root, images = tmp_path / "source", np.zeros((200, 512, 512, 3), np.uint8)
    root.mkdir()
    np.savez_compressed(root / "a.npz", observations=images, states=hand_path(200))
    np.savez(root / "b.npz", observations=smooth_images(6, 32), states=hand_path(6))
    out = tmp_path / "store"
    small = import_.Settings("npz", str(root), str(out), memory_mb=64, workers=2)
    report = import_.run(small)  # in processes of its own, which hold no memory that others freed
    first, second = report["episodes"]
    assert first["status"] == "skipped"
    assert "more than 64 MB of memory" in first["reason"]
    assert "memory_mb=" in first["reason"]
    assert second["status"] == "imported"
    again = import_.run(import_.Settings("npz", str(root), str(out), memory_mb=1024))
    assert [e["status"] for e in again["episodes"]] == ["imported", "held"]
    assert not again["episodes"][1]["reason"]  # it says nothing of how it was read


LIMITED = """
import numpy as np
from robot_data.importers.memory import at_most
from robot_data.schema import DataError
try:
    with at_most(16):
        np.ones(2**25)
except DataError as error:
    print(error)
assert np.ones(2**25).sum() == 2**25
"""


def test_the_limit_of_memory_ends_with_its_block():
    command = [sys.executable, "-c", LIMITED]  # a process that keeps no memory it freed
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "more than 16 MB" in done.stdout


def test_one_of_many_episodes_of_an_array_is_read_without_the_others(tmp_path):
    images = np.stack([smooth_images(6, 32, seed) for seed in range(3)])
    states = np.stack([hand_path(6, seed) for seed in range(3)])
    np.savez_compressed(tmp_path / "a.npz", observations=images, states=np.asfortranarray(states))
    importer = NpzImporter(tmp_path, OURS)
    for index, key in enumerate(importer.keys()):
        source = importer.read(key)
        np.testing.assert_array_equal(list(source.views["exo"].frames(range(6))), images[index])
        np.testing.assert_allclose(source.states, StateConvention().to_state(states[index]))


@pytest.mark.parametrize("form", recordings.FORMATS, ids=lambda form: form.name)
@pytest.mark.parametrize("place", ["pipe", "device", "nothing", "itself", "folder"])
def test_what_is_no_file_is_never_waited_for(tmp_path, form, place):
    clean = form.write(tmp_path / "clean")
    files = sorted(p for p in clean.rglob("*") if p.is_file()) if clean.is_dir() else [clean]
    for path in files[:: max(1, len(files) // 4)]:
        data = path.read_bytes()
        path.unlink()
        if place == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to({"device": "/dev/zero", "nothing": "nowhere", "itself": path.name,
                             "folder": "."}[place])
        store = EpisodeStore(tmp_path / "store" / path.name.replace(".", "_"))
        try:
            outcomes = list(import_episodes(
                form.importer(clean), form.name, store, FitConfig(form.camera, 32)
            ))
        except DataError:
            outcomes = []
        assert all(o.reason for o in outcomes if o.status == "skipped")
        path.unlink()
        path.write_bytes(data)


def test_links_to_files_are_followed_and_links_to_folders_are_named(tmp_path, capsys):
    write_droid(tmp_path / "real", 12)
    shutil.copytree(tmp_path / "real", tmp_path / "blobs")
    for path in [p for p in (tmp_path / "real").rglob("*") if p.is_file()]:
        path.unlink()
        path.symlink_to(tmp_path / "blobs" / path.relative_to(tmp_path / "real"))
    (tmp_path / "real/other").symlink_to(tmp_path / "blobs")
    importer = DroidImporter(tmp_path / "real", OURS)
    (outcome,) = import_episodes(importer, "droid", EpisodeStore(tmp_path / "s"),
                                 FitConfig("ext1", 32))
    assert outcome.status == "imported"
    assert "other is a link to a folder and is not followed" in capsys.readouterr().err


def test_a_source_below_a_hidden_folder_or_above_the_working_one_is_found(tmp_path, monkeypatch):
    inner = tmp_path / ".cache/set"
    inner.mkdir(parents=True)
    (inner / "a.npz").touch()
    (inner / ".b.npz").touch()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for root in (inner, tmp_path.__class__("../.cache/set")):
        assert [p.name for p in sorted_paths(root, "*.npz")] == ["a.npz"]


def test_new_times_of_the_frames_are_a_changed_source(tmp_path):
    root = write_droid(tmp_path / "droid", 12)
    importer, store = DroidImporter(root, OURS), EpisodeStore(tmp_path / "store")
    fit = FitConfig("ext1", 32)
    list(import_episodes(importer, "droid", store, fit))
    side = next(root.rglob("222_timestamps.json"))
    side.write_text(json.dumps([t + 30 for t in json.loads(side.read_text())]))
    (outcome,) = import_episodes(importer, "droid", store, fit)
    assert outcome.status == "held"
    assert "222_timestamps.json" in outcome.reason


def memory_mb(name: str) -> float:
    """Of this process: VmRSS is what it has, VmHWM the most that it had."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) / 1024


@pytest.mark.slow
@pytest.mark.parametrize("form", recordings.FORMATS, ids=lambda form: form.name)
def test_bombs_are_skipped_within_the_memory_that_is_allowed(tmp_path, form):
    clean = form.write(tmp_path / "clean")  # benchmarks/fuzz_importers.py tries 2,000 inputs
    for bomb in bombed(clean, tmp_path):
        work = tmp_path / f"{bomb.name}-work"
        work.mkdir()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        before = memory_mb("VmRSS")
        trial(form, bomb, work, np.random.default_rng(0), damaged=False)
        assert memory_mb("VmHWM") - before < 1.5 * MOST_MB, bomb.name
