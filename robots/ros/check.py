"""Listens to the topics of a cell for a while, for ``robots.checkup``."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image, JointState

from robot_data.pictures import picture
from robots.checkup import (
    IMAGE_HZ,
    JOINT_HZ,
    POSE_HZ,
    CellReport,
    StreamReport,
    judge_command,
    judge_gripper,
    judge_pose,
    judge_stream,
)
from robots.limits import Limits
from robots.ros.bridge import BEST_EFFORT
from robots.ros.closed import ClosedNode
from robots.ros.topics import GripperConfig, Topics, named, seconds


def listen(topics: Topics, gripper: GripperConfig, limits: Limits, seconds_s: float) -> CellReport:
    """What every topic carries within ``seconds_s``."""
    rclpy.init()
    node = ClosedNode("worldmodel_check")
    last: dict[str, Any] = {}
    kinds = {
        topics.current_pose: (PoseStamped, POSE_HZ), topics.joints: (JointState, JOINT_HZ),
        topics.camera: (CompressedImage if topics.compressed else Image, IMAGE_HZ),
    }
    heard = {topic: StreamReport(topic, seconds_s) for topic in kinds}
    pictures: list[NDArray[np.uint8]] = []

    def hear(topic: str, message: Any) -> None:
        if topic == topics.joints and topics.gripper_joint not in message.name:
            return
        now = node.get_clock().now().nanoseconds * 1e-9
        heard[topic].arrivals.append(now)
        heard[topic].stamps.append(seconds(message.header.stamp))
        last[topic] = message
        if topic == topics.camera:
            pictures[:] = [*pictures[-1:], picture(message)]

    try:
        for topic, (kind, _) in kinds.items():
            node.create_subscription(kind, topic, partial(hear, topic), BEST_EFFORT)
        until = time.monotonic() + 1.0  # to find each other, before rates are counted
        while time.monotonic() < until:
            rclpy.spin_once(node, timeout_sec=0.05)
        for one in heard.values():
            one.stamps.clear()
            one.arrivals.clear()
        until = time.monotonic() + seconds_s
        while time.monotonic() < until:
            rclpy.spin_once(node, timeout_sec=0.05)
        for topic, one in heard.items():
            for info in node.get_publishers_info_by_topic(topic):
                one.publishers.append(info.node_name)
                reliable = info.qos_profile.reliability == ReliabilityPolicy.RELIABLE
                one.reliability.append("reliable" if reliable else "best effort")
        commands = [topics.target_pose]
        if gripper.kind == "position":
            commands.append(topics.gripper_command)
        findings = [judge_stream(heard[t], hz, limits) for t, (_, hz) in kinds.items()]
        for topic in commands:
            findings.append(judge_command(
                topic, [i.node_name for i in node.get_publishers_info_by_topic(topic)],
                [i.node_name for i in node.get_subscriptions_info_by_topic(topic)],
            ))
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    pose = None
    if topics.current_pose in last:
        message = last[topics.current_pose]
        p, q = message.pose.position, message.pose.orientation
        pose = ([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])
        findings.append(judge_pose(*pose, message.header.frame_id, limits))
    if topics.joints in last:
        value = named(last[topics.joints], (topics.gripper_joint,))[0]
        findings.append(judge_gripper(gripper.closedness(value)))
    return CellReport(findings, pictures, pose)
