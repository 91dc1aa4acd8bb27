"""Files written in one step: whole or not at all, and readable by whom the umask allows."""

import os
import stat

import numpy as np
import pytest
from safetensors.numpy import save_file

from robot_data import files as data_files
from worldmodel import files as weight_files

BOTH = pytest.mark.parametrize("replacing", [data_files.replacing, weight_files.replacing])


@BOTH
def test_a_file_is_replaced_when_the_new_one_is_whole(tmp_path, replacing):
    path = tmp_path / "made" / "report.json"
    for text in ("old", "new"):
        with replacing(path) as staged:
            assert staged.parent == path.parent
            assert staged.suffix == path.suffix
            staged.write_text(text)
            assert not path.exists() or path.read_text() == "old"
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@BOTH
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path, replacing):
    path = tmp_path / "report.json"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as staged:
            staged.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@BOTH
def test_a_group_that_may_read_may_read_weights(tmp_path, replacing):
    path = tmp_path / "calibration.safetensors"
    before = os.umask(0o027)
    try:
        with replacing(path) as staged:
            save_file({"matrix": np.eye(3)}, staged)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
