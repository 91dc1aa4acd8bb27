"""Moves that show a camera the hand with an object: picked up, carried, put down, again and again.

No simulator state is needed: the arm knows where the object is because it put it there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from robot_data import pose as pose_math
from sims.tasks import DOWN_RPY
from sims.waypoints import Waypoint, waypoint_action, waypoint_reached

Array = NDArray[np.float64]

# Where the object is put and how high the hand goes above the grasp, robot base frame.
PLACE_LOW_M, PLACE_HIGH_M = (0.40, -0.15), (0.60, 0.15)
LIFT_M = (0.06, 0.13)
CARRY_M = (0.05, 0.20)
AROUND = 3  # open poses about the object, before it is gripped and after it is let go
AROUND_M, AROUND_HIGH_M = 0.008, 0.03  # sideways: the fingers leave 15 mm on either side
AROUND_RAD = 0.08
YAW_RAD = 0.3
TILT_RAD = 0.06  # standard deviation, of a hand that handles nothing
CLEAR_M, ASIDE_M = 0.10, 0.12  # above what stands there, or beside it: nothing is touched
FREE_HIGH_M = 0.235
BESIDE = 2  # times, among the free moves
BESIDE_M = (0.055, 0.10)  # from the object's middle, across the way the fingers close
ASKEW_M, ASKEW_HIGH_M = 0.06, (0.06, 0.10)  # sideways, and above the grasp: it is not touched
ASKEW = 2  # times, on the way to the object and on the way from it
ROOM_LOW_M, ROOM_HIGH_M = (0.39, -0.20), (0.63, 0.20)  # where there is room for the hand, x, y
LOW_SHARE = 0.4  # of the places aside of the object are at the table
EMPTY = 0.9  # closedness of fingers that met nothing
TOLERANCE_M = 0.012
STILL, REST_M = 0.02, 0.001  # closedness and way a step, of fingers and of a hand at rest
AT_REST = 2  # steps in a row, of either
FREE_SHARE = 0.5  # of the times it was put down that the hand then moves elsewhere


class Handling:
    """Actions [7] that move one object about.

    place: where the object stands at first, x, y [m] and the yaw [rad] at which to grip it;
    height_m: of the tool centre point when the fingers are round it; held: the hand holds it
    already.  ``placed`` counts how often it was put down.

    down_rpy: of the hand that points down, fingers closing along y [rad].  free: random hand poses,
    clear of the object, half of the times between putting it down and picking it up; with any, the
    hand also comes and goes by poses above the object and to its sides.  patience: how many times
    as many control steps as usual a way may take; more than 1 for an arm that is still moving
    when the next step begins.
    """

    def __init__(
        self, place: tuple[float, float, float], height_m: float, seed: int, held: bool = False,
        down_rpy: tuple[float, float, float] = DOWN_RPY, free: int = 0, patience: float = 1.0,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.down_rpy, self.free, self.patience = down_rpy, free, patience
        self.place, self.height_m = place, height_m
        self.placed = 0
        self._state = np.zeros(7)
        self._waypoints = self._script(held)
        self._goal: Waypoint | None = None
        self._used = 0
        self._still, self._closing = 0, False  # steps of fingers at rest; whether they have moved
        self._resting = 0  # steps of a hand at rest, since the waypoint is in force

    def __call__(self, state: Array, commanded: Array) -> Array | None:
        """From the measured state and the commanded one, both [7]; None once the hand closed on
        nothing, and nobody knows where the object is."""
        step = abs(state[6] - self._state[6])
        self._still = 0 if step >= STILL else self._still + 1
        self._closing |= step >= STILL
        moved_m = float(np.linalg.norm(state[:3] - self._state[:3]))
        self._resting = self._resting + 1 if moved_m < REST_M else 0
        self._state = state
        if (
            self._goal is None or self._used >= self.patience * self._goal.max_steps
            or self._reached(self._goal, commanded)
        ):
            self._goal, self._used = next(self._waypoints, None), 0
            self._still, self._closing, self._resting = 0, False, 0
        if self._goal is None:
            return None
        self._used += 1
        return waypoint_action(self._goal, state, commanded)

    def _reached(self, goal: Waypoint, commanded: Array) -> bool:
        """Where the next step begins before the last one has ended, fingers that were told to close
        have not done so yet: they must have moved and come to rest; and a hand whose fingers are to
        move next must have come to rest."""
        if self.patience > 1:
            if goal.name == "closed" and not (self._closing and self._still >= AT_REST):
                return False
            if goal.name in ("at", "lowered") and self._resting < AT_REST:
                return False
        return waypoint_reached(goal, self._state, commanded, TOLERANCE_M)

    def _script(self, held: bool) -> Iterator[Waypoint]:
        rng, beside = self.rng, 0.0  # as far as anybody knows of what is held already
        if self.free and not held:
            yield self._over("clear", CLEAR_M, 0.0, 12)  # the hand may be at the object
        while True:
            if not held:
                if self.free:
                    yield from self._askew(0.0)
                yield self._over("above", rng.uniform(*LIFT_M), 0.0, 12)
                yield from self._around()
                yield self._over("at", 0.0, 0.0, 5)
                yield self._over("closed", 0.0, 1.0, 4)
                if self.patience > 1:  # an arm that settles stands where it was sent
                    beside = self._beside_middle()
                yield self._over("lifted", rng.uniform(*LIFT_M), 1.0, 4)
            held = False
            if self._state[6] > EMPTY:
                return
            if rng.random() < 0.5:  # by way of somewhere else
                self.place = self._draw()
                yield self._over("carried", rng.uniform(*CARRY_M), 1.0, 8)
            self.place = self._draw()
            yield self._over("carried", rng.uniform(*LIFT_M), 1.0, 12)
            yield self._over("lowered", 0.0, 1.0, 6)
            yield self._over("released", 0.0, 0.0, 4)
            x, y, yaw = *self._state[:2], self.place[2]  # where the hand really let go
            self.place = (x + beside * np.cos(yaw), y + beside * np.sin(yaw), yaw)
            self.placed += 1
            yield from self._around()
            if self.free:
                yield self._over("clear", CLEAR_M, 0.0, 6)
                yield from self._askew(float(rng.random() < 0.25))
                if rng.random() < FREE_SHARE:
                    yield from self._clear_of_it()

    def _beside_middle(self) -> float:
        """How far from the hand's middle the object was gripped, across the way the fingers close
        [m].  Closing centres it the way they close only; across, it stays where it was gripped, and
        lies as far from where the hand lets go."""
        x, y, yaw = self.place
        away_x, away_y = np.array([x, y]) - self._state[:2]
        return float(away_x * np.cos(yaw) + away_y * np.sin(yaw))

    def _around(self) -> Iterator[Waypoint]:
        x, y, yaw = self.place
        for _ in range(AROUND):
            dx, dy = self.rng.uniform(-AROUND_M, AROUND_M, 2)
            turn = self.rng.uniform(-AROUND_RAD, AROUND_RAD)
            up = self.rng.uniform(0.0, AROUND_HIGH_M) * (self.rng.random() < 0.6)
            yield Waypoint("around", self._pose((x + dx, y + dy, yaw + turn), up, 0.0), 3)

    def _clear_of_it(self) -> Iterator[Waypoint]:
        """Poses anywhere, with the fingers open or closed, by ways above the object."""
        rng, (x, y, _) = self.rng, self.place
        for _ in range(BESIDE):
            yield from self._beside_it()
            yield from self._askew(float(rng.random() < 0.25), 1)
        for _ in range(self.free):
            there, closed = self._draw(), float(rng.random() < 0.25)
            up = rng.uniform(CLEAR_M, FREE_HIGH_M)
            yield Waypoint("free", self._tilted(there, up, closed), 10)
            if np.hypot(there[0] - x, there[1] - y) > ASIDE_M and rng.random() < LOW_SHARE:
                low = rng.uniform(0.0, CLEAR_M)
                yield Waypoint("free", self._pose(there, low, closed), 6)
                yield Waypoint("free", self._pose(there, up, closed), 6)

    def _askew(self, closed: float, times: int = ASKEW) -> Iterator[Waypoint]:
        """Above the object and to a side: a hand that is only ever seen straight above it would
        tell where it is."""
        rng, (x, y, _) = self.rng, self.place
        for _ in range(times):
            aside = np.array([x, y]) + rng.uniform(-ASKEW_M, ASKEW_M, 2)
            near_x, near_y = np.clip(aside, ROOM_LOW_M, ROOM_HIGH_M)
            up = rng.uniform(*ASKEW_HIGH_M)
            yield Waypoint("askew", self._tilted((near_x, near_y, self._draw()[2]), up, closed), 6)

    def _beside_it(self) -> Iterator[Waypoint]:
        """Down beside the object and up again: a hand that is only ever seen low where the object
        is would be read there whenever it is low."""
        rng, (x, y, yaw) = self.rng, self.place
        away, along = rng.uniform(*BESIDE_M), rng.uniform(-0.02, 0.02)
        if not ROOM_LOW_M[0] < x - away or (x + away < ROOM_HIGH_M[0] and rng.random() < 0.5):
            away = -away
        there = (x - away * np.cos(yaw) - along * np.sin(yaw),
                 y - away * np.sin(yaw) + along * np.cos(yaw), yaw)
        closed = float(rng.random() < 0.25)
        for above in (CLEAR_M, rng.uniform(0.0, AROUND_HIGH_M), CLEAR_M):
            yield Waypoint("beside", self._pose(there, above, closed), 6)

    def _over(self, name: str, above_m: float, closedness: float, max_steps: int) -> Waypoint:
        return Waypoint(name, self._pose(self.place, above_m, closedness), max_steps)

    def _pose(
        self, place: tuple[float, float, float], above_m: float, closedness: float
    ) -> Array:
        x, y, yaw = place
        upright = np.r_[x, y, self.height_m + above_m, self.down_rpy, closedness]
        return pose_math.compose(upright, np.array([0, 0, 0, 0, 0, yaw, 0]))

    def _tilted(
        self, place: tuple[float, float, float], above_m: float, closedness: float
    ) -> Array:
        roll, pitch = self.rng.normal(0.0, TILT_RAD, 2)
        tilt = np.array([0, 0, 0, roll, pitch, 0, 0])
        return pose_math.compose(self._pose(place, above_m, closedness), tilt)

    def _draw(self) -> tuple[float, float, float]:
        x, y = self.rng.uniform(PLACE_LOW_M, PLACE_HIGH_M)
        return float(x), float(y), float(self.rng.uniform(-YAW_RAD, YAW_RAD))
