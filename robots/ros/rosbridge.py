"""A planner's connection to the bridge over rosbridge, for machines without ROS (roslibpy).

rosbridge knows no users and no passwords: whoever reaches its port commands the arm.  Only this
machine's own port is used unless that is loosened; tunnel to the robot's machine with
``ssh -L 9090:localhost:9090 robot``.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import os
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_data.pictures import picture
from robots.limits import SafetyError
from robots.link import Inbox
from robots.ros.topics import ACTION_NAMES, NODE, Sender, Topics, reading_of

try:
    import roslibpy
except ImportError as error:
    raise ImportError(
        "the rosbridge transport needs roslibpy: pip install 'arm-worldmodel[rosbridge]'"
    ) from error

ANSWER_S = 5


def check_host(host: str, allow_remote: bool) -> None:
    """Only loopback, unless told otherwise.  Raises ``ValueError``."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback and not allow_remote:
        raise ValueError(
            f"rosbridge at '{host}' is another machine, and rosbridge asks nobody for a password: "
            "tunnel it (ssh -L 9090:localhost:9090 robot) and use host=localhost, or set "
            "allow_remote=true on a network where you trust everybody"
        )


def serves_web_pages(host: str, port: int) -> bool:
    """Whether a WebSocket server opens for a page of a foreign site: by RFC 6455, section 4.1, a
    browser names the page's ``Origin``, and only the server can refuse it."""
    connection = http.client.HTTPConnection(host, port, timeout=ANSWER_S)
    try:
        connection.request("GET", "/", headers={
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Origin": "http://another-site.invalid",
        })
        return connection.getresponse().status == http.client.SWITCHING_PROTOCOLS
    except (OSError, http.client.HTTPException):
        return False  # what connects next says that nobody answers
    finally:
        connection.close()


class RosbridgeLink:
    """Needs rosbridge_server and the bridge (``worldmodel robot serve``) on the robot's side."""

    def __init__(
        self, topics: Topics, host: str = "localhost", port: int = 9090,
        allow_remote: bool = False, allow_web_pages: bool = False,
    ) -> None:
        """Raises ``ValueError`` for another machine, and for a rosbridge that serves web pages,
        unless they are allowed; ``ConnectionError`` where none answers."""
        check_host(host, allow_remote)
        if not allow_web_pages and serves_web_pages(host, port):
            raise ValueError(
                f"rosbridge at {host}:{port} also serves web pages: any page open in a browser on "
                "its machine may command the arm; start it as docs/robot.md says, or set "
                "transport.allow_web_pages=true"
            )
        self.inbox = Inbox()
        self._ros = roslibpy.Ros(host=host, port=port)
        try:
            self._ros.run(timeout=ANSWER_S)
        except Exception as error:
            self._ros.close()
            raise ConnectionError(
                f"no rosbridge answers at {host}:{port} ({error}): is rosbridge_server running?"
            ) from error
        self._found = threading.Event()  # the bridge counts a planner
        self._offset_s = 0.0  # of the robot's clock, from the stamps of its states
        image = "CompressedImage" if topics.compressed else "Image"
        self._listening = [
            self._topic(f"/{NODE}/state", "sensor_msgs/JointState", self._on_state),
            self._topic(f"/{NODE}/diagnostics", "diagnostic_msgs/DiagnosticArray", self._on_told),
            self._topic(topics.camera, f"sensor_msgs/{image}", self._on_image),
        ]
        self._sender = Sender()
        self._action: Any = None
        self._alive: Any = None
        self._ros.on("close", lambda _: self.inbox.lose("rosbridge closed the connection"))

    def _topic(self, name: str, kind: str, callback: Any) -> Any:
        topic = roslibpy.Topic(self._ros, name, kind, queue_length=1)
        topic.subscribe(callback)
        return topic

    def _on_state(self, message: dict[str, Any]) -> None:
        stamp = _seconds(message)
        self._offset_s = stamp - time.time()
        try:
            self.inbox.reading(reading_of(SimpleNamespace(**message), stamp))
        except SafetyError as error:
            self.inbox.lose(str(error))

    def _on_told(self, message: dict[str, Any]) -> None:
        status = message["status"][0]
        values = {v["key"]: v["value"] for v in status["values"]}
        self.inbox.status(
            values["code"], status["message"], values["state"] == "fault", values["refusal"]
        )
        if values.get("planners", "0") != "0":
            self._found.set()
        else:
            self._found.clear()

    def _on_image(self, message: dict[str, Any]) -> None:
        def decode() -> NDArray[np.uint8]:
            data = base64.b64decode(message["data"])
            return picture(SimpleNamespace(**{**message, "data": data}))

        self.inbox.image(_seconds(message), decode)

    def now(self) -> float:
        """The robot's clock, as its last state told it; this machine's need not agree."""
        return time.time() + self._offset_s

    def send(self, action: NDArray[np.float64], planned_on: float) -> None:
        """Send an action [7] with the stamp [s] of the picture it was planned on."""
        if self._action is None:
            self._action = roslibpy.Topic(self._ros, f"/{NODE}/action", "sensor_msgs/JointState")
            self._alive = roslibpy.Topic(self._ros, f"/{NODE}/alive", "std_msgs/Int64")
            self._action.advertise()
            self._alive.advertise()
            self._wait_for_bridge()
        self._action.publish(roslibpy.Message({
            "header": {
                "stamp": {"sec": int(planned_on), "nanosec": int(1e9 * (planned_on % 1))},
                "frame_id": "",
            },
            "name": [*ACTION_NAMES], "position": self._sender.positions(action),
            "velocity": [], "effort": [],
        }))

    def _wait_for_bridge(self) -> None:
        """An action published before the bridge has found its planner is lost; its diagnostics
        say when it has."""
        self._found.wait(ANSWER_S)

    def alive(self) -> None:
        """Tell the loop that the planner lives."""
        if self._alive is not None:
            self._alive.publish(roslibpy.Message({"data": self._sender.planner}))

    def release(self) -> None:
        """Stop commanding, so that another planner may."""
        for topic in (self._action, self._alive):
            if topic is not None:
                topic.unadvertise()
        self._action = self._alive = None

    def call(self, service: str) -> tuple[bool, str]:
        """Call ``stop``, ``recover`` or ``resume``: whether it was done, and what was said."""
        asked = roslibpy.Service(self._ros, f"/{NODE}/{service}", "std_srvs/Trigger")
        done, answers = threading.Event(), []

        def take(answer: Any) -> None:
            answers.append(answer)
            done.set()

        asked.call(roslibpy.ServiceRequest(), take, take)
        if not done.wait(ANSWER_S):
            return False, f"the bridge did not answer {service} within {ANSWER_S} s"
        answer = answers[0]
        if not hasattr(answer, "get"):
            return False, str(answer)
        return bool(answer.get("success")), str(answer.get("message", ""))

    def close(self) -> None:
        """Close the connection."""
        self.release()
        for topic in self._listening:
            topic.unsubscribe()
        self._ros.close()


def _seconds(message: dict[str, Any]) -> float:
    stamp = message["header"]["stamp"]
    return stamp["sec"] + 1e-9 * stamp["nanosec"]
