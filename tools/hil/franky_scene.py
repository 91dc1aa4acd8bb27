"""An FR3 with a cube and a camera behind the real Franka control interface (franky-sim, MuJoCo).

Runs in an environment of its own (tools/hil/setup.sh); nothing of ours is imported.  The arm is
served on 127.0.0.1 by the FCI protocol; the camera, the cube's pose and a topic that puts the
cube somewhere are ROS 2, as a camera driver and an operator's hands would be.
"""

import argparse
import os
import threading
import time
import xml.etree.ElementTree as ET

os.environ.setdefault("MUJOCO_GL", "egl")  # before MuJoCo is imported: there is no screen

import mujoco
import numpy as np
import rclpy
from franky_sim import SimulationServer, franka_robot_server
from franky_sim.franka_gripper_protocol import GripperCommandStatus
from franky_sim.franka_gripper_server import FrankaGripperServer
from franky_sim.franka_server import BaseCommand
from franky_sim.mujoco_simulator import MujocoSimulator
from geometry_msgs.msg import PoseStamped
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
HOME_Q = (0.0, 0.1, 0.0, -2.2, 0.0, 2.3, 0.785)  # [rad], hand over the table, pointing down
HALF_M = 0.02  # half edge of the cube
# milliseconds between two messages of the arm's state, the others as lost on the network: all of
# them take a core and a half, server and client together, and the planner needs one of two
STATE_EVERY = 2
EVERY = 80  # milliseconds of simulated time between pictures
# The view of the training scene: MuJoCo's free-camera angles around a point of the workspace.
LOOKAT_M, DISTANCE_M, AZIMUTH_DEG, ELEVATION_DEG, FOVY_DEG = (0.5, 0.0, 0.14), 0.84, 145, -28, 35


def scene() -> MujocoSimulator:
    """The FR3, a cube and a plain table top."""
    sim = MujocoSimulator()
    sim.add_robot(initial_q=HOME_Q)
    # by default a held cube creeps out of the fingers, 10 mm in 20 s (MuJoCo's modelling guide,
    # "Grasping": elliptic cones and a higher impedance of friction)
    sim.scene.find("option").attrib.update(cone="elliptic", impratio="10")
    cube = ET.SubElement(sim.worldbody, "body", name="cube", pos=f"0.5 0 {HALF_M}")
    ET.SubElement(cube, "freejoint", name="cube_joint")
    ET.SubElement(
        cube, "geom", type="box", size=f"{HALF_M} {HALF_M} {HALF_M}", rgba="0.8 0.15 0.1 1",
        mass="0.05", friction="1.5 0.01 0.001", condim="4",
    )
    ET.SubElement(  # a plain table top instead of the checkered ground
        sim.worldbody, "geom", type="box", size="0.35 0.45 0.0005", pos="0.55 0 0.0005",
        rgba="0.75 0.72 0.66 1",
    )
    return sim


class Camera(threading.Thread):
    """Renders copies of the physics, so that the control loop never waits."""

    def __init__(self, node, model: mujoco.MjModel, side: int) -> None:
        super().__init__(daemon=True)
        self.node, self.model, self.side = node, model, side
        self.data = mujoco.MjData(model)
        self.wanted, self.stamp = threading.Event(), None
        self.images = node.create_publisher(Image, "/camera/color/image_raw", BEST_EFFORT)
        self.poses = node.create_publisher(PoseStamped, "/sim/object_pose", BEST_EFFORT)
        self.address = int(model.joint("cube_joint").qposadr[0])

    def take(self, data: mujoco.MjData) -> None:
        """Copy the simulator's state, if a picture is wanted."""
        if not self.wanted.is_set():
            mujoco.mj_copyData(self.data, self.model, data)
            self.stamp = self.node.get_clock().now().to_msg()
            self.wanted.set()

    def run(self) -> None:
        """Render and publish what was copied, until the process ends."""
        _give_way()
        self.model.vis.global_.fovy = FOVY_DEG
        self.model.vis.quality.shadowsize = self.model.vis.quality.offsamples = 0
        view = mujoco.MjvCamera()
        view.lookat[:], view.distance = LOOKAT_M, DISTANCE_M
        view.azimuth, view.elevation = AZIMUTH_DEG, ELEVATION_DEG
        renderer = mujoco.Renderer(self.model, self.side, self.side)
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        while True:
            self.wanted.wait()
            renderer.update_scene(self.data, camera=view)
            picture = renderer.render()
            image = Image(height=self.side, width=self.side, encoding="rgb8", step=3 * self.side)
            image.header.stamp = self.stamp
            image._data.frombytes(picture.tobytes())
            self.images.publish(image)
            pose = PoseStamped()
            pose.header.stamp, pose.header.frame_id = self.stamp, "fr3_link0"
            place = self.data.qpos[self.address : self.address + 3]
            p = pose.pose.position
            p.x, p.y, p.z = (float(v) for v in place)
            self.poses.publish(pose)
            self.wanted.clear()


class Hand(FrankaGripperServer):
    """franky-sim's hand; a motion that is stopped is answered, too, as a real hand does, or its
    client waits for ever."""

    def stop(self, command_id: int, tcp_socket) -> None:
        """Stop the fingers."""
        if self._pending_command_id is not None:
            BaseCommand.send_response(
                self._pending_tcp_socket, self._pending_command_type, self._pending_command_id,
                GripperCommandStatus.kAborted, command_type_struct="H", status_type_struct="H",
            )
        super().stop(command_id, tcp_socket)


def _give_way() -> None:
    """Halve this thread's real-time priority, if it has one: on few cores the simulated world must
    not hold up driver and bridge, nor a picture of 20 ms the physics at 1 kHz."""
    if os.sched_getscheduler(0) == os.SCHED_FIFO:
        lower = max(1, os.sched_getparam(0).sched_priority // 2)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(lower))


def main() -> None:
    """Serve the scene until the process ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=128)
    side = parser.parse_args().side
    _give_way()
    rclpy.init()
    node = rclpy.create_node("franky_scene")
    franka_robot_server.FrankaGripperServer = Hand
    with scene() as sim, SimulationServer(sim) as server:
        camera = Camera(node, sim.model, side)
        placed = []
        node.create_subscription(PoseStamped, "/sim/place_object", placed.append, 1)
        threading.Thread(target=rclpy.spin, args=(node,), daemon=True).start()
        camera.start()
        joint = sim.model.joint("cube_joint")
        q, v = int(joint.qposadr[0]), int(joint.dofadr[0])
        print(f"serving FCI on {sim.robots[0].hostname}", flush=True)
        ticks, due = 0, time.monotonic()
        while rclpy.ok() and camera.is_alive():  # without pictures, nobody may take it for an arm
            for robot in server.robot_servers:
                robot.process_commands()
            sim.step()
            if ticks % STATE_EVERY == 0:
                for robot in server.robot_servers:
                    robot.send_state()
                    # a message's number is the time [ms] to the client; nothing public sets it
                    robot._FrankaServer__message_id += STATE_EVERY - 1
            if placed:
                p = placed.pop(0).pose.position
                sim.data.qpos[q : q + 7] = [p.x, p.y, max(p.z, HALF_M + 0.001), 1, 0, 0, 0]
                sim.data.qvel[v : v + 6] = 0
            ticks += 1
            if ticks % EVERY == 0:
                camera.take(sim.data)
            due = max(due + 0.001, time.monotonic() - 0.05)  # catch up after a short stall
            time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
