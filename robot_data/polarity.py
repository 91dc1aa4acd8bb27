"""Whether states agree with what else a recording shows: gripper polarity, units, the frame.

Fingers that close stop early where something is between them, and never while they open: so the
direction in which they stopped tells which end is closed.  A hand that rises goes up in the
picture of an upright camera that does not look straight down, and when it moves, not later.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robot_data.events import HELD_GAP, STILL
from robot_data.schema import Episode

MIDDLE = (0.15, 0.85)  # closedness of fingers at neither end
LIFTED_M = 0.03
LEAST = 2  # times that must speak for a finding
OUTNUMBERED = 3  # and so many times those that speak against it
NARROW = 0.12  # of the gripper's range: less is another unit
PICTURES = 100  # episodes of a source whose pictures are looked at
CHANGED = 25  # grey levels of 255
FOLLOWS = 0.6  # share of the picture's motion that the pose must explain
HALF_TURN = np.radians(np.pi)  # of radians taken for degrees; hands mostly point down
MOST_FRAMES = 60  # of an episode, evenly chosen
LATEST = 3  # frames that pictures are compared before and after their states
CLEARLY = 0.05  # more of the picture's motion explained by states of another time
GRID = 32  # pictures are compared on so many rows and columns
Floats = NDArray[np.float64]


def runs(mask: NDArray[np.bool_], least: int) -> list[tuple[int, int]]:
    """First row and the one after the last of every run of at least ``least`` True: [T]."""
    edges = np.flatnonzero(np.diff(np.r_[False, mask, False].astype(int))).reshape(-1, 2)
    return [(int(begin), int(end)) for begin, end in edges if end - begin >= least]


def stalls(measured: Floats, told: Floats) -> tuple[int, int]:
    """How often fingers told to close, and told to open, stood still between the ends: [T]."""
    moved = np.abs(np.diff(measured))
    still = np.maximum(np.r_[0.0, moved], np.r_[moved, 0.0]) < STILL
    middle = (measured > MIDDLE[0]) & (measured < MIDDLE[1]) & still
    gap = told - measured
    return len(runs(middle & (gap > HELD_GAP), 3)), len(runs(middle & (gap < -HELD_GAP), 3))


def lifts(states: Floats) -> tuple[int, int]:
    """How often the hand rose with fingers between the ends that had closed, and that had opened,
    to get there: states [T, 7]."""
    measured, height = states[:, 6], states[:, 2]
    moved = np.abs(np.diff(measured))
    still = np.maximum(np.r_[0.0, moved], np.r_[moved, 0.0]) < STILL / 2
    middle = (measured > MIDDLE[0]) & (measured < MIDDLE[1]) & still
    closed = opened = 0
    for begin, end in runs(middle, 3):
        before = np.flatnonzero(np.abs(measured[:begin] - measured[begin]) > HELD_GAP)
        if len(before) and height[begin:end].max() - height[begin] > LIFTED_M:
            closed += bool(measured[before[-1]] < measured[begin])
            opened += bool(measured[before[-1]] > measured[begin])
    return closed, opened


@dataclass(frozen=True)
class Seen:
    """Where the pictures of a fixed camera show the hand: frame numbers [K], and row and column
    [K, 2] of the middle of what differs from the median picture, in parts of GRID."""

    frames: NDArray[np.int64]
    places: Floats


def hand_seen(images: NDArray[np.uint8]) -> Seen | None:
    """Of images [T, H, W, 3]; None where too little differs, or too much: a moving camera."""
    few = np.unique(np.linspace(0, len(images) - 1, MOST_FRAMES).round().astype(int))
    height, width = (side // GRID * GRID for side in images.shape[1:3])
    if min(height, width) < GRID or len(few) < 8:
        return None
    grey = images[few, :height, :width].mean(axis=3, dtype=np.float32)
    blocks = grey.reshape(len(few), GRID, height // GRID, GRID, width // GRID).mean(axis=(2, 4))
    changed = np.abs(blocks - np.median(blocks, axis=0)) > CHANGED
    count = changed.sum(axis=(1, 2))
    there = (count >= 4) & (count < GRID * GRID / 3)
    if there.sum() < 8:
        return None
    middle = np.stack([changed.sum(axis=2), changed.sum(axis=1)], axis=2).transpose(0, 2, 1)
    places = (middle @ np.arange(GRID))[there] / count[there, None]
    return Seen(few[there], places)


def _explained(places: Floats, hand: Floats) -> tuple[Floats, Floats]:
    """Least squares of places [K, 2] by hand positions [K, 3]: slopes [3, 2] and the share of each
    place's variance that they explain [2]."""
    places, hand = places - places.mean(axis=0), hand - hand.mean(axis=0)
    slopes = np.asarray(np.linalg.lstsq(hand, places, rcond=None)[0], np.float64)
    left = ((places - hand @ slopes) ** 2).sum(axis=0)
    return slopes, 1 - left / np.maximum((places**2).sum(axis=0), 1e-9)


