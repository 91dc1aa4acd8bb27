"""Two writers in one store, and kill -9 at random times (``benchmarks.writers`` has many more)."""

import subprocess
import sys

import pytest

from benchmarks.writers import JOBS, PAIRS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("races", "kills"), [(len(PAIRS), 0), (0, len(JOBS))], ids=["two writers", "kill -9"]
)
def test_writers_leave_every_episode_sound(tmp_path, races, kills):
    done = subprocess.run(  # it forks, which must not happen beside the threads of other tests
        [sys.executable, "-m", "benchmarks.writers", "--races", str(races), "--kills", str(kills),
         "--out", str(tmp_path)], capture_output=True, text=True, timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" 1 trials, 0 wrong") == races + kills
