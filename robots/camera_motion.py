"""Does the camera show the arm as it is, and when?  Judged by the hand that a model reads from
pictures taken while it moved; no model here.

The delay is the shift in time at which two records of the same motion agree best; UMI (Chi et al.
2024) measures one for each device, too, and makes up for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robots.checkup import AS_IT_COMES, Check
from robots.franka_config import MOST_DELAY_S

Array = NDArray[np.float64]

LEAST_MOVED_M = 0.02  # along an axis, to say anything about it
DELAYS_S = np.arange(-0.2, 0.8, 0.005)  # tried; a camera's clock may also be ahead
BLOCKS = 6  # of pictures, one left out at a time for the error of the delay
FOLLOWS = 0.4  # least share of the hand's motion that the pictures must show
CLEARLY = 0.7  # share of the miss at which pictures changed in some way are read better
NOTABLE_S = 0.02  # of a delay that is worth a setting


@dataclass(frozen=True)
class Fit:
    """How a path read from pictures follows the measured one.  delay_s: by which pictures are
    stamped too late, error_s its standard error; slopes [3]: read motion per measured motion, NaN
    along an axis without motion; miss_m: root mean square distance of read from measured."""

    delay_s: float
    error_s: float
    slopes: Array
    miss_m: float

    @property
    def follows(self) -> bool:
        """Whether the pictures show the motion along each axis of it."""
        return bool((self.slopes[np.isfinite(self.slopes)] >= FOLLOWS).all())


def fit_delay(times: Array, places: Array, stamps: Array, read: Array) -> Fit:
    """Compare hand positions ``places`` [T, 3] m, measured at ``times`` [T] s, with those ``read``
    [K, 3] m from pictures of ``stamps`` [K] s.  The error is a jackknife's over ``BLOCKS`` runs of
    pictures: what is read wrong is so in one picture after the other."""
    delay = _delay_of(times, places, stamps, read)
    blocks = np.array_split(np.arange(len(stamps)), BLOCKS)
    others = [
        _delay_of(times, places, np.delete(stamps, block), np.delete(read, block, axis=0))
        for block in blocks
    ]
    error = float(np.sqrt((BLOCKS - 1) * np.var(others)))
    measured = _at(times, places, stamps - delay)
    miss = float(np.sqrt(np.mean(np.sum((read - measured) ** 2, axis=1))))
    return Fit(delay, error, _left(measured, read)[1], miss)


def _delay_of(times: Array, places: Array, stamps: Array, read: Array) -> float:
    left = [_left(_at(times, places, stamps - delay), read)[0] for delay in DELAYS_S]
    best = int(np.argmin(left))
    delay = float(DELAYS_S[best])
    if 0 < best < len(left) - 1:  # the lowest point of a parabola through three
        below, here, above = left[best - 1 : best + 2]
        bend = below - 2 * here + above
        delay += 0.0 if bend <= 0 else 0.5 * (below - above) / bend * (DELAYS_S[1] - DELAYS_S[0])
    return delay


def judge_motion(
    times: Array, places: Array, stamps: Array, reads: Mapping[str, Array], changed: int
) -> tuple[list[Check], Fit | None]:
    """Findings, and the fit of the view that follows best; None of pictures that stand still.

    reads: hand positions [K, 3] m read from the pictures ``AS_IT_COMES``, and from the same ones
    changed in the way that the key says.  changed: how many pictures differed from the one before.
    Raises ``ValueError`` where the hand hardly moved, or where there are too few pictures.
    """
    moved = np.ptp(places, axis=0)
    if moved.max() < LEAST_MOVED_M:
        raise ValueError(f"the hand moved {100 * moved.max():.1f} cm at most, expected at least "
                         f"{100 * LEAST_MOVED_M:.0f}: guide it to the middle of its workspace")
    if len(stamps) < 10:
        raise ValueError(f"{len(stamps)} pictures came while the hand moved, expected at least 10: "
                         "`worldmodel robot check` shows the camera's rate")
    if changed == 0:
        return [Check("camera", False, f"frozen: {len(stamps)} pictures, all the same, while the "
                      f"hand moved {100 * moved.max():.0f} cm; restart its driver")], None
    fits = {view: fit_delay(times, places, stamps, read) for view, read in reads.items()}
    here = fits[AS_IT_COMES]
    others = [view for view in fits if view != AS_IT_COMES and fits[view].follows]
    view = min(others, key=lambda name: fits[name].miss_m, default=AS_IT_COMES)
    found = fits[view]
    if view != AS_IT_COMES and found.miss_m < CLEARLY * here.miss_m:
        return [Check("view", False, f"the model reads the hand {100 * here.miss_m:.1f} cm from "
                      f"where it is; were the pictures {view}, {100 * found.miss_m:.1f} cm: so the "
                      "camera's driver turns them wrong"), _delay(found)], found
    return [_follows(here, moved), _delay(here)], here


def _follows(fit: Fit, moved: Array) -> Check:
    told = ", ".join(
        f"{100 * slope:.0f} % along {axis}"
        for axis, slope, far in zip("xyz", fit.slopes, moved, strict=True) if far >= LEAST_MOVED_M
    )
    text = (f"the model reads {told} of the hand's motion, and the hand {100 * fit.miss_m:.1f} cm "
            "from where it is")
    if not fit.follows:
        return Check("view", False, f"{text}; expected at least {100 * FOLLOWS:.0f} %: are hand "
                     "and base in the picture?  Calibrate or fine-tune (docs/robot.md)")
    return Check("view", True, text)


def _delay(fit: Fit) -> Check:
    text = f"{1e3 * fit.delay_s:.0f} +- {1e3 * fit.error_s:.0f} ms from a picture to its stamp"
    if not DELAYS_S[0] + NOTABLE_S < fit.delay_s < DELAYS_S[-1] - NOTABLE_S:
        return Check("delay", False, "the pictures follow the hand at no delay that was tried, "
                     f"{1e3 * DELAYS_S[0]:.0f} to {1e3 * DELAYS_S[-1]:.0f} ms")
    if fit.delay_s < -NOTABLE_S - 2 * fit.error_s:
        return Check("delay", False, f"{text}: pictures are stamped before they are taken; "
                     "synchronise the clocks (chrony, PTP)")
    if fit.delay_s > MOST_DELAY_S:
        return Check("delay", False, f"{text}; at most {1e3 * MOST_DELAY_S:.0f} ms can be made up "
                     "for: a smaller picture, another transport, less buffering")
    if fit.delay_s > NOTABLE_S + 2 * fit.error_s:
        text += f": set env.camera_delay_s={fit.delay_s:.3f}, whatever it was before"
    return Check("delay", True, text)


def _at(times: Array, places: Array, when: Array) -> Array:
    return np.stack([np.interp(when, times, place) for place in places.T], axis=1)


def _left(measured: Array, read: Array) -> tuple[float, Array]:
    """Sum of squares of ``read`` [K, 3] that offset and slope of each axis of ``measured`` [K, 3]
    leave, and the slopes [3]."""
    a, b = measured - measured.mean(0), read - read.mean(0)
    spread = np.sum(a**2, axis=0)
    moves = np.ptp(measured, axis=0) >= LEAST_MOVED_M
    slopes = np.where(moves, np.sum(a * b, axis=0) / np.where(moves, spread, 1.0), np.nan)
    return float(np.sum((b - a * np.nan_to_num(slopes)) ** 2)), slopes


def changes(pictures: Sequence[NDArray[np.uint8]]) -> int:
    """How many pictures differ from the one before."""
    return sum(
        not np.array_equal(a, b) for a, b in zip(pictures[1:], pictures[:-1], strict=True)
    )
