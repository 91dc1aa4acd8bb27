"""A planner's connection to an arm on this machine, without ROS: ``robots.local.process`` and a
camera."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robots.driver import ArmDriver
from robots.link import SERVICES, Inbox, Reading
from robots.local.camera import Camera, CameraConfig
from robots.local.process import LARGEST, ArmProcessConfig, run_arm_process

OPEN_S, ANSWER_S = 60.0, 10.0  # an arm's recovery may take seconds


class LocalLink:
    """Starts the arm's process and the camera; ``close`` ends both."""

    def __init__(
        self, open_driver: Callable[[], ArmDriver], camera: CameraConfig,
        config: ArmProcessConfig | None = None,
    ) -> None:
        """open_driver: picklable, called in the arm's process.  Raises ``ConnectionError`` if the
        arm or the camera does not open."""
        self.inbox = Inbox()
        self._answers: dict[str, queue.Queue[tuple[bool, str]]] = {
            name: queue.Queue() for name in SERVICES
        }
        self._wire, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._camera: Camera | None = None
        self._closing = False
        self._sequence = 0
        context = multiprocessing.get_context("spawn")  # a copy of the planner's threads is unsafe
        self._process = context.Process(
            target=run_arm_process, args=(theirs, open_driver, config or ArmProcessConfig()),
            name="arm", daemon=True,
        )
        self._process.start()
        theirs.close()
        try:
            self._wait_until_open()
            self._camera = Camera(camera, self._on_image, self._on_camera_lost)
        except BaseException:
            self._end()
            raise
        self._thread = threading.Thread(target=self._listen, name="arm", daemon=True)
        self._thread.start()

    def _wait_until_open(self) -> None:
        self._wire.settimeout(OPEN_S)
        try:
            data = self._wire.recv(LARGEST)
        except TimeoutError:
            raise ConnectionError(f"the arm did not open within {OPEN_S} s") from None
        self._wire.settimeout(None)
        message = json.loads(data) if data else {"kind": "failed", "text": "its process ended"}
        if message["kind"] == "failed":
            raise ConnectionError(f"the arm does not open: {message['text']}")

    def _listen(self) -> None:
        while True:
            try:
                data = self._wire.recv(LARGEST)
            except ConnectionResetError:  # told once, and before what the process had still sent
                continue
            except OSError:
                data = b""
            if not data:
                if not self._closing and self.inbox.lost is None:
                    self.inbox.lose("the arm's process ended; see its messages on the terminal")
                return
            self._take(json.loads(data))

    def _take(self, message: dict[str, Any]) -> None:
        match message.pop("kind"):
            case "reading":
                message["state"] = np.array(message["state"])
                for name in ("commanded", "taken"):
                    message[name] = np.array(message[name])
                self.inbox.reading(Reading(**message))
            case "status":
                self.inbox.status(**message)
            case "lost":
                self.inbox.lose(f"the arm's driver failed: {message['text']}")
            case "answer":
                self._answers[message["to"]].put((message["done"], message["text"]))

    def _on_image(
        self, stamp: float, content: int, decode: Callable[[], NDArray[np.uint8]]
    ) -> None:
        self._send(kind="image", stamp=stamp, content=content)
        self.inbox.image(stamp, decode)

    def _on_camera_lost(self, why: str) -> None:
        self._send(kind="fault", code="camera_lost", message=why)

    def _send(self, **message: Any) -> None:
        with contextlib.suppress(OSError):  # the arm's process is gone: the listener says so
            self._wire.send(json.dumps(message).encode())

    # -- robots.link.Link --------------------------------------------------------------------

    def now(self) -> float:
        """The clock of the loop's stamps [s]."""
        return time.time()

    def send(self, action: NDArray[np.float64], planned_on: float) -> None:
        """Send an action [7] with the stamp [s] of the picture it was planned on."""
        self._sequence += 1
        self._send(
            kind="action", action=[float(v) for v in action], planned_on=planned_on,
            sequence=self._sequence,
        )

    def alive(self) -> None:
        """Tell the loop that the planner lives."""
        self._send(kind="alive")

    def release(self) -> None:
        """Nothing: there is no other planner."""

    def call(self, service: str) -> tuple[bool, str]:
        """Call ``stop``, ``recover`` or ``resume``: whether it was done, and what was said."""
        answers = self._answers[service]
        with contextlib.suppress(queue.Empty):  # of a call that was given up
            while True:
                answers.get_nowait()
        self._send(kind=service)
        try:
            return answers.get(timeout=ANSWER_S)
        except queue.Empty:
            return False, f"the arm's process did not answer {service} within {ANSWER_S} s"

    def close(self) -> None:
        """End the arm's process, which brakes first."""
        self._end()
        self._thread.join()

    def _end(self) -> None:
        self._closing = True
        if self._camera is not None:
            self._camera.close()
        self._send(kind="close")
        self._process.join(10.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._wire.close()
