"""Connect an arm of your own: a driver of eight methods, behind our limits and watchdogs.

The driver runs in a process of its own.  This arm is a point that goes where it is told, and the
camera is FFmpeg's test card; with yours, put in your controller and /dev/video0.
"""

import sys
import time

import numpy as np

import arm_worldmodel as awm


class PointArm:
    """Tool pose [6] in the base frame (m, rad) and gripper closedness (0 open, 1 closed)."""

    def __init__(self) -> None:
        self.pose, self.closedness = np.array([0.5, 0, 0.3, np.pi, 0, 0]), 0.0

    def sense(self):
        """Measured pose and closedness, at once."""
        return self.pose.copy(), self.closedness

    def measured_at(self):
        """Time of that measurement [s], by the arm's own clock: it tells old states from new."""
        return time.monotonic()

    def follow(self, pose):
        """A set point, 100 times a second: smooth, and within the limits already."""
        self.pose = np.array(pose)

    def grip(self, closedness):
        """Start moving the fingers."""
        self.closedness = closedness

    def image(self):
        """None: the camera has a driver of its own."""

    def reflex(self):
        """Why the arm stopped by itself, or nothing."""
        return ""

    def recover(self):
        """Make it obey again after a reflex."""

    def close(self):
        """The connection ends."""


class Across:
    """2 cm to the side in every step."""

    def reset(self, goals, seed):
        """Goal images are not looked at."""

    def act(self, observation):
        """An action [7]."""
        return awm.Decision(action=np.array([0, 0.02, 0, 0, 0, 0, 0]))


if __name__ == "__main__":  # the driver's process imports this file, too
    folder = sys.argv[1] if len(sys.argv) > 1 else "outputs/examples"
    card = awm.CameraConfig("testsrc2=size=320x240:rate=15,realtime", "lavfi")
    env = awm.connect(PointArm, card, fault_log=f"{folder}/faults.jsonl")
    before = env.reset()[0]["state"]
    goal = np.zeros((128, 128, 3), np.uint8)
    print(awm.run(env, Across(), episodes=1, goals=[goal], max_steps=3))
    moved = env.reset()[0]["state"] - before
    env.close()
    print(f"moved {100 * moved[1]:.1f} cm across")
