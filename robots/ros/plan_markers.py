"""A planner's plans as markers that RViz draws (tools/lab/cell.rviz), before they are carried out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from robot_data.loop import Agent, Candidates, Decision
from robots.ros.bridge import LATCHED
from robots.ros.link import RosLink
from robots.ros.markers import marker

TOPIC = "/worldmodel_planner/plan"
WIDE_M, DOT_M = 0.006, 0.008
CHOSEN, OTHER = (0.0, 0.62, 0.45, 1.0), (0.55, 0.55, 0.55, 0.35)  # red, green, blue, opacity


class ShownPlans:
    """An agent whose plans are published on ``TOPIC`` as soon as it has decided: a line along the
    positions that the planned actions add up to, and dots where the other candidates would end."""

    def __init__(self, agent: Agent, link: RosLink) -> None:
        self.agent, self.link = agent, link
        # what it sees with, for whoever looks at its pictures, too (arm_worldmodel.seen_hand)
        self.perception = getattr(agent, "perception", None)
        self._publisher = link.node.create_publisher(MarkerArray, TOPIC, LATCHED)

    def reset(self, goals: Sequence[NDArray[np.uint8]], seed: int) -> None:
        """As the agent's own; what was shown is removed."""
        self._publisher.publish(MarkerArray(markers=[Marker(action=Marker.DELETEALL)]))
        self.agent.reset(goals, seed)

    def act(self, observation: dict[str, NDArray[Any]]) -> Decision:
        """As the agent's own."""
        decision = self.agent.act(observation)
        if decision.candidates is not None:
            markers = plan_markers(decision.candidates, observation["state"], self.link.frame)
            self._publisher.publish(markers)
        return decision


def plan_markers(
    candidates: Candidates, state: NDArray[np.float64], frame: str
) -> MarkerArray:
    """What a search chose among, from the measured ``state`` [7]; in ``frame``, m."""
    line = marker(frame, 0, Marker.LINE_STRIP, CHOSEN)
    line.ns, line.scale.x = "plan", WIDE_M
    moves = np.cumsum(candidates.actions[0, :, :3], axis=0)
    line.points = [_point(place) for place in (state[:3], *(state[:3] + moves))]
    dots = marker(frame, 1, Marker.POINTS, OTHER)
    dots.ns, dots.scale.x, dots.scale.y = "plan", DOT_M, DOT_M
    dots.points = [_point(place) for place in candidates.positions[1:]]
    dots.colors = [ColorRGBA(**dict(zip("rgba", OTHER, strict=True)))] * len(dots.points)
    return MarkerArray(markers=[line, dots] if dots.points else [line])


def _point(place: NDArray[np.float64]) -> Point:
    x, y, z = (float(v) for v in place)
    return Point(x=x, y=y, z=z)
