"""docs/droid.md and docs/umi.md run as they are written, on small recordings of their layouts."""

import json
import shutil

import numpy as np
import pytest
import zarr

from robot_data.episodes import EpisodeStore
from tests import recordings
from tests.pages import DOCS, run_page

pytestmark = pytest.mark.slow


def check(page, name, tmp_path):
    """The page's commands lead to a verdict that it can be looked up for."""
    store = EpisodeStore(tmp_path / "data" / name)
    ran = run_page(page, store)
    assert [words.split()[0] for words in ran] == ["import", *3 * ["data"], "train", "replay"]
    report = json.loads((tmp_path / "outputs" / f"{name}-replay" / "report.json").read_text())
    assert report["verdict"]["kind"] in (DOCS / "own-arm.md").read_text()
    for part in ("readout", "predictor"):
        assert (tmp_path / "outputs" / name / f"{part}.safetensors").is_file()
    return store


def test_the_page_leads_from_raw_droid_to_a_verdict(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "droid_raw"
    recordings.write_droid(root, 46, lab="ILIAD", kind="success", seed=0)
    recordings.write_droid(root, 46, lab="ILIAD", kind="failure", seed=1)
    for seed in (2, 3):  # a lab without a success
        recordings.write_droid(root, 46, lab="RAIL", kind="failure", seed=seed)
    store = check("droid.md", "droid", tmp_path)
    found = {json.dumps(e.meta["droid"]["metadata"], sort_keys=True): e
             for _, e in store.episodes()}
    assert len(found) == 4
    assert sorted(e.meta["droid"]["metadata"]["success"] for e in found.values()) == [
        False, False, False, True
    ]
    for episode in found.values():
        assert (episode.meta["camera"], list(episode.cameras)) == ("ext1", ["wrist"])
        steps = np.diff(episode.timestamps_ns) / 1e9
        assert np.median(steps) == pytest.approx(0.2, abs=0.07)


def test_the_page_leads_from_a_umi_buffer_to_a_verdict(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = recordings.write_umi(tmp_path / "buffer", episodes=4, frames=180)
    group = zarr.open_group(root, mode="a")
    for end in ("start", "end"):  # as in UMI's own buffers
        group.create_array(f"data/robot0_demo_{end}_pose", data=np.zeros((720, 6)), chunks=(4, 6))
    shutil.make_archive(str(tmp_path / "dataset.zarr"), "zip", root)
    store = check("umi.md", "umi", tmp_path)
    assert len(store) == 4
    paths = [recordings.hand_path(180, index)[::12] for index in range(4)]
    for _, episode in store.episodes():
        misses = [np.abs(path[:, :3] - episode.states[:, :3]).max() for path in paths]
        assert min(misses) < 1e-6
        width = 0.08 * (1 - paths[0][:, 6])
        np.testing.assert_allclose(episode.states[:, 6], 1 - width / 0.085, atol=1e-5)
        np.testing.assert_array_equal(np.diff(episode.timestamps_ns), 200_000_000)
        assert "robot0_demo_end_pose" in episode.raw
