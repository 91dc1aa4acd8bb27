"""Import by one process and by two, in turns, of raw DROID episodes that differ in their numbers.

Usage: python -m benchmarks.import_speed --episodes 100 --rounds 3 --out /dev/shm/imports

Wall-clock time and the CPU time of all processes of ``worldmodel import``, with and without its
start; the time to start is that of an import of what is there already.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import av
import h5py
import numpy as np
import psutil

HEIGHT, WIDTH, FRAMES = 360, 640, 100
START_MS = 1_690_000_000_000


def make_source(root: Path, episodes: int) -> Path:
    """Episodes of 100 frames at 15 Hz of two cameras; they share their videos, not their paths."""
    videos = root / "videos"
    videos.mkdir(parents=True)
    for serial in (1, 2):
        _write_video(videos / f"{serial}.mp4", serial)
    times = START_MS + (np.arange(FRAMES) * 1000 / 15).astype(np.int64)
    for number in range(episodes):
        folder = root / "droid" / "success" / f"{number:04d}"
        (folder / "recordings/MP4").mkdir(parents=True)
        for path in videos.glob("*.mp4"):
            os.link(path, folder / "recordings/MP4" / path.name)
        rng = np.random.default_rng(number)
        with h5py.File(folder / "trajectory.h5", "w") as file:
            moved = 0.5 + np.cumsum(rng.normal(0, 0.003, (FRAMES, 6)), axis=0)
            file["observation/robot_state/cartesian_position"] = moved
            file["observation/robot_state/gripper_position"] = rng.uniform(0, 1, FRAMES)
            file["observation/timestamp/control/step_start"] = times
    return root / "droid"


def _write_video(path: Path, seed: int) -> None:
    """A noisy gradient that moves."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 60)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for t in range(FRAMES):
            shade = np.stack([x + 4 * t, y, x + y], axis=-1) % 256
            image = (shade + rng.integers(0, 8, shade.shape)).clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def timed(source: Path, store: Path, workers: int) -> tuple[float, float]:
    """Wall-clock seconds of an import, and CPU seconds of all of its processes."""
    began, used = time.monotonic(), dict[int, float]()
    process = psutil.Popen(
        [sys.executable, "-m", "arm_worldmodel", "import", "format=droid", f"src={source}",
         f"out={store}", "fit.camera=1", f"workers={workers}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = one.cpu_times()
                used[one.pid] = times.user + times.system
        time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"the import ended with {process.returncode}")
    return time.monotonic() - began, sum(used.values())


def main() -> None:
    """One and two processes in turns; the medians, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    source = make_source(arguments.out / "source", arguments.episodes)
    walls: dict[int, list[float]] = {1: [], 2: []}
    for number in range(arguments.rounds):
        for workers in walls:
            store = arguments.out / f"store-{number}-{workers}"
            wall, cpu = timed(source, store, workers)
            start, _ = timed(source, store, workers)
            walls[workers].append(wall)
            shutil.rmtree(store)
            print(f"{workers} processes: {wall:.1f} s ({start:.1f} s of them to start), "
                  f"{cpu:.1f} s of CPU", flush=True)
    one, two = (statistics.median(found) for found in walls.values())
    print(f"medians {one:.1f} and {two:.1f} s: two processes are {one / two:.2f} times as fast")


if __name__ == "__main__":
    main()
