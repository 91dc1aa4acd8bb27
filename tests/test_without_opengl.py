"""What needs no pictures of a simulator runs where OpenGL cannot be loaded, and without torch."""

import json
import os
import subprocess
import sys

import processes
import pytest
from conftest import DATA, make_episode

from robot_data.episodes import EpisodeStore

MAIN = """
import sys
{before}
from arm_worldmodel.cli import main
sys.exit(main(sys.argv[1:]))
"""
NO_TORCH = """
import importlib.metadata as metadata
found = metadata.distribution

class Nowhere:
    def find_spec(name, *_):
        if name.split(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name}", name=name)

def distribution(name):
    if name == "torch":
        raise metadata.PackageNotFoundError(name)
    return found(name)

sys.meta_path.insert(0, Nowhere)
metadata.distribution = distribution
"""


@pytest.fixture
def worldmodel(tmp_path):
    """Runs a command in a new process, for which no OpenGL library can be loaded."""
    broken = processes.without_opengl(tmp_path / "broken")

    def run(*words, backend="egl", before=""):
        return subprocess.run(
            [sys.executable, "-c", MAIN.format(before=before), *map(str, words)],
            capture_output=True, text=True, timeout=300, cwd=tmp_path,
            env={**os.environ, **broken, "MUJOCO_GL": backend},
        )

    return run


@pytest.mark.parametrize("backend", ["egl", "osmesa", "foo"])
def test_help_needs_no_opengl(worldmodel, backend):
    done = worldmodel("--help", backend=backend)
    assert done.returncode == 0, done.stderr
    assert "collect" in done.stdout


def test_help_of_the_bridge_needs_no_opengl(worldmodel):  # test_ending.py starts it without, too
    done = worldmodel("robot", "serve", "--help", backend="osmesa")
    assert done.returncode == 0, done.stderr
    assert "tick_hz" in done.stdout


@pytest.mark.slow
def test_data_go_in_and_out_without_opengl_and_a_plan_says_what_to_install(worldmodel, tmp_path):
    source = DATA / "franka_example_traj.npz"
    for backend, *words in (
        ("osmesa", "import", "format=npz", f"src={source}", "out=store", "fit.image_size=64"),
        ("egl", "data", "check", "data=store"),
        ("egl", "export", "format=npz", "data=store", "out=npz"),
    ):
        done = worldmodel(*words, backend=backend)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "npz").glob("*.npz"))) == len(EpisodeStore(tmp_path / "store")) == 1
    done = worldmodel("plan", "task=reach", "out=plan")
    assert done.returncode == 2
    assert "libEGL.so.1 cannot be loaded" in done.stderr.splitlines()[-1]
    assert "libegl1" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("backend", ["egl", "osmesa"])
def test_a_store_is_described_without_opengl_and_without_torch(worldmodel, tmp_path, backend):
    EpisodeStore(tmp_path / "store").write("one", make_episode())
    done = worldmodel("data", "info", "data=store", "out=told", backend=backend, before=NO_TORCH)
    assert done.returncode == 0, done.stderr
    assert "1 episodes, 20 frames" in done.stdout
    report = json.loads((tmp_path / "told" / "report.json").read_text())
    assert report["machine"]["torch"] is None
