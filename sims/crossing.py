"""Ways past a wall, and into it, for training data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sims.scene import OBSTACLE_HALF_M
from sims.tasks import DOWN_RPY, turned
from sims.waypoints import Waypoint

if TYPE_CHECKING:
    from sims.arm import Arm

Array = NDArray[np.float64]
WAYS, SHARES = ("over", "beside", "into"), (0.45, 0.25, 0.3)
AWAY_M = 0.10, 0.17  # from the wall's middle, across it, to where a way begins and ends
ASIDE_M = 0.06  # along it, to either side
LOW_M = 0.03, 0.12  # height there
OVER_M = 0.04, 0.11  # of the tool centre point above the wall; fingers reach 3 cm lower
BESIDE_M = 0.07, 0.13  # of it beside the wall's end; the hand is 10 cm wide
LOWER_M = 0.07  # over and nearer than these, at most, is a last way, which may meet the wall


def crossing_waypoints(env: Arm, rng: np.random.Generator) -> Iterator[Waypoint]:
    """From one side of the wall to the other and back, once or more often: over it, beside it, and
    at last also into it, or so near to it that it is met."""
    assert env.draw.obstacle_xy_yaw is not None
    x, y, yaw = env.draw.obstacle_xy_yaw
    middle, along = np.array([x, y]), np.array([np.cos(yaw), np.sin(yaw)])
    across = np.array([-along[1], along[0]])
    side = 1.0 if (env.state[:2] - middle) @ across > 0 else -1.0
    top, end = 2 * env.half_height_of("obstacle"), OBSTACLE_HALF_M["wall"][0]
    ways = int(rng.integers(1, 4))
    for number in range(ways):
        last = number == ways - 1
        turn, closedness = rng.normal(0, 0.15), float(rng.choice([0.0, 0.0, 1.0]))

        def pose(xy: Array, z: float, turn: float = turn, closed: float = closedness) -> Array:
            return turned(np.r_[xy, z, DOWN_RPY, closed], turn)

        here, there = (
            middle + s * rng.uniform(*AWAY_M) * across + rng.uniform(-ASIDE_M, ASIDE_M) * along
            for s in (side, -side)
        )
        low, down = rng.uniform(*LOW_M, 2)
        yield Waypoint("before the wall", pose(here, low), 8)
        way = rng.choice(WAYS, p=SHARES) if last else rng.choice(WAYS[:2])
        lower = LOWER_M * rng.random() * last
        if way == "over":
            height = top + rng.uniform(*OVER_M) - lower
            yield Waypoint("up", pose(here, height), 8)
            yield Waypoint("over the wall", pose(there, height), 8)
        elif way == "beside":
            out = rng.choice([-1.0, 1.0]) * (end + rng.uniform(*BESIDE_M) - lower) * along
            height = rng.uniform(low, top)
            for s in (side, -side):
                yield Waypoint("beside", pose(middle + out + s * AWAY_M[0] * across, height), 6)
        yield Waypoint("behind the wall", pose(there, down), 8)
        side = -side
