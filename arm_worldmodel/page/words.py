"""The arm's state and its faults in words, and what to do about them."""

from __future__ import annotations

from dataclasses import dataclass

from robots.link import Inbox

LATE_S = 1.0  # without news, the arm or the camera is said to be silent
RECOVER = "Look at the arm, remove the cause, then Recover and Resume."
DO = {  # by the code of a fault; docs/robot.md, "When it fails"
    "stopped": "When it is safe, Recover, look at the arm, Resume.",
    "second_publisher": "Stop the other node or planner; a killed one is counted for up to 20 s.",
    "stale_image": "Look after the camera's driver and the network; `worldmodel robot check`.",
    "stale_pose": "Look after the arm's driver and the network; `worldmodel robot check`.",
    "stale_gripper": "Look after the gripper's driver; `worldmodel robot check`.",
    "camera_lost": "Look after the camera and its cable, then start the page again.",
    "frozen_image": "Start the camera's driver again; is the hand in the picture?",
    "clock_jump": "Synchronise the clocks (chrony, PTP), then Recover and Resume.",
    "wrong_frame": "Set limits.frame, or the frame in the arm's driver.",
    "outside_workspace": "Guide the hand inside, or set the workspace; then Recover and Resume.",
    "keep_out": "Guide the hand out of the keep-out box; then Recover and Resume.",
    "not_following": "Is the hand blocked, the controller off, or its stiffness too low?",
    "arm_stopped": "Look at the arm: what did it touch?  Recover clears its reflex, too.",
    "turned_too_far": "Guide the hand upright, or set limits.pointing.",
    "gripper_refused": "Home the gripper in Desk; Recover asks it again.",
    "wrong_tool": "Set the end effector in Desk, or tool.*.",
    "stalled": "Set points came late: give bridge and arm's driver real-time priority.",
    "jump": "Set points jumped away from the hand; then Recover and Resume.",
    "loop_stalled": "The loop's machine is overloaded: give it real-time priority.",
    "planner_gone": "Start the page again.",
}


@dataclass(frozen=True)
class Told:
    """``kind``: "lost", "waiting", "fault", "silent", "moving" or "rest"; a sentence; the code of
    the fault; and what to do."""

    kind: str
    text: str
    code: str = ""
    do: str = ""


def state_of(inbox: Inbox, now: float) -> Told:
    """What the arm's loop says of itself at ``now`` [s, clock of its stamps]; what is worst comes
    first."""
    fault, reading, seen = inbox.fault, inbox.latest, inbox.image_stamp
    if inbox.lost is not None:
        return Told("lost", f"The connection to the arm is gone: {inbox.lost}", "connection_lost",
                    "Start the page again.")
    if fault is not None:
        code, message = fault
        text = message.removeprefix("fault: ")
        return Told("fault", f"The arm holds: {text}", code, DO.get(code, RECOVER))
    if reading is None:
        return Told("waiting", "Waiting for the arm: nothing was heard of it yet.", "",
                    "Is `worldmodel robot serve` running, and the arm's driver?")
    if now - reading.stamp > LATE_S:
        return Told("silent", f"No news from the arm for {now - reading.stamp:.0f} s.", "",
                    "Is `worldmodel robot serve` still running?  If the arm moves, use the red "
                    "button.")
    if seen is None or now - seen > LATE_S:
        ago = "yet" if seen is None else f"for {now - seen:.0f} s"
        return Told("silent", f"No picture {ago}.", "", DO["stale_image"])
    if reading.moving:
        return Told("moving", "The arm moves.")
    return Told("rest", "The arm is at rest and ready.")
