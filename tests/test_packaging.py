"""The wheel works from another directory, and the generic folder names are ours."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMES = [
    "arm_worldmodel", "worldmodel", "planners", "sims", "robots", "robot_data", "configs"
]


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
def test_wheel_runs_from_another_directory(tmp_path):
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True)
    subprocess.run(
        [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), "."],
        check=True, capture_output=True, cwd=source,
    )
    wheel = next(tmp_path.glob("*.whl"))
    subprocess.run(
        [*pip, "install", "-q", "--no-deps", "--target", str(tmp_path / "site"), str(wheel)],
        check=True, capture_output=True,
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); "
        "import arm_worldmodel.cli as c; assert 'site' in c.__file__, c.__file__; "
        f"sys.exit(c.main(['info', 'out={tmp_path / 'out'}']))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "encoder" in done.stdout
