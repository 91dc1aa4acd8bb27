"""Is the cell ready?  Judgements of what was heard from its topics; no ROS here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robots.limits import Limits, SafetyError, loosened, printable
from robots.safety import check_frame, check_pose, in_workspace

POSE_HZ, JOINT_HZ, IMAGE_HZ = 20.0, 10.0, 4.0  # least rates
DARK, FLAT = 8.0, 4.0  # mean and spread of grey levels below which a picture shows nothing
AS_IT_COMES = "as it comes"  # a picture, beside the same one changed in some way
# a hand read further off than this, and much nearer in the picture changed in some way, is seen by
# a camera that is set up wrong
DOUBTFUL_M, MUCH_NEARER = 0.05, 0.5


@dataclass(frozen=True)
class Check:
    """One line of the check: its name, whether it is well, what was found."""

    name: str
    ok: bool
    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", printable(self.text))  # quotes names of foreign nodes


@dataclass
class StreamReport:
    """What came on one topic within the time listened.  stamps and arrivals [s]; reliability of
    each publisher, "reliable" or "best effort"."""

    topic: str
    seconds: float
    stamps: list[float] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)
    publishers: list[str] = field(default_factory=list)
    reliability: list[str] = field(default_factory=list)


@dataclass
class CellReport:
    """Findings of what was heard, and the last of it: pictures, and pose (position, quaternion)."""

    findings: list[Check]
    pictures: list[NDArray[np.uint8]]
    pose: tuple[list[float], list[float]] | None


def judge_stream(heard: StreamReport, least_hz: float, limits: Limits) -> Check:
    """Publishers, rate, age and clock of a topic that should come at ``least_hz`` or more."""
    topic = heard.topic
    if not heard.publishers:
        return Check(topic, False, "nobody publishes it: is the driver running, is the name "
                     "right (topics.*), the same ROS_DOMAIN_ID?")
    if not heard.stamps:
        return Check(topic, False, f"published by {', '.join(heard.publishers)}, but nothing "
                     "arrives: discovery range, firewall or message type")
    rate = len(heard.stamps) / heard.seconds
    age = np.subtract(heard.arrivals, heard.stamps)
    told = (
        f"{rate:.0f} Hz, age {1e3 * float(np.median(age)):.0f} ms median, "
        f"{1e3 * float(np.max(age)):.0f} ms most, {heard.reliability[0]}"
    )
    if rate < least_hz:
        return Check(topic, False, f"{told}; expected at least {least_hz:.0f} Hz")
    if float(np.median(age)) < -limits.clock_jump_s:
        return Check(topic, False, f"{told}: stamped in the future; synchronise the clocks "
                     "(chrony, PTP)")
    if float(np.max(age)) > limits.stale_s:
        return Check(topic, False, f"{told}; older than limits.stale_s = {limits.stale_s}: "
                     "synchronise the clocks, or use a wired network")
    if len(heard.publishers) > 1:
        return Check(topic, False, f"{told}; {len(heard.publishers)} publishers: "
                     f"{', '.join(heard.publishers)}; stop all but one")
    return Check(topic, True, told)


def judge_command(topic: str, publishers: Sequence[str], listeners: Sequence[str]) -> Check:
    """A topic we publish: who else does, and whether anybody listens."""
    others = [name for name in publishers if not name.endswith("worldmodel_bridge")]
    if others:
        return Check(topic, False, f"{', '.join(others)} publishes it too; only the bridge may")
    if not listeners:
        return Check(topic, False, "nobody listens: is the arm's controller running, and the "
                     "name right?")
    return Check(topic, True, f"heard by {', '.join(listeners)}")


def judge_pose(
    position: Sequence[float], quaternion: Sequence[float], frame: str, limits: Limits
) -> Check:
    """The measured pose: frame, unit quaternion, workspace."""
    try:
        check_frame(frame, limits)
        pose = check_pose(position, quaternion)
    except SafetyError as error:
        return Check("pose", False, str(error))
    place = f"hand at {np.round(pose[:3], 3)} m in {frame}"
    if not in_workspace(pose[:3], limits):
        return Check("pose", False, f"{place}, outside the workspace {limits.workspace_low_m} to "
                     f"{limits.workspace_high_m}: guide it inside")
    return Check("pose", True, place)


def judge_gripper(closedness: float) -> Check:
    """Closedness must lie between 0 and 1."""
    if not -0.05 <= closedness <= 1.05:
        return Check("gripper", False, f"closedness {closedness:.2f}, expected 0 to 1: set "
                     "gripper.open_value and gripper.closed_value")
    return Check("gripper", True, f"closedness {closedness:.2f} (0 open, 1 closed)")


def judge_pictures(pictures: Sequence[NDArray[np.uint8]], side: int) -> Check:
    """That the camera shows something, and is large enough to crop ``side`` from."""
    height, width = pictures[-1].shape[:2]
    size = f"{width} x {height}, the centre {min(height, width)} px square goes to {side} x {side}"
    grey = pictures[-1].mean(axis=2)
    if grey.mean() < DARK or grey.std() < FLAT:
        return Check("camera", False, f"{size}; it shows nothing (mean {grey.mean():.0f}, spread "
                     f"{grey.std():.0f} of 255): lens cap, exposure, light?")
    if min(height, width) < side:
        return Check("camera", False, f"{size}: smaller than the model's pictures; raise its "
                     "resolution")
    return Check("camera", True, size)


def judge_view(reads: Mapping[str, NDArray[np.float64]], measured: NDArray[np.float64]) -> Check:
    """Whether the model finds the hand in the picture, which is at ``measured`` [3] m.

    reads: positions [3] m read from the picture ``AS_IT_COMES`` and from the same one changed in
    the way that the key says.
    """
    misses = {view: float(np.linalg.norm(read - measured)) for view, read in reads.items()}
    off = misses.pop(AS_IT_COMES)
    view = min(misses, key=lambda name: misses[name], default=AS_IT_COMES)
    text = f"the model reads the hand {100 * off:.1f} cm from where it is"
    if off > DOUBTFUL_M and view in misses and misses[view] < MUCH_NEARER * off:
        return Check("view", False, f"{text}; were the picture {view}, {100 * misses[view]:.1f} "
                     "cm: does the camera's driver turn it wrong?  `worldmodel robot camera "
                     "execute=true` moves the hand and tells")
    if off > 0.10:
        return Check("view", False, f"{text}: hand and base must be in the picture, nearly as in "
                     "the training data; move the camera, calibrate or fine-tune (docs/robot.md)")
    return Check("view", True, text)


def judge_limits(limits: Limits) -> Check:
    """Which limits are looser than the defaults."""
    looser = list(loosened(limits))
    return Check("limits", True, "; ".join(f"LOOSER: {line}" for line in looser)
                 or "defaults or tighter")
