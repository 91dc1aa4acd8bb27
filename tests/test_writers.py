"""Two writers in one store, and kill -9 at random times (``benchmarks.writers`` has many more)."""

import pytest

from benchmarks.writers import JOBS, PAIRS, run

pytestmark = pytest.mark.realtime  # they fork processes, which must not wait for others long


def test_two_writers_do_each_other_no_harm(tmp_path):
    assert run(races=len(PAIRS), kills=0, out=tmp_path) == []


def test_killed_imports_and_exports_leave_nothing_torn_and_go_on(tmp_path):
    assert run(races=0, kills=len(JOBS), out=tmp_path) == []
