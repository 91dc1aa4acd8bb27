"""Races of two writers in one store, and kill -9 of imports and exports at random times.

Usage: python -m benchmarks.writers --races 50 --kills 200 --out /tmp/writers

Every race is of two of collect, import, repair and encode.  After it every episode must be sound
and whatever was asked for be there, and nothing may have been skipped or moved aside.  After every
kill what is there must be sound, and a second run must complete it and leave nothing over.  The
writers are the commands' own functions; means of patches stand for latents.  Most of the time goes
into fsync: --out in /dev/shm is many times faster, and a killed process leaves the same there.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_data.checks import inspect, repair
from robot_data.conventions import StateConvention
from robot_data.episodes import EpisodeStore
from robot_data.exporters.lerobot import export_lerobot
from robot_data.exporters.npz import export_npz
from robot_data.exporters.rosbag import export_rosbag
from robot_data.files import STAGING_PREFIX
from robot_data.importers.assemble import FitConfig
from robot_data.importers.lerobot import LeRobotImporter
from robot_data.importers.npz import NpzImporter
from robot_data.importers.rosbag import RosbagImporter
from robot_data.importers.run import import_episodes
from robot_data.latents import LatentCache
from robot_data.schema import Episode
from robot_data.summary import Summary
from sims.collect import Recording, episode_name, record
from sims.config import ArmConfig
from sims.experts import CollectConfig

ARM, SHORT = ArmConfig(image_size=32), CollectConfig(frames=6)
FIT = FitConfig(image_size=32)
FORK = multiprocessing.get_context("fork")  # a process more costs no import
IMPORTERS = {"npz": NpzImporter, "rosbag": RosbagImporter, "lerobot": LeRobotImporter}


@dataclass(frozen=True)
class Sources:
    """What the trials read: a store, and its exports in every format."""

    store: EpisodeStore
    exports: dict[str, Path]


def make_sources(root: Path, episodes: int = 4) -> Sources:
    """Episodes of random pictures and numbers."""
    store = EpisodeStore(root / "first")
    for number in range(episodes):
        store.write(f"ep-{number}", _episode(number))
    exports = {kind: root / kind for kind in IMPORTERS}
    for kind, out in exports.items():
        export(kind, store, out)
    return Sources(store, exports)


def _episode(number: int, frames: int = 12) -> Episode:
    rng = np.random.default_rng(number)
    states = np.c_[rng.uniform(-0.5, 0.5, (frames, 6)), rng.uniform(0, 1, frames)]
    return Episode(
        rng.integers(0, 256, (frames, 32, 32, 3), np.uint8), states,
        rng.normal(0, 0.01, (frames, 7)), rng.uniform(0, 1, frames),
        meta={"control_hz": 5.0}, timestamps_ns=np.arange(frames) * 200_000_000,
    )


def export(kind: str, store: EpisodeStore, out: Path) -> None:
    """Export all of ``store``."""
    if kind == "npz":
        list(export_npz(store, out))
    elif kind == "rosbag":
        list(export_rosbag(store, out))
    else:
        list(export_lerobot(store, out))


def import_all(kind: str, source: Path, store: EpisodeStore) -> None:
    """Import all of an export; a skipped episode is a ``ValueError``."""
    importer = IMPORTERS[kind](source, StateConvention())
    for outcome in import_episodes(importer, kind, store, FIT):
        if outcome.status == "skipped":
            raise ValueError(f"skipped {outcome.key}: {outcome.reason}")


# -- races -----------------------------------------------------------------------------------


def encode(images: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Means of patches [T, 16, 3], as an encoder's tokens."""
    patches = images.reshape(len(images), 4, 8, 4, 8, 3).mean(axis=(2, 4))
    return patches.reshape(len(images), 16, 3).astype(np.float16)


def collect_some(store: EpisodeStore, _: Sources) -> None:
    """As a worker of ``worldmodel collect``, whose parent clears leftovers first."""
    store.require_writable()
    store.remove_staged()
    for seed in range(3):
        record(Recording(ARM, SHORT, store.url, seed))


def import_some(store: EpisodeStore, sources: Sources) -> None:
    """Import the npz export."""
    import_all("npz", sources.exports["npz"], store)


def repair_often(store: EpisodeStore, _: Sources) -> None:
    """Again and again: there is nothing to repair."""
    for _turn in range(5):
        findings = [f for _, found in inspect(store, Summary()) for f in found]
        moved = repair(store, findings)
        if moved:
            raise ValueError(f"moved {moved}: {findings}")


def encode_all(store: EpisodeStore, _: Sources) -> None:
    """What is there."""
    list(LatentCache(store, "small").fill(encode))


WRITERS: dict[str, Callable[[EpisodeStore, Sources], None]] = {
    "collect": collect_some, "import": import_some, "repair": repair_often, "encode": encode_all,
}
PAIRS = list(itertools.combinations_with_replacement(WRITERS, 2))


