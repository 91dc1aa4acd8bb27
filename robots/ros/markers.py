"""The workspace and what must be kept out of, as markers that RViz draws (tools/lab/cell.rviz)."""

from __future__ import annotations

from itertools import product

from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from robots.limits import Limits

EDGE_M = 0.004
INSIDE, OUTSIDE = (0.0, 0.45, 0.7, 1.0), (0.75, 0.22, 0.17, 0.35)  # red, green, blue, opacity


def workspace_markers(limits: Limits) -> MarkerArray:
    """The workspace as edges, every keep-out box as a body; in ``limits.frame``, m."""
    low, high = limits.workspace_low_m, limits.workspace_high_m
    edges = marker(limits.frame, 0, Marker.LINE_LIST, INSIDE)
    edges.scale.x = EDGE_M
    corners = list(product(*zip(low, high, strict=True)))
    edges.points = [
        Point(x=x, y=y, z=z)
        for a in corners for b in corners
        if a < b and sum(u != v for u, v in zip(a, b, strict=True)) == 1
        for x, y, z in (a, b)
    ]
    markers = [edges]
    for number, box in enumerate(limits.keep_out, 1):
        body = marker(limits.frame, number, Marker.CUBE, OUTSIDE)
        place, size = body.pose.position, body.scale
        place.x, place.y, place.z = (
            (a + b) / 2 for a, b in zip(box.low_m, box.high_m, strict=True)
        )
        size.x, size.y, size.z = (b - a for a, b in zip(box.low_m, box.high_m, strict=True))
        markers.append(body)
    return MarkerArray(markers=markers)


def marker(
    frame: str, number: int, kind: int, colour: tuple[float, float, float, float]
) -> Marker:
    """A marker without a size yet, of a ``colour`` (red, green, blue, opacity)."""
    made = Marker(ns="worldmodel", id=number, type=kind, action=Marker.ADD)
    made.header.frame_id = frame
    made.pose.orientation.w = 1.0
    made.color = ColorRGBA(**dict(zip("rgba", colour, strict=True)))
    return made
