"""A source episode becomes a stored one: resampled by timestamps, aligned, resized, described.

States are picked, never interpolated: every stored state was measured.  Actions are the measured
pose changes between the stored frames; the source's own actions stay verbatim under ``raw``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from robot_data.images import fit_square
from robot_data.importers.source import SourceEpisode, View, nearest
from robot_data.pose import diff
from robot_data.schema import DataError, Episode

MOST_MISSING = 0.1  # share of the states that a further camera may have no frame for


@dataclass(frozen=True)
class FitConfig:
    """How a recorded episode is fitted to ours."""

    camera: str = ""  # the view that the model looks through; '' where there is only one
    # side of the square that pictures are scaled and centre-cropped to [px], that of the shipped
    # model; null: left as they are
    image_size: int | None = 128
    hz: float | None = None  # rate to resample to [Hz]; null: the source's
    source_hz: float | None = None  # rate of a source without timestamps [Hz]; null: not known
    max_offset_s: float = 0.1  # a camera frame further from its state is not used [s]


def assemble(source: SourceEpisode, config: FitConfig) -> Episode:
    """The episode to store; ``source.notes`` gains what was dropped, doubled or missing.

    Raises ``DataError`` for settings that do not fit the source, a camera that is missing or
    changes its size, and fewer than two usable frames."""
    main = _main_view(source, config.camera)
    rows = np.arange(len(source.states))
    times = source.times_ns
    if config.source_hz is not None:
        times = _ticks(source, config.source_hz)
    if times is not None:
        rows = _increasing(times, source.notes)
    rows, picks = _align(source, rows, main, config)
    if config.hz is not None:
        if times is None:
            raise DataError(
                "the source has no timestamps, so hz= cannot resample it; give its rate, "
                "fit.source_hz=, or leave hz out"
            )
        keep = resample(times[rows], config.hz)
        if len(keep) < len(rows):
            source.notes.append(f"resampled {len(rows)} frames to {len(keep)} at {config.hz:g} Hz")
        rows, picks = rows[keep], {name: pick[keep] for name, pick in picks.items()}
    if len(rows) < 2:
        raise DataError(f"only {len(rows)} usable frames are left; expected at least 2")
    if times is not None:
        _report_gaps(times[rows], source.notes)
    views = _decoded(source, picks, main, config.image_size)
    states = source.states[rows]
    actions = np.zeros((len(rows), 7))
    actions[:-1] = diff(states[:-1], states[1:])
    if source.actions is not None and len(rows) == len(source.actions):
        actions = source.actions
    told = source.commanded_closedness
    return Episode(
        images=views.pop(main), states=states, actions=actions,
        commanded_closedness=states[:, 6].copy() if told is None else told[rows],
        privileged={name: value[rows] for name, value in source.privileged.items()},
        timestamps_ns=None if times is None else times[rows],
        cameras=views, raw=source.raw, meta={**source.meta, "camera": main},
    )


def _main_view(source: SourceEpisode, wanted: str) -> str:
    """``wanted``; without it what the episode itself names (ours do), or the only colour view."""
    names = sorted(source.views)
    if not names:
        raise DataError("the source has no camera images")
    wanted = wanted or str(source.meta.get("camera", ""))
    if wanted in names:
        return wanted
    if wanted:
        raise DataError(f"there is no camera '{wanted}'; this episode has: {', '.join(names)}")
    colour = [name for name in names if not source.views[name].depth] or names
    if len(colour) > 1:
        raise DataError(
            f"several cameras; name the model's view: fit.camera=... ({', '.join(colour)})"
        )
    return colour[0]


def _ticks(source: SourceEpisode, hz: float) -> NDArray[np.int64]:
    """Times of the states of a source that has none, from 0 on: [T], ns."""
    if source.times_ns is not None:
        raise DataError("the source has timestamps; leave fit.source_hz out")
    if hz <= 0:
        raise DataError(f"fit.source_hz={hz:g}; expected a positive rate")
    source.notes.append(f"no timestamps; one state every 1/{hz:g} s, as fit.source_hz says")
    return np.round(np.arange(len(source.states)) * 1e9 / hz).astype(np.int64)


def _increasing(times: NDArray[np.int64], notes: list[str]) -> NDArray[np.int64]:
    """Rows whose time exceeds all earlier ones."""
    best = np.maximum.accumulate(times)
    keep = np.r_[True, times[1:] > best[:-1]]
    if not keep.all():
        notes.append(f"{int((~keep).sum())} frames with doubled or backward timestamps dropped")
    return np.flatnonzero(keep)


def resample(times_ns: NDArray[np.int64], hz: float) -> NDArray[np.int64]:
    """Rows of increasing ``times_ns`` nearest to the ticks of a clock of ``hz``, each once."""
    if hz <= 0:
        raise DataError(f"hz={hz:g}; expected a positive rate")
    ticks = np.arange(times_ns[0], times_ns[-1] + 1, 1e9 / hz)
    return np.unique(nearest(times_ns, ticks))


def _align(
    source: SourceEpisode, rows: NDArray[np.int64], main: str, config: FitConfig
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Rows that every camera has a frame for, and each camera's frame number for them.

    A further camera that cannot be matched, or misses more than ``MOST_MISSING`` of the rows of
    the model's view, is left out; a note says so.
    """
    picks: dict[str, NDArray[np.int64]] = {}
    usable = np.ones(len(rows), bool)
    for name in sorted(source.views, key=lambda name: name != main):
        view = source.views[name]
        if view.depth and name != main:
            source.notes.append(f"camera '{name}' shows depth, not colour; left out")
            continue
        if view.depth:
            source.notes.append(f"camera '{name}' shows depth; its 16 bits are scaled to 8")
        try:
            pick, fits = _match(name, view, source, rows, config.max_offset_s)
        except DataError as error:
            if name == main:
                raise
            source.notes.append(f"camera '{name}' left out: {error}")
            continue
        missing = int((usable & ~fits).sum())
        if name != main and missing > MOST_MISSING * usable.sum():
            source.notes.append(
                f"camera '{name}' left out: no frame for {missing} of {int(usable.sum())} states"
            )
            continue
        if missing:
            source.notes.append(
                f"camera '{name}': no frame for {missing} of {len(rows)} states; dropped"
            )
        picks[name] = pick
        usable &= fits
    return rows[usable], {name: pick[usable] for name, pick in picks.items()}