def seen_rising(seen: Seen, states: Floats) -> int:
    """1 where the pictures show the hand go up as z grows, -1 where it goes down, 0 where that
    cannot be told: z must move it at least half as far as x or y do.  States [T, 7]."""
    hand = states[seen.frames, :3]
    if np.ptp(hand[:, 2]) < LIFTED_M or np.linalg.cond(hand - hand.mean(axis=0)) > 20:
        return 0  # or two axes moved as one
    slopes, explained = _explained(seen.places, hand)
    sideways = np.linalg.norm(slopes[:2], axis=1).max()
    if explained[0] < FOLLOWS or abs(slopes[2, 0]) < 0.5 * sideways:
        return 0
    return -int(np.sign(slopes[2, 0]))


def seen_late(seen: Seen, states: Floats) -> int | None:
    """Frames by which the pictures show the hand after its states (before, if negative), at most
    LATEST; None where that cannot be told.  States [T, 7]."""
    inside = (seen.frames >= LATEST) & (seen.frames < len(states) - LATEST)
    frames, places = seen.frames[inside], seen.places[inside]
    if len(frames) < 8 or places.var(axis=0).sum() < 1:
        return None
    shares = {}
    for late in range(-LATEST, LATEST + 1):
        hand = states[frames - late, :3]
        _, explained = _explained(places, hand)
        shares[late] = float(explained @ places.var(axis=0) / places.var(axis=0).sum())
    best = max(shares, key=lambda late: shares[late])
    if shares[best] < FOLLOWS:
        return None
    return best if shares[best] > shares[0] + CLEARLY else 0


@dataclass
class _Tally:
    """Of one source, over its episodes; every list has two counts: as it should be, and not."""

    episodes: int = 0
    stalled: list[int] = field(default_factory=lambda: [0, 0])
    lifted: list[int] = field(default_factory=lambda: [0, 0])
    told: list[int] = field(default_factory=lambda: [0, 0])
    rising: list[int] = field(default_factory=lambda: [0, 0])
    late: list[int] = field(default_factory=lambda: [0, 0])
    frames_late: list[int] = field(default_factory=list)
    pictures: int = 0
    least: float = np.inf  # closedness
    greatest: float = -np.inf
    angle: float = 0.0  # the greatest [rad]
    frames: int = 0
    turned: int = 0  # frames with an angle near half a turn, were it in degrees


