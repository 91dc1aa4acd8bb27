"""A source episode becomes a stored one: resampled by timestamps, aligned, resized, described.

States are picked, never interpolated: every stored state was measured.  Actions are the measured
pose changes between the stored frames; the source's own actions stay verbatim under ``raw``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_data.images import fit_square
from robot_data.importers.source import SourceEpisode, View
from robot_data.pose import diff
from robot_data.schema import DataError, Episode


@dataclass(frozen=True)
class FitConfig:
    """How a recorded episode is fitted to ours."""

    camera: str = ""  # the view that the model looks through; '' where there is only one
    # side of the square that pictures are scaled and centre-cropped to [px]; null: left as they are
    image_size: int | None = 256
    hz: float | None = None  # rate to resample to [Hz]; null: the source's
    max_offset_s: float = 0.1  # a camera frame further from its state is not used [s]


def assemble(source: SourceEpisode, config: FitConfig) -> Episode:
    """The episode to store; ``source.notes`` gains what was dropped, doubled or missing."""
    main = _main_view(source, config.camera)
    rows = np.arange(len(source.states))
    times = source.times_ns
    if times is not None:
        rows = _increasing(times, source.notes)
    rows, picks = _align(source, rows, config)
    if config.hz is not None:
        if times is None:
            raise DataError("the source has no timestamps, so hz= cannot resample it; leave hz out")
        keep = resample(times[rows], config.hz)
        if len(keep) < len(rows):
            source.notes.append(f"resampled {len(rows)} frames to {len(keep)} at {config.hz:g} Hz")
        rows, picks = rows[keep], {name: pick[keep] for name, pick in picks.items()}
    if len(rows) < 2:
        raise DataError(f"only {len(rows)} usable frames are left; expected at least 2")
    if times is not None:
        _report_gaps(times[rows], source.notes)
    views = {
        name: _fitted(source.views[name], pick, config.image_size) for name, pick in picks.items()
    }
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
    """``wanted``; without it what the episode itself names (ours do), or the only view."""
    names = sorted(source.views)
    if not names:
        raise DataError("the source has no camera images")
    wanted = wanted or str(source.meta.get("camera", ""))
    if wanted in names:
        return wanted
    if wanted:
        raise DataError(f"there is no camera '{wanted}'; this episode has: {', '.join(names)}")
    if len(names) > 1:
        raise DataError(f"several cameras; name the model's view: camera=... ({', '.join(names)})")
    return names[0]


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


def nearest(times_ns: NDArray[np.int64], wanted: NDArray) -> NDArray[np.int64]:
    """Row of increasing ``times_ns`` [N] nearest to each of ``wanted`` [M]."""
    after = np.searchsorted(times_ns, wanted).clip(1, max(1, len(times_ns) - 1))
    if len(times_ns) == 1:
        return np.zeros(len(wanted), np.int64)
    before_is_nearer = wanted - times_ns[after - 1] <= times_ns[after] - wanted
    return (after - before_is_nearer).astype(np.int64)


def _align(
    source: SourceEpisode, rows: NDArray[np.int64], config: FitConfig
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int64]]]:
    """Rows that every camera has a frame for, and each camera's frame number for them."""
    picks: dict[str, NDArray[np.int64]] = {}
    usable = np.ones(len(rows), bool)
    for name, view in source.views.items():
        if view.of_state is not None:
            pick = view.of_state[rows]
            fits = pick >= 0
        elif view.times_ns is None:
            pick, fits = rows, rows < view.count
            missing, extra = len(source.states) - view.count, view.count - len(source.states)
            if missing > 1 or extra > 1:
                raise DataError(
                    f"camera '{name}' has {view.count} frames for {len(source.states)} states and "
                    "no timestamps, so they cannot be matched"
                )
        else:
            if source.times_ns is None:
                raise DataError(f"camera '{name}' has timestamps and the states have none")
            if view.count == 0:
                raise DataError(f"camera '{name}' has no frames")
            wanted = source.times_ns[rows]
            pick = nearest(view.times_ns, wanted)
            fits = np.abs(view.times_ns[pick] - wanted) <= config.max_offset_s * 1e9
        if not fits.all():
            source.notes.append(
                f"camera '{name}': no frame for {int((~fits).sum())} of {len(rows)} states; dropped"
            )
        picks[name] = pick
        usable &= fits
    return rows[usable], {name: pick[usable] for name, pick in picks.items()}


def _report_gaps(times_ns: NDArray[np.int64], notes: list[str]) -> None:
    steps = np.diff(times_ns)
    usual = float(np.median(steps))
    for row in np.flatnonzero(steps > 2.5 * usual):
        notes.append(f"gap of {steps[row] / 1e9:.2f} s after stored frame {int(row)}")


def _fitted(view: View, pick: NDArray[np.int64], side: int | None) -> NDArray[np.uint8]:
    """The picked frames [T, H, W, 3]; ``pick`` ascends and may repeat."""
    unique, places = np.unique(pick, return_inverse=True)
    frames = [fit_square(frame, side) for frame in view.frames(unique.tolist())]
    if len(frames) != len(unique):
        raise DataError(f"a video ends after {len(frames)} of {len(unique)} wanted frames")
    return np.stack(frames)[places]