def _match(
    name: str, view: View, source: SourceEpisode, rows: NDArray[np.int64], limit_s: float
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Frame number for each row, and whether there is one."""
    if view.of_state is not None:
        pick = view.of_state[rows]
        return pick, pick >= 0
    if view.times_ns is None:
        if abs(len(source.states) - view.count) > 1:
            raise DataError(
                f"camera '{name}' has {view.count} frames for {len(source.states)} states and "
                "no timestamps, so they cannot be matched"
            )
        return rows, rows < view.count
    if source.times_ns is None:
        raise DataError(f"camera '{name}' has timestamps and the states have none")
    if view.count == 0:
        raise DataError(f"camera '{name}' has no frames")
    wanted = source.times_ns[rows]
    pick = nearest(view.times_ns, wanted)
    return pick, np.abs(view.times_ns[pick] - wanted) <= limit_s * 1e9


def _report_gaps(times_ns: NDArray[np.int64], notes: list[str]) -> None:
    steps = np.diff(times_ns)
    usual = float(np.median(steps))
    for row in np.flatnonzero(steps > 2.5 * usual):
        notes.append(f"gap of {steps[row] / 1e9:.2f} s after stored frame {int(row)}")


def _decoded(
    source: SourceEpisode, picks: dict[str, NDArray[np.int64]], main: str, side: int | None
) -> dict[str, NDArray[np.uint8]]:
    """The pictures of every camera; a further camera whose pictures are damaged is left out."""
    views = {}
    for name, pick in picks.items():
        try:
            views[name] = _fitted(name, source.views[name], pick, side, source.notes)
        except MemoryError:  # no fault of this camera
            raise
        except Exception as error:  # decoders raise many types
            if name == main:
                raise
            source.notes.append(f"camera '{name}' left out: {type(error).__name__}: {error}")
    return views


def _fitted(
    name: str, view: View, pick: NDArray[np.int64], side: int | None, notes: list[str]
) -> NDArray[np.uint8]:
    """The picked frames [T, H, W, 3]; ``pick`` ascends and may repeat."""
    unique, places = np.unique(pick, return_inverse=True)
    frames, sizes, count = np.zeros((0, 0, 0, 3), np.uint8), set(), 0
    for count, frame in enumerate(islice(view.frames(unique.tolist()), len(unique)), start=1):
        sizes.add(frame.shape[:2])
        fitted = fit_square(frame, side)
        if count == 1:
            frames = np.empty((len(unique), *fitted.shape), np.uint8)
        if fitted.shape != frames.shape[1:]:
            raise DataError(f"camera '{name}' changes its size; set fit.image_size")
        frames[count - 1] = fitted
    if count < len(unique):
        raise DataError(f"a video ends after {count} of {len(unique)} wanted frames")
    for height, width in sorted(sizes):
        if side is not None and height != width:
            notes.append(f"camera '{name}': {width}x{height} cropped to the centre square")
    return frames if len(unique) == len(pick) else frames[places]
