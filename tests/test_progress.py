"""Progress where there is no terminal: plain lines at intervals, no bar."""

import contextlib
import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import make_episode

from robot_data.episodes import EpisodeStore
from worldmodel.progress import Progress

ROOT = Path(__file__).parents[1]
LINE = re.compile(
    r"(?P<what>[\w ]+): (?P<done>\d+)/(?P<total>\d+) \w+, +(?P<rate>[\d.]+\w+/\w+), "
    r"(?P<gone>[\d:]+) elapsed, (?P<left>[\d:?]+) left(?P<postfix>.*)"
)


@pytest.fixture
def pass_time(monkeypatch):
    """Moves the clock of the progress by so many seconds."""
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def read(log: io.StringIO) -> list[re.Match]:
    """The lines of a log, each of which must be whole and plain."""
    assert "\r" not in log.getvalue()
    found = [LINE.fullmatch(line) for line in log.getvalue().splitlines()]
    assert all(found), log.getvalue()
    return found


def test_a_log_gets_a_line_every_ten_seconds_and_one_at_the_end(pass_time):
    log = io.StringIO()
    with Progress(total=40, desc="collect", unit="episode", file=log) as bar:
        for done in range(1, 36):
            pass_time(1.0)
            bar.update()
            bar.set_postfix(success=f"{done}%")
    lines = read(log)
    assert [line["done"] for line in lines] == ["10", "20", "30", "35"]
    assert [line["left"] for line in lines] == ["00:30", "00:20", "00:10", "00:05"]
    assert {line["rate"] for line in lines} == {"1.00episode/s"}
    assert lines[-1]["postfix"] == ", success=35%"


def test_slow_items_are_told_one_by_one_with_what_was_there_before_left_out_of_the_rate(pass_time):
    log = io.StringIO()
    with Progress(total=10, initial=8, desc="table", unit="episode", file=log) as bar:
        for _ in range(2):
            pass_time(25.0)
            bar.update()
    lines = read(log)
    assert [(line["done"], line["rate"]) for line in lines] == [
        ("9", "25.00s/episode"), ("10", "25.00s/episode")
    ]


def test_work_that_ends_early_says_how_far_it_came(pass_time):
    log = io.StringIO()

    def fail():
        for number in Progress(range(9), desc="encode", unit="episode", file=log):
            pass_time(1.0)
            if number == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [line["done"] for line in read(log)] == ["4"]


def test_messages_stand_between_the_lines(pass_time, capsys):
    with Progress(total=2, desc="import", unit="episode") as bar:
        pass_time(11.0)
        bar.update()
        Progress.write("skipped a: torn", file=sys.stderr)
    log = capsys.readouterr().err
    assert "\r" not in log
    first, message, *rest = log.splitlines()
    assert LINE.fullmatch(first)
    assert message == "skipped a: torn"
    assert not rest  # nothing happened since


def test_a_disabled_one_says_nothing():
    log = io.StringIO()
    with Progress(total=2, desc="train", unit="step", file=log, disable=True) as bar:
        bar.update(2)
    assert log.getvalue() == ""


def test_a_command_with_its_messages_in_a_file_writes_plain_lines(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    for number in range(3):
        store.write(f"ep-{number}", make_episode(seed=number))
    with open(tmp_path / "log", "w") as log:
        subprocess.run(
            [sys.executable, "-m", "arm_worldmodel", "data", "info", f"data={store.url}"],
            stderr=log, check=True, stdout=subprocess.DEVNULL, timeout=120,
        )
    written = (tmp_path / "log").read_bytes()
    assert b"\r" not in written
    line = LINE.fullmatch(written.decode().splitlines()[-1])
    assert (line["what"], line["done"], line["total"]) == ("read", "3", "3")
    assert line["left"] == "00:00"


def test_a_terminal_has_a_bar():
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, Progress(total=2, file=terminal) as bar:
        bar.update(2)
    shown = b""
    with contextlib.suppress(OSError):  # a terminal whose other side is closed ends so
        while part := os.read(ours, 10_000):  # as it was written: in parts
            shown += part
    os.close(ours)
    shown = shown.decode()
    assert "100%|" in shown
    assert "\r" in shown


def test_every_command_shows_progress_this_way():
    packages = ("arm_worldmodel", "benchmarks", "planners", "robot_data", "robots", "sims",
                "worldmodel")
    direct = [
        path for name in packages for path in (ROOT / name).rglob("*.py")
        if "tqdm" in path.read_text() and path.name != "progress.py"
    ]
    assert not direct
