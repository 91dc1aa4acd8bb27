"""Commands that are ended by a signal: nobody is left behind, what was done stays, and the same
command goes on where it stopped."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from robot_data.episodes import EpisodeStore

GONE_S = 5.0
START_S = 120.0  # on a machine that does other things, too


class Command:
    """A command in a session of its own, with its messages in a file."""

    def __init__(self, folder: Path, *words: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"log-{time.monotonic_ns()}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "arm_worldmodel", *words], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True, cwd=folder,
            )
        self.family = [psutil.Process(self.process.pid)]

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until(self, done) -> None:
        until = time.monotonic() + START_S
        while not done():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < until, self.said()
            time.sleep(0.01)

    def send(self, number: int, group: bool = False) -> int:
        """Its exit code, once it and all that descend from it are gone, which takes a moment."""
        self.family += self.family[0].children(recursive=True)
        (os.killpg if group else os.kill)(self.process.pid, number)
        _, alive = psutil.wait_procs(self.family[1:], timeout=GONE_S)
        code = self.process.wait(GONE_S)
        assert not alive, alive
        return code

    def finish(self) -> str:
        assert self.process.wait(START_S) == 0, self.said()
        return self.said()

    def end(self) -> None:
        for process in self.family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


@pytest.fixture
def start(tmp_path):
    """Starts commands; what is left of them is ended after the test."""
    begun: list[Command] = []

    def begin(*words: str) -> Command:
        begun.append(Command(tmp_path / "run", *words))
        return begun[-1]

    yield begin
    for command in begun:
        command.end()


COLLECT = ("collect", "episodes=12", "workers=2", "arm.image_size=32", "collect.frames=6")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "group", "code"),
    [
        (signal.SIGTERM, False, 143),  # kill
        (signal.SIGINT, True, 130),  # Ctrl-C on a terminal
        (signal.SIGKILL, False, -signal.SIGKILL),
    ],
)
def test_collect_takes_its_workers_along_and_goes_on(start, tmp_path, number, group, code):
    store = EpisodeStore(tmp_path / "store")
    first = start(*COLLECT, f"out={store.url}")
    first.wait_until(lambda: len(store) >= 2)
    assert first.send(number, group) == code
    if number != signal.SIGKILL:
        assert first.said().splitlines()[-1] == (
            f"worldmodel collect: ended by {signal.Signals(number).name}"
        )
    assert "Traceback" not in first.said()
    names = store.names()
    assert 2 <= len(names) < 12
    kept = {name: store.read(name) for name in names}
    start(*COLLECT, f"out={store.url}").finish()
    assert len(list(store.episodes())) == 12
    assert all((store.read(name).images == kept[name].images).all() for name in names)
    assert not list(store.root.glob(".tmp-*"))