class Consistency:
    """Running totals over the episodes of a store, by source."""

    def __init__(self) -> None:
        self._sources: dict[str, _Tally] = {}

    def add(self, episode: Episode) -> None:
        """Count one episode in."""
        imported = episode.meta.get("import", {}).get("format")
        source = str(imported or episode.meta.get("source", "unknown"))
        tally = self._sources.setdefault(source, _Tally())
        measured, told = episode.states[:, 6], episode.commanded_closedness
        tally.episodes += 1
        tally.least = min(tally.least, float(measured.min()))
        tally.greatest = max(tally.greatest, float(measured.max()))
        angles = np.abs(episode.states[:, 3:6]).max(axis=1)
        tally.angle = max(tally.angle, float(angles.max()))
        tally.frames += len(angles)
        tally.turned += int((angles > 0.9 * HALF_TURN).sum())
        _count(tally.stalled, *stalls(measured, told))
        _count(tally.lifted, *lifts(episode.states))
        if min(measured.std(), told.std()) > 0.1:
            agreement = float(np.corrcoef(measured, told)[0, 1])
            _count(tally.told, int(agreement > 0.5), int(agreement < -0.5))
        camera = str(episode.meta.get("camera", "")).lower()
        if tally.pictures < PICTURES and not any(name in camera for name in ("wrist", "hand")):
            tally.pictures += 1
            seen = hand_seen(episode.images)
            if seen is not None:
                _add_seen(tally, seen, episode.states)

    def findings(self) -> list[tuple[str, list[str]]]:
        """What looks wrong, by source: the episodes meant, and a sentence for each fault."""
        found = []
        for source, tally in sorted(self._sources.items()):
            texts = _texts(tally)
            if texts:
                found.append((f"{tally.episodes} episodes of {source}", texts))
        return found


def _add_seen(tally: _Tally, seen: Seen, states: Floats) -> None:
    rising, late = seen_rising(seen, states), seen_late(seen, states)
    _count(tally.rising, int(rising > 0), int(rising < 0))
    if late is not None:
        _count(tally.late, int(late == 0), int(late != 0))
        tally.frames_late += [late] if late else []


def _count(tally: list[int], right: int, wrong: int) -> None:
    tally[0] += right
    tally[1] += wrong


def _doubtful(tally: list[int]) -> bool:
    right, wrong = tally
    return wrong >= LEAST and wrong >= OUTNUMBERED * right


def _texts(tally: _Tally) -> list[str]:
    texts = []
    if _doubtful(tally.stalled):
        texts.append(
            f"gripper looks inverted: {tally.stalled[1]} of {sum(tally.stalled)} times that the "
            "fingers stopped between the ends they were told to open; fingers stop early where "
            "they close on something: import with the other polarity"
        )
    elif _doubtful(tally.lifted):
        texts.append(
            f"gripper looks inverted: {tally.lifted[1]} of {sum(tally.lifted)} times that the hand "
            "rose with its fingers between the ends they had opened to get there; fingers stop "
            "early where they close on something: import with the other polarity"
        )
    if _doubtful(tally.told):
        texts.append(
            f"the gripper's command goes against its measure in {tally.told[1]} of "
            f"{sum(tally.told)} episodes; one of them is inverted"
        )
    span = tally.greatest - tally.least
    if span > 0.001 and (tally.greatest < NARROW or tally.least > 1 - NARROW):
        texts.append(
            f"the gripper only goes from {tally.least:.3g} to {tally.greatest:.3g} of 0 (open) to "
            "1 (closed); is its unit or its range another?"
        )
    if tally.angle <= HALF_TURN and tally.turned > tally.frames / 2:
        texts.append(
            f"no Euler angle exceeds {tally.angle:.3g} rad, half a turn in radians taken for "
            "degrees; are they in radians?"
        )
    if _doubtful(tally.rising):
        texts.append(
            f"the pictures show the hand going down as z grows in {tally.rising[1]} of "
            f"{sum(tally.rising)} episodes; is z or the frame inverted, or the camera upside down?"
        )
    if _doubtful(tally.late):
        late = int(np.median(tally.frames_late))
        side = "after" if late > 0 else "before"
        texts.append(
            f"the pictures show the hand {abs(late)} frames {side} its states in "
            f"{tally.late[1]} of {sum(tally.late)} episodes; do the times of camera and "
            "states agree?"
        )
    return texts