def race(one: str, two: str, sources: Sources, folder: Path, delay_s: float) -> list[str]:
    """What went wrong."""
    pair = (one, two)
    store = EpisodeStore(folder / "store")
    store.write("before", _episode(99))
    began = [begin(WRITERS[pair[0]], store, sources)]
    time.sleep(delay_s)
    began.append(begin(WRITERS[pair[1]], store, sources))
    wrong = [
        f"{name} ended with {process.exitcode}" for name, process in zip(pair, began, strict=True)
        if _ended(process) != 0
    ]
    names, sound = set(store.names()), dict(_sound(store))
    wrong += [f"{name} is damaged" for name in sorted(names - sound.keys())]
    expected = 1 + 4 * ("import" in pair) + 3 * ("collect" in pair)
    if len(names) != expected:
        wrong.append(f"{len(names)} episodes, not {expected}")
    if (store.root / ".removed").exists():
        wrong.append("something was moved aside")
    if "collect" in pair and not {episode_name(seed) for seed in range(3)} <= names:
        wrong.append("a collected episode is not there")
    if "encode" in pair:
        cached = LatentCache(store, "small").episodes()  # raises where they are of other data
        wrong += [
            f"latents of {found.name} are of other pictures" for found in cached
            if not np.array_equal(found.latents, encode(sound[found.name].images))
        ]
    return wrong + _left(folder)


# -- kills -----------------------------------------------------------------------------------

JOBS = [(what, kind) for what in ("import", "export") for kind in IMPORTERS]


def kill(what: str, kind: str, sources: Sources, folder: Path, after_s: float) -> list[str]:
    """What went wrong."""
    out = folder / "out"
    if what == "import":
        job, arguments = import_all, (kind, sources.exports[kind], EpisodeStore(out))
    else:
        job, arguments = export, (kind, sources.store, out)
    first = begin(job, *arguments)
    time.sleep(after_s)
    assert first.pid is not None
    if first.is_alive():
        os.kill(first.pid, signal.SIGKILL)
    _ended(first)
    wrong = []
    if what == "import":
        store = EpisodeStore(out)
        wrong += [f"{n} is torn" for n in set(store.names()) - dict(_sound(store)).keys()]
    if _ended(begin(job, *arguments)) != 0:
        return [*wrong, f"the second {what} failed"]
    if what == "export":  # brought back, and compared
        store = EpisodeStore(folder / "back")
        import_all(kind, out, store)
    else:
        store = EpisodeStore(out)
    return wrong + _differences(sources.store, store) + _left(folder)


def _differences(first: EpisodeStore, second: EpisodeStore) -> list[str]:
    """By content, whatever episodes are called."""
    def counted(store: EpisodeStore) -> Counter[bytes]:
        return Counter(e.images.tobytes() + e.states.tobytes() for _, e in _sound(store))

    lost, more = counted(first) - counted(second), counted(second) - counted(first)
    return [f"{lost.total()} episodes lost, {more.total()} wrong"] if lost or more else []


# -- both ------------------------------------------------------------------------------------


def begin(job: Callable[..., None], *arguments: object) -> BaseProcess:
    """Run it in a process of its own."""
    process = FORK.Process(target=job, args=arguments)
    process.start()
    return process


def _ended(process: BaseProcess) -> int | None:
    process.join(1800)
    return process.exitcode


def _sound(store: EpisodeStore) -> Iterator[tuple[str, Episode]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield from store.episodes()


def _left(folder: Path) -> list[str]:
    return [f"{path.name} is left over" for path in folder.rglob(f"{STAGING_PREFIX}*")]


def run(races: int, kills: int, out: Path, seed: int = 0) -> list[str]:
    """Every kind of trial in turn; what went wrong, with a line on the terminal for each kind."""
    rng, wrong = random.Random(seed), []
    sources = make_sources(out / "sources")
    jobs = [(race, "and", pair, 0.1) for pair in _first(PAIRS, races)]
    jobs += [(kill, "of", job, 0.3) for job in _first(JOBS, kills)]
    counts: Counter[str] = Counter()
    for trial, joined, (one, two), most_s in jobs:
        name, folder = f"{trial.__name__}: {one} {joined} {two}", Path(tempfile.mkdtemp(dir=out))
        found = trial(one, two, sources, folder, rng.uniform(0, most_s))
        wrong += [f"{name}: {line} ({folder})" for line in found]
        counts[name] += 1
        if not found:
            shutil.rmtree(folder)
    for name, count in counts.items():
        print(f"{name}: {count} trials, {sum(w.startswith(f'{name}: ') for w in wrong)} wrong")
    return wrong


def _first(kinds: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    return list(itertools.islice(itertools.cycle(kinds), count))


def main() -> None:
    """Run the trials that the command line asks for; exit code 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--races", type=int, default=50)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    wrong = run(arguments.races, arguments.kills, arguments.out, arguments.seed)
    print("\n".join(wrong) or "nothing went wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
