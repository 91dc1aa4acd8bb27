"""A recorded episode as a file for the rerun viewer."""

from __future__ import annotations

from pathlib import Path

import rerun as rr
import rerun.blueprint as rrb

from robot_data.recording import QUALITY, hand_frame
from robot_data.schema import STATE_FIELDS, Episode


def write_view(path: str | Path, episode: Episode) -> None:
    """Every camera, the hand's frame and path in 3D (robot base frame, m), and each field of the
    state by frame."""
    log = rr.RecordingStream("arm_worldmodel_recording")
    log.save(str(path))
    cameras = {"camera": episode.images, **episode.cameras}
    log.send_blueprint(_blueprint(tuple(cameras)))
    log.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    log.log("world/hand", rr.TransformAxes3D(0.06), static=True)
    log.log("world/path", rr.LineStrips3D([episode.states[:, :3]], radii=0.002), static=True)
    for t, state in enumerate(episode.states):
        log.set_time("frame", sequence=t)
        for name, images in cameras.items():
            log.log(f"cameras/{name}", rr.Image(images[t]).compress(QUALITY))
        log.log("world/hand", hand_frame(state))
        for name, value in zip(STATE_FIELDS, state, strict=True):
            log.log(f"state/{name}", rr.Scalars(float(value)))
    log.flush()
    log.disconnect()


def _blueprint(cameras: tuple[str, ...]) -> rrb.Blueprint:
    views = [rrb.Spatial2DView(origin=f"cameras/{name}", name=name) for name in cameras]
    plots = {
        "position [m]": STATE_FIELDS[:3], "rotation [rad]": STATE_FIELDS[3:6],
        "closedness": STATE_FIELDS[6:],
    }
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Spatial3DView(origin="world", name="hand and its path"),
            rrb.Vertical(
                rrb.Horizontal(*views),
                *(
                    rrb.TimeSeriesView(
                        origin="state", name=name, contents=[f"$origin/{f}" for f in fields]
                    )
                    for name, fields in plots.items()
                ),
            ),
        ),
        collapse_panels=True,
    )
