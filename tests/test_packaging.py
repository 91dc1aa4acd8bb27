"""The wheel works from another directory, and the generic folder names are ours."""

import json
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_string
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = [
    "arm_worldmodel", "worldmodel", "planners", "sims", "robots", "robot_data", "configs"
]

LONGEST = 350  # lines of a module


def run(*command, cwd, **environment):
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=clean | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a clone, so that it holds what is tracked and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    run("git", "clone", "-q", ROOT, folder / "source", cwd=folder)
    run(
        sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "--no-deps",
        "--no-build-isolation", "-w", folder, ".", cwd=folder / "source",
    )
    return next(folder.glob("*.whl"))


def test_every_module_can_be_read_in_one_sitting():
    long = {
        str(path.relative_to(ROOT)): lines
        for name in [*NAMES, "benchmarks"] for path in (ROOT / name).rglob("*.py")
        if (lines := len(path.read_text().splitlines())) > LONGEST
    }
    assert not long, f"modules over {LONGEST} lines: {long}"


def test_installed_top_level_names_belong_to_this_distribution(tmp_path):
    owners = packages_distributions()
    for name in NAMES:
        assert set(owners.get(name, ["arm-worldmodel"])) == {"arm-worldmodel"}, name
    listing = subprocess.run(
        [sys.executable, "-c", f"import {','.join(NAMES)}; print(worldmodel.__file__)"],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )
    assert str(ROOT) in listing.stdout


@pytest.mark.slow
def test_the_wheel_holds_every_module_the_weights_and_the_recipes(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", *NAMES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert {name for name in held if ".dist-info/" not in name} == set(tracked)


@pytest.mark.slow
def test_the_install_line_of_the_docker_image_gives_a_program_that_runs(tmp_path):
    """In an environment of its own that sees what is installed here, as layers below would be."""
    run("git", "clone", "-q", ROOT, tmp_path / "source", cwd=tmp_path)
    run(sys.executable, "-m", "venv", tmp_path / "env", cwd=tmp_path)
    site = next((tmp_path / "env/lib").glob("python*/site-packages"))
    (site / "layers.pth").write_text(sysconfig.get_path("purelib") + "\n")
    path = f"{tmp_path / 'env/bin'}{os.pathsep}{os.environ['PATH']}"
    image = (tmp_path / "source/tools/lab/Dockerfile").read_text()
    (line,) = re.findall(r"^RUN (pip install .*)$", image, re.M)
    run("sh", "-c", line, cwd=tmp_path / "source", PATH=path)
    (entry,) = re.findall(r'^ENTRYPOINT \["(\w+)"\]$', image, re.M)
    shown = run(tmp_path / "env/bin" / entry, "robot", "serve", "--help", cwd=tmp_path, PATH=path)
    assert "tick_hz" in shown
    found = run(
        tmp_path / "env/bin/python", "-c", "import arm_worldmodel as a; print(a.__file__)",
        cwd=tmp_path, PATH=path,
    )
    assert str(site) in found


@pytest.mark.slow
def test_the_long_description_has_no_link_that_the_index_cannot_follow(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith("METADATA"))
        metadata = message_from_string(archive.read(name).decode())
    text = str(metadata.get_payload())
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert text.lstrip().startswith("# arm-worldmodel")
    assert re.findall(r"\]\((?!https?:|#)[^)]*\)", text) == []


@pytest.mark.slow
def test_the_wheel_plans_in_an_environment_of_its_own(wheel, tmp_path):
    """Only the wheel is installed there; its dependencies are borrowed from this environment,
    without this environment's editable install."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python, "install",
        "-q", "--no-deps", wheel, cwd=tmp_path)
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))",
                    cwd=tmp_path).strip())
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = run(python, "-c", "import arm_worldmodel, worldmodel; print(worldmodel.__file__)",
                cwd=tmp_path)
    assert str(site) in where
    said = run(
        tmp_path / "venv/bin/worldmodel", "plan", "task=reach", "seed=7100000", "out=there",
        cwd=tmp_path,
    )
    report = json.loads((tmp_path / "there/report.json").read_text())
    assert report["success"], said
    assert (tmp_path / "there/episode.mp4").stat().st_size > 0
