"""Commands that are ended by a signal: nobody is left behind, what was done stays, and the same
command goes on where it stopped."""

import json
import multiprocessing
import os
import signal
import subprocess
import time
from pathlib import Path

import processes
import psutil
import pytest
import torch
from conftest import make_episode
from safetensors.torch import load_file
from this_machine import measured

from arm_worldmodel.cli import main
from robot_data.episodes import EpisodeStore
from sims.parallel import run_parallel
from worldmodel.checkpoint import save_part
from worldmodel.config import EncoderConfig
from worldmodel.encoder import Encoder

pytestmark = pytest.mark.realtime
# On an idle machine: to end; to end by Ctrl-C, with a report; to come to the middle of the work.
GONE_S, CTRL_C_S, START_S = 5.0, 10.0, 60.0


class Command:
    """A command in a process group of its own, with its messages in a file."""

    def __init__(self, folder: Path, *words: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / f"log-{time.monotonic_ns()}"
        with self.log.open("wb") as log:
            self.process = processes.start(
                [*processes.WORLDMODEL, *words], stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd=folder,
            )
        self.itself = psutil.Process(self.process.pid)

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until(self, done) -> None:
        def ready():
            assert self.process.poll() is None, self.said()
            return done()

        measured().until(f"the middle of {self.process.args}", ready, START_S)

    def send(self, number: int, group: bool = False, within_s: float = GONE_S) -> int:
        """Its exit code, once it and all that descend from it are gone."""
        family = self.itself.children(recursive=True)
        (os.killpg if group else os.kill)(self.process.pid, number)
        until = time.monotonic() + measured().seconds(within_s)
        code = self.process.wait(until - time.monotonic())
        while alive := [process for process in family if lives(process)]:
            assert time.monotonic() < until, alive
            time.sleep(0.02)
        return code

    def finish(self) -> str:
        assert self.process.wait(measured().seconds(START_S)) == 0, self.said()
        return self.said()


def lives(process: psutil.Process) -> bool:
    """Whether it has not ended; nobody may have asked yet how it did."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def start(tmp_path):
    """Starts commands; what is left of them is ended after the test."""
    begun: list[Command] = []

    def begin(*words: str) -> Command:
        begun.append(Command(tmp_path / "run", *words))
        return begun[-1]

    yield begin
    for command in begun:
        processes.end(command.process)


def again(*words: str, capsys=None) -> str:
    """Run the same command in this process, which knows nothing of the first but from the disk;
    what it said."""
    if capsys is not None:
        capsys.readouterr()
    assert main([*words]) == 0
    return "" if capsys is None else "".join(capsys.readouterr())


COLLECT = ("collect", "episodes=12", "workers=2", "arm.image_size=32", "collect.frames=6")


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
    again(*COLLECT, f"out={store.url}")
    assert len(list(store.episodes())) == 12
    assert all((store.read(name).images == kept[name].images).all() for name in names)
    assert not list(store.root.glob(".tmp-*"))


EVALUATE = ("evaluate", "task=reach", "policy=random", "episodes=8", "workers=2", "max_steps=6",
            "arm.image_size=32")


def test_evaluate_reports_what_was_done_and_goes_on(start, tmp_path, capsys):
    out = tmp_path / "out"

    def told():
        lines = [p.read_text().splitlines()[1:] for p in out.glob("unfinished-*.jsonl")]
        return [json.loads(line) for log in lines for line in log]

    first = start(*EVALUATE, f"out={out}")
    first.wait_until(lambda: len(told()) >= 2)
    assert first.send(signal.SIGINT, group=True, within_s=CTRL_C_S) == 130  # Ctrl-C on a terminal
    assert first.said().splitlines()[-1] == "worldmodel evaluate: ended by SIGINT"
    assert "Traceback" not in first.said()
    kept = told()
    assert 2 <= len(kept) < 8
    half = json.loads((out / "report.json").read_text())
    assert half["unfinished"]
    assert half["episodes"] == len(kept)
    assert half["per_episode"] == sorted(kept, key=lambda e: e["seed"])
    note = f"Unfinished: ended after {len(kept)} of 8 episodes; the same command runs the others."
    assert note in first.said()
    assert f'<p class="note">{note}</p>' in (out / "index.html").read_text()
    said = again(*EVALUATE, f"out={out}", capsys=capsys)
    assert f"{len(kept)} episodes are of a run that was ended" in said
    report = json.loads((out / "report.json").read_text())
    found = {e["seed"]: e for e in report["per_episode"]}
    assert len(report["per_episode"]) == len(found) == 8
    assert all(found[e["seed"]] == e for e in kept)
    assert not report["unfinished"]
    assert "Unfinished" not in (out / "index.html").read_text()
    assert not told()  # a run that is done begins anew the next time


def test_a_table_that_was_ended_shows_what_was_done_and_goes_on(start, tmp_path):
    out, log = tmp_path / "out", "episodes/mujoco-box-dense-stand_still-reach.jsonl"
    words = ("evaluate", "suite=table", "only=*/box/dense/stand_still/reach", "episodes=16",
             "workers=2", "arm.image_size=32", f"out={out}")

    def done():
        return len((out / log).read_text().splitlines()) - 1 if (out / log).exists() else 0

    first = start(*words)
    first.wait_until(lambda: done() >= 2)
    assert first.send(signal.SIGTERM) == 143
    assert first.said().splitlines()[-1] == "worldmodel evaluate: ended by SIGTERM"
    assert "Traceback" not in first.said()
    kept = done()
    report = json.loads((out / "report.json").read_text())
    assert report["unfinished"]
    assert [row["episodes"] for row in report["rows"]] == [kept]
    note = f"Unfinished: ended after {kept} of 8 episodes"
    for page in ("table.md", "index.html"):
        assert note in (out / page).read_text()
    again(*words)
    report = json.loads((out / "report.json").read_text())
    assert not report["unfinished"]
    assert [row["episodes"] for row in report["rows"]] == [8]
    assert "Unfinished" not in (out / "table.md").read_text()


def test_training_keeps_the_step_it_was_ended_in_and_goes_on_as_if_it_had_not_been(start, tmp_path):
    store = EpisodeStore(tmp_path / "data")
    for number in range(3):
        store.write(f"ep-{number}", make_episode(8, number, side=32))
    encoder = Encoder(EncoderConfig(32, 48, 1, 4))
    save_part(tmp_path / "encoder", encoder, encoder)
    out, steps = tmp_path / "out", 300
    words = (
        "train", f"data={store.url}", f"checkpoint={tmp_path / 'encoder'}", "parts=[predictor]",
        "device=cpu", "predictor.predictor_dim=48", "predictor.depth=1",
        "predictor.num_heads=4", f"train.steps={steps}", "train.batch_size=4", "train.bf16=false",
        "train.warmup_steps=10", "train.checkpoint_every=1000000",
        "losses.recovery_weight=0",
    )

    def step():
        state = torch.load(out / "train_state.pt", map_location="cpu", weights_only=True)
        return state["step"]

    first = start(*words, f"out={out}")
    first.wait_until(lambda: any(out.glob("tensorboard/train/*")))
    time.sleep(0.2)
    assert first.send(signal.SIGTERM) == 143
    assert first.said().splitlines()[-1] == "worldmodel train: ended by SIGTERM"
    assert "Traceback" not in first.said()
    assert 1 <= step() < steps  # between checkpoints, and still there
    assert not (out / "predictor.safetensors").exists()
    for folder in (out, tmp_path / "unbroken"):
        again(*words, f"out={folder}")
    assert step() == steps
    trained, unbroken = (
        load_file(folder / "predictor.safetensors") for folder in (out, tmp_path / "unbroken")
    )
    assert trained.keys() == unbroken.keys()
    assert all(torch.equal(trained[name], unbroken[name]) for name in trained)


def test_the_bridge_needs_no_opengl_leaves_when_it_is_asked_to_and_serves_again(
    start, tmp_path, monkeypatch
):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from cell import domain

    from robots.ros.link import RosLink
    from robots.ros.topics import Topics

    with domain() as number:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
        for variable, value in processes.without_opengl(tmp_path / "broken").items():
            monkeypatch.setenv(variable, value)
        link = RosLink(Topics(), "tester")
        try:
            for _ in range(2):
                serve = start("robot", "serve")
                serve.wait_until(lambda: "not answer" not in link.call("stop")[1])
                assert serve.send(signal.SIGTERM) == 143
                assert serve.said().splitlines()[-1] == "worldmodel robot serve: ended by SIGTERM"
                assert "Traceback" not in serve.said()
        finally:
            link.close()


def test_work_is_not_waited_for_when_its_results_are_not():
    results = run_parallel(time.sleep, [0.0, 600.0, 600.0], workers=2)
    next(results)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    results.close()
    assert not any(worker.is_alive() for worker in workers)
