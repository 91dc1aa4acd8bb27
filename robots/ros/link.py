"""A planner's connection to the bridge over ROS 2 (rclpy)."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from numpy.typing import NDArray
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import Int64
from std_srvs.srv import Trigger

from robot_data.pictures import picture
from robots.link import Inbox
from robots.ros.bridge import BEST_EFFORT, LATCHED, RELIABLE
from robots.ros.closed import ClosedNode
from robots.ros.topics import ACTION_NAMES, NODE, Sender, Topics, reading_of, seconds

ANSWER_S = 3.0
CLOSE_S = 5.0


class RosLink:
    """Needs the bridge (``worldmodel robot serve``) in the same ROS domain."""

    def __init__(self, topics: Topics, name: str = "worldmodel_planner") -> None:
        self.inbox = Inbox()
        self.frame = ""  # in which the bridge's poses are
        self._context = Context()
        rclpy.init(context=self._context)
        self.node = ClosedNode(name, self._context)
        image = CompressedImage if topics.compressed else Image
        listen = self.node.create_subscription
        listen(JointState, f"/{NODE}/state", self._on_state, BEST_EFFORT)
        listen(DiagnosticArray, f"/{NODE}/diagnostics", self._on_diagnostics, LATCHED)
        listen(image, topics.camera, self._on_image, BEST_EFFORT)
        self._alive: Any = None
        self._action: Any = None  # made when first needed: only one node may command
        self._sender = Sender()
        self._services: dict[str, Any] = {}
        self._making = threading.Lock()
        self._service("stop")  # at hand; the others when they are called: not everybody may do that
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="ros", daemon=True)
        self._thread.start()

    def _service(self, name: str) -> Any:
        with self._making:
            if name not in self._services:
                self._services[name] = self.node.create_client(Trigger, f"/{NODE}/{name}")
            return self._services[name]

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except Exception as error:  # whatever it was, the planner must not go on blind
            self.inbox.lose(f"the ROS connection failed: {error}")
            raise

    def _on_state(self, message: JointState) -> None:
        self.frame = message.header.frame_id
        self.inbox.reading(reading_of(message, seconds(message.header.stamp)))

    def _on_diagnostics(self, message: Any) -> None:
        values = {v.key: v.value for v in message.status[0].values}
        self.inbox.status(
            values["code"], message.status[0].message, values["state"] == "fault",
            values["refusal"],
        )

    def _on_image(self, message: Image | CompressedImage) -> None:
        self.inbox.image(seconds(message.header.stamp), lambda: picture(message))

    def now(self) -> float:
        """The clock of the loop's stamps [s]."""
        return self.node.get_clock().now().nanoseconds * 1e-9

    def send(self, action: NDArray[np.float64], planned_on: float) -> None:
        """Send an action [7] with the stamp [s] of the picture it was planned on."""
        if self._action is None:
            self._action = self.node.create_publisher(JointState, f"/{NODE}/action", RELIABLE)
            self._alive = self.node.create_publisher(Int64, f"/{NODE}/alive", RELIABLE)
            self._wait_for_bridge()
        message = JointState(name=ACTION_NAMES, position=self._sender.positions(action))
        message.header.stamp.sec = int(planned_on)
        message.header.stamp.nanosec = int(1e9 * (planned_on % 1))
        self._action.publish(message)

    def _wait_for_bridge(self) -> None:
        """A message sent before the bridge has found its sender is lost."""
        until = time.monotonic() + ANSWER_S
        while not self._action.get_subscription_count() and time.monotonic() < until:
            time.sleep(0.01)

    def alive(self) -> None:
        """Tell the loop that the planner lives."""
        if self._alive is not None:
            self._alive.publish(Int64(data=self._sender.planner))

    def release(self) -> None:
        """Stop commanding, so that another planner may."""
        senders, self._action, self._alive = (self._action, self._alive), None, None
        if senders[0] is not None:
            self.destroy(*senders)

    def destroy(self, *publishers: Any) -> None:
        """Destroy publishers of the node in the thread that spins: destroyed in another, while it
        gathers what to wait for, they end it (ros2/rclpy issue 1355).  Where it has ended, or does
        not come to it, they are destroyed here: another planner is to command."""
        done = threading.Event()

        def destroy() -> None:
            for publisher in publishers:
                self.node.destroy_publisher(publisher)
            done.set()

        if self._thread.is_alive():
            self._executor.create_task(destroy)
            done.wait(ANSWER_S)
        if not done.is_set():
            destroy()

    def call(self, service: str) -> tuple[bool, str]:
        """Call ``stop``, ``recover`` or ``resume``: whether it was done, and what was said."""
        client = self._service(service)
        if not client.wait_for_service(ANSWER_S):
            return False, "the bridge does not answer: is `worldmodel robot serve` running?"
        done = threading.Event()
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda _: done.set())
        if not done.wait(ANSWER_S):
            return False, f"the bridge did not answer {service} within {ANSWER_S} s"
        answer: Any = future.result()
        return bool(answer.success), str(answer.message)

    def close(self) -> None:
        """Destroy the node."""
        self._executor.shutdown(timeout_sec=CLOSE_S)
        self._thread.join(CLOSE_S)
        self.node.destroy_node()
        self._context.try_shutdown()
