"""What every command leaves in ``out=``: report.json; intervals of what it measured."""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from numpy.typing import NDArray

from robot_data.files import replacing


def write_report(out: str | Path, report: dict[str, Any], name: str = "report.json") -> str:
    """Write ``name`` into ``out``, a folder or an fsspec URL, in one step; adds the command, the
    version of the code and the machine.  Returns where it is.  A store takes folders for
    episodes, not this file."""
    path = f"{out}/{name}"
    report = {
        **report,
        "command": ["worldmodel", *sys.argv[1:]],
        "code": code_version(),
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "torch": _version("torch"),
        },
    }
    write_text(path, json.dumps(report, indent=2, allow_nan=False, default=_plain))
    return path


def _version(package: str) -> str | None:
    """None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


ROOT = Path(__file__).parents[1]
PACKAGES = ("arm_worldmodel", "configs", "planners", "robot_data", "robots", "sims", "worldmodel")


@cache
def code_version() -> str:
    """In a git checkout the last commit that touched our packages' Python files, followed by a hash
    of what is changed in them and not committed; elsewhere the installed version."""
    installed = f"arm-worldmodel {version('arm-worldmodel')}"
    if not (ROOT / ".git").exists():
        return installed
    files = [f"{package}/*.py" for package in PACKAGES]
    commit = _git("log", "-1", "--format=%h", "--abbrev=12", "--", *files)
    changes = _git("diff", "--no-ext-diff", "HEAD", "--", *files)
    if not commit or changes is None:
        return installed
    return commit + (f"+{hashlib.sha256(changes.encode()).hexdigest()[:8]}" if changes else "")


def _git(*words: str) -> str | None:
    """What git prints in our checkout; None where it cannot be asked."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def write_text(path: str, text: str) -> None:
    """Write a file, also behind an fsspec URL, in one step; its folder is made."""
    if "://" in path:
        files, where = fsspec.url_to_fs(path)
        files.pipe(where, text.encode())
        return
    with replacing(path) as staged:
        staged.write_text(text)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value)} in a report")


def wilson_95(successes: int, trials: int) -> tuple[float, float]:
    """Wilson score interval of a success rate, 95 % (Wilson 1927)."""
    if trials == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    rate = successes / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(
        rate * (1 - rate) / trials + z * z / (4 * trials**2)
    )
    # The ends hold the rate itself, which at 0 and 1 rounding may miss.
    return min(rate, max(0.0, centre - half)), max(rate, min(1.0, centre + half))


def bootstrap_95(
    values: NDArray[np.float64], below: NDArray[np.float64] | None = None, resamples: int = 4000
) -> tuple[float, float]:
    """Percentile bootstrap interval, 95 %, of the mean of ``values`` [K], or of their sum over
    that of ``below`` [K], above 0; the K are the units."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(values), size=(resamples, len(values)))
    found = values[drawn].mean(axis=1)
    if below is not None:
        found = found / below[drawn].mean(axis=1)
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
