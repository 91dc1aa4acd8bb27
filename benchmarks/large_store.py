"""A large store: time to open it, and time and memory of ``data info`` and ``data check``.

Usage: python -m benchmarks.large_store --episodes 10000 --out /dev/shm/large

The episodes differ in their states and share the files of their pictures.  The same is measured of
a tenth of them: memory that does not grow is the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from robot_data.episodes import EpisodeStore
from robot_data.schema import Episode
from robot_data.windows import WindowSampler


def make_store(root: Path, episodes: int, frames: int = 20) -> EpisodeStore:
    """One episode is written; the others are its copies, with states and checksums of their own."""
    rng = np.random.default_rng(0)
    side = np.linspace(0, 255, 64).astype(np.uint8)
    images = np.stack([
        np.stack([*np.meshgrid(side, np.roll(side, t)), np.full((64, 64), t)], axis=-1)
        for t in range(frames)
    ]).astype(np.uint8)
    path = np.r_[0.5, 0.0, 0.3, 3.0, 0.1, -0.5, 0.5] + np.cumsum(
        rng.normal(0, 0.01, (frames, 7)), axis=0
    )
    first = Episode(
        images, path, rng.normal(0, 0.01, (frames, 7)), path[:, 6].clip(0, 1),
        meta={"control_hz": 5.0},
    )
    store = EpisodeStore(root, codec="jpeg")
    model = Path(store.write("ep-000000", first))
    (chunk,) = [p for p in (model / "states").rglob("*") if p.is_file() and p.name[0] != "z"]
    told = json.loads((model / "zarr.json").read_text())
    files = [p.relative_to(model) for p in model.rglob("*") if p.is_file()]
    own = {chunk.relative_to(model), Path("zarr.json")}
    for number in range(1, episodes):
        folder = root / f"ep-{number:06d}"
        for inner in {path.parent for path in files}:
            (folder / inner).mkdir(parents=True, exist_ok=True)
        for inner in files:
            if inner not in own:
                os.link(model / inner, folder / inner)
        states = np.ascontiguousarray(first.states + np.r_[1e-6 * number, np.zeros(6)])
        (folder / chunk.relative_to(model)).write_bytes(states.tobytes())
        told["attributes"]["crc32"]["states"] = zlib.crc32(states.tobytes())
        (folder / "zarr.json").write_text(json.dumps(told))
    return store


def command(*words: str) -> tuple[float, float, float]:
    """Wall-clock and CPU seconds and the most memory [MB] of a command in a new process."""
    began = time.monotonic()
    child = os.posix_spawn(
        sys.executable, [sys.executable, "-m", "arm_worldmodel", *words], os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                      (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)],
    )
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"{' '.join(words)} ended with {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def timed(what: str, work: Callable[[], object]) -> None:
    """Print how long something takes in this process."""
    began, cpu = time.monotonic(), time.process_time()
    work()
    print(f"  {what}: {time.monotonic() - began:.2f} s, {time.process_time() - cpu:.2f} s of CPU")


def main() -> None:
    """A tenth of the episodes, and all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for count in (arguments.episodes // 10, arguments.episodes):
        store = make_store(arguments.out / str(count), count)
        print(f"{count} episodes")
        timed("names", store.names)
        timed("windows to train on", lambda store=store: WindowSampler(store, 8, verify=False))
        for name in ("info", "check"):
            wall, cpu, memory = command("data", name, f"data={store.url}")
            print(f"  data {name}: {wall:.1f} s, {cpu:.1f} s of CPU, {memory:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
