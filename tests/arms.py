"""Simulated arms that fail, and a link to one.  Their processes import this file, so it imports
nothing that they do not need."""

from functools import partial

from arm_worldmodel.simulated_arm import SIM_HZ, SimulatedArm
from robots.limits import Limits, SafetyError
from robots.local.camera import CameraConfig
from robots.local.link import LocalLink
from robots.local.process import ArmProcessConfig
from sims.config import ArmConfig
from sims.make import arm_for

CARD = "testsrc2=size=320x240:rate=15"


class Breaks(SimulatedArm):
    """Its connection fails a while after the first set point."""

    def follow(self, pose):
        super().follow(pose)
        if self._ticks > 20:
            raise OSError("the cable came out")


class Trips(SimulatedArm):
    """Has a reflex after the first set point, until it is recovered."""

    tripped = cleared = False

    def follow(self, pose):
        super().follow(pose)
        self.tripped = True

    def reflex(self):
        return "collision" if self.tripped and not self.cleared else ""

    def recover(self):
        self.cleared = True


class Refuses(SimulatedArm):
    """Its gripper does not take the first command."""

    refused = False

    def grip(self, closedness):
        if not self.refused:
            self.refused = True
            raise SafetyError("gripper_refused", "the gripper is not homed")
        super().grip(closedness)


def missing():
    raise ConnectionError("no arm answers at nowhere")


def open_link(folder, kind=SimulatedArm, card=f"{CARD},realtime", limits=None, link=LocalLink):
    return link(
        partial(kind, "mujoco", arm_for(ArmConfig(), "reach"), 100_003, folder),
        CameraConfig(card, "lavfi"),
        ArmProcessConfig(
            tick_hz=SIM_HZ, fault_log=str(folder / "faults.jsonl"), limits=limits or Limits()
        ),
    )
