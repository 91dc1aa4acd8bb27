"""What is wrong with a store, and what can be mended without losing anything."""

from __future__ import annotations

import os
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from robot_data.episodes import EpisodeStore, is_episode
from robot_data.files import writing
from robot_data.layout import DamagedEpisode, Outline
from robot_data.polarity import Consistency
from robot_data.pose import angle_between
from robot_data.schema import DataError, Episode
from robot_data.summary import Summary

REACH_M = 2.0  # no table-top arm's hand is further from its base
NEAR_M = 0.02  # nor does one stay as near
TURN_RAD = 1.0  # nor turns further between two frames
JUMP_M = 0.3  # nor moves further between two frames
GAP = 2.5  # times the usual time between frames


@dataclass(frozen=True)
class Finding:
    """``error``: the episode cannot or must not be used; ``warning``: look at it."""

    name: str
    level: Literal["error", "warning"]
    text: str


def inspect(store: EpisodeStore, summary: Summary) -> Iterator[tuple[str, list[Finding]]]:
    """Reads every episode once: its findings, and ``summary`` filled with the sound ones; last,
    what the episodes of a source show together (``robot_data.polarity``)."""
    seen: dict[int, str] = {}
    together = Consistency()
    for name in store.require():
        try:
            episode = store.read(name)
        except DamagedEpisode as error:
            yield name, [Finding(name, "error", f"damaged: {error}")]
            continue
        findings = list(_findings(name, episode))
        digest = zlib.crc32(episode.states.tobytes(), zlib.crc32(episode.images.tobytes()))
        if digest in seen:
            findings.append(Finding(name, "error", f"duplicate of {seen[digest]}"))
        seen.setdefault(digest, name)
        summary.add(Outline.of(episode))
        together.add(episode)
        yield name, findings
    for name, texts in together.findings():
        yield name, [Finding(name, "warning", text) for text in texts]


def _findings(name: str, episode: Episode) -> Iterator[Finding]:
    def warning(text: str) -> Finding:
        return Finding(name, "warning", text)

    states = episode.states
    far = np.linalg.norm(states[:, :3], axis=1).max()
    if far > REACH_M:
        yield warning(f"the hand is {far:.3g} m from the base; are positions in metres?")
    if far < NEAR_M:
        yield warning(f"the hand stays within {far:.3g} m of the base; are positions in metres?")
    moves = np.linalg.norm(np.diff(states[:, :3], axis=0), axis=1)
    if moves.max() > JUMP_M:
        yield warning(f"the hand jumps {moves.max():.2f} m at frame {int(moves.argmax()) + 1}")
    if moves.max() < 1e-4:
        yield warning("the hand never moves")
    if np.abs(states[:, 3:6]).max() > 2 * np.pi + 0.01:
        yield warning("Euler angles beyond a full turn; are they in radians?")
    turns = angle_between(states[:-1], states[1:])
    if turns.max() > TURN_RAD:
        yield warning(
            f"the hand turns by {turns.max():.2f} rad at frame {int(turns.argmax()) + 1}; are "
            "unit and form of the rotation right?"
        )
    if episode.timestamps_ns is not None:
        steps = np.diff(episode.timestamps_ns)
        gaps = np.flatnonzero(steps > GAP * np.median(steps))
        if len(gaps):
            yield warning(f"{len(gaps)} gaps in time, the longest {steps.max() / 1e9:.2f} s")
    same = (episode.images[1:] == episode.images[:-1]).all(axis=(1, 2, 3))
    stale = same & (moves > 0.01)
    if stale.any():
        yield warning(f"{int(stale.sum())} frames repeat the picture while the hand moves")
    dark = episode.images.reshape(len(episode), -1).max(axis=1) < 8
    if dark.any():
        yield warning(f"{int(dark.sum())} black frames")


def repair(store: EpisodeStore, findings: list[Finding]) -> dict[str, str]:
    """Move every episode with an error to ``.removed`` and clear what crashed writers left.

    Returns where each went.  Nothing is deleted that was committed, and nothing else is moved.
    """
    if store.remote:
        raise DataError(f"{store.url} is remote; repair a local copy")
    store.remove_staged()
    moved: dict[str, str] = {}
    aside = store.root / ".removed"
    with writing(store.url):
        for name in dict.fromkeys(f.name for f in findings if f.level == "error"):
            if not is_episode(store.root / name):
                continue  # moved by another repair since
            aside.mkdir(exist_ok=True)
            target = aside / name
            while target.exists():  # of an earlier repair
                target = aside / f"{name}-{uuid.uuid4().hex[:8]}"
            os.rename(store.root / name, target)
            moved[name] = str(target)
    return moved


def is_validation(name: str, share: float, seed: int) -> bool:
    """Whether an episode is held out: by its name, so that new episodes move no old one."""
    return zlib.crc32(f"{seed}/{name}".encode()) / 2**32 < share


def split(
    store: EpisodeStore, out: Path, share: float, seed: int
) -> dict[Literal["train", "validation"], list[str]]:
    """Two stores of links under ``out``, ``train`` and ``validation``, by episode; returns the
    names in each.

    Raises ``DataError`` for a remote or empty store, a share that leaves one side empty, and where
    ``out`` holds other episodes."""
    if store.remote:
        raise DataError(f"{store.url} is remote; links need a local store")
    if not 0 < share < 1:
        raise DataError(f"share={share}; expected a part between 0 and 1")
    names = store.require()
    chosen = {n for n in names if is_validation(n, share, seed)}
    if not chosen or len(chosen) == len(names):
        raise DataError(
            f"share={share} of {len(names)} episodes leaves one side empty; choose another share= "
            "or seed="
        )
    parts: dict[Literal["train", "validation"], list[str]] = {
        "train": [n for n in names if n not in chosen], "validation": sorted(chosen),
    }
    for part, members in parts.items():
        folder = out / part
        folder.mkdir(parents=True, exist_ok=True)
        strangers = sorted({p.name for p in folder.iterdir() if p.name[0] != "."} - set(members))
        if strangers:
            raise DataError(
                f"{folder} already holds {strangers[0]}, which is not of this split; choose "
                "another out="
            )
        for name in members:
            link, target = folder / name, store.root / name
            if link.is_symlink() or link.exists():
                if link.resolve() != target.resolve():
                    raise DataError(
                        f"{link} is of another store, {link.resolve().parent}; choose another out="
                    )
                continue
            link.symlink_to(os.path.relpath(target, folder))
    return parts
