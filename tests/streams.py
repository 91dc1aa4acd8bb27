"""Streams of an arm and of a camera, for tests of what else is late meanwhile.

python streams.py bridge COUNT: the bridge; prints when each of COUNT set points went out.
python streams.py arm: pose and fingers of an arm at rest.
python streams.py camera WIDTH HEIGHT: raw pictures, 6 a second, each with other pixels.
"""

import json
import os
import sys
import time

import numpy as np

HERE = [0.45, 0.0, 0.3, np.pi, 0.0, 0.0]


def bridge(count):
    from robots.realtime import keep_freed_memory, prefer_this_process

    keep_freed_memory()
    import rclpy

    from robots.ros.bridge import Bridge, BridgeConfig

    class Noted(Bridge):
        def _tick(self):
            if self.loop.commanded is not None:
                sent.append(time.monotonic())
            super()._tick()

    sent = []
    prefer_this_process()
    rclpy.init()
    node = Noted(BridgeConfig())
    executor = rclpy.get_global_executor()
    executor.add_node(node)
    while len(sent) < count:
        executor.spin_once()
    print(json.dumps(sent))
    node.destroy_node()
    rclpy.shutdown()


def arm():
    import rclpy
    from geometry_msgs.msg import PoseStamped
    from sensor_msgs.msg import JointState

    from robots.realtime import prefer_this_process
    from robots.ros.bridge import BEST_EFFORT
    from robots.ros.messages import pose_message

    prefer_this_process()
    rclpy.init()
    node = rclpy.create_node("arm")
    pose = node.create_publisher(PoseStamped, "/current_pose", BEST_EFFORT)
    joints = node.create_publisher(JointState, "/joint_states", BEST_EFFORT)

    def tell():
        stamp = node.get_clock().now().to_msg()
        pose.publish(pose_message(np.array(HERE), "fr3_link0", stamp))
        fingers = JointState(name=["fr3_finger_joint1"], position=[0.04])
        fingers.header.stamp = stamp
        joints.publish(fingers)

    node.create_timer(0.02, tell)
    rclpy.spin(node)


def camera(width, height):
    from robots.connect import LARGE_PICTURES

    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(LARGE_PICTURES)
    import rclpy
    from sensor_msgs.msg import Image

    from robots.ros.bridge import BEST_EFFORT
    from robots.ros.messages import image_message

    rclpy.init()
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, "/camera/color/image_raw", BEST_EFFORT)
    picture = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    stamp = node.get_clock().now().to_msg()
    messages = [image_message(picture + np.uint8(i), stamp) for i in range(2)]
    due = time.monotonic()
    while rclpy.ok():
        messages.reverse()
        messages[0].header.stamp = node.get_clock().now().to_msg()
        publisher.publish(messages[0])
        due += 1 / 6
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    {"arm": arm, "bridge": bridge, "camera": camera}[sys.argv[1]](*map(int, sys.argv[2:]))
