"""An arm's loop and driver in a process of their own, without ROS; the planner's is apart.

They exchange datagrams of JSON over a local socket pair (``robots.local.link`` is the other end).
When the planner's process is gone, for whatever reason, the arm brakes and the process ends.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from scipy.spatial.transform import Rotation

from robots.arm_loop import ArmLoop
from robots.driver import ArmDriver
from robots.fault_log import FaultLog
from robots.limits import Limits, SafetyError, tell_looser
from robots.realtime import prefer_this_process
from robots.safety import Heartbeat
from robots.status import Setpoint, Status

LARGEST = 1 << 16  # bytes of a message
REPEAT_S = 0.5  # the status is told again
RECOVERED = "recovered: look at the arm, then call resume"
BRAKE_S = 3.0  # most that braking at the end may take


@dataclass(frozen=True)
class ArmProcessConfig:
    """control_hz: rate at which a planner is expected to act.  tick_hz: of the set points.
    fault_log: JSON lines, one a fault."""

    control_hz: float = 5.0
    tick_hz: float = 100.0
    limits: Limits = field(default_factory=Limits)
    fault_log: str = "outputs/robot/faults.jsonl"


class Clock(Protocol):
    """What the process asks of the module ``time``."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds; not set back when the time of day is."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Wait."""
        ...


class ArmProcess:
    """Loop and driver in a process of their own, beside the planner."""

    def __init__(
        self, wire: socket.socket, driver: ArmDriver, config: ArmProcessConfig,
        clock: Clock = time,
    ) -> None:
        wire.setblocking(False)
        self.wire, self.driver, self.limits = wire, driver, config.limits
        self.clock = clock
        self.loop = ArmLoop(config.limits, config.control_hz, config.tick_hz)
        self.ending = False
        self._faults = FaultLog(config.fault_log)
        self._heart = Heartbeat()
        self._gripped: float | None = None  # the last command
        self._released = False  # the driver has recovered, and nobody has called resume yet
        self._told: Status | None = None
        self._told_at = 0.0

    def run(self) -> None:
        """Until the planner's end closes, or ``ending`` is set; brakes before it returns."""
        try:
            self._run()
        finally:
            self._faults.close()

    def _run(self) -> None:
        due, until = self.clock.monotonic(), float("inf")
        while self.clock.monotonic() < until:
            self._receive()
            if self.ending and until == float("inf"):
                until = self.clock.monotonic() + BRAKE_S
                self.loop.brake()
            self._step()
            if self.ending and not self._moving():
                return
            # After a stall, go on from now: set points must not come in a burst.
            due = max(due + self.loop.period_s, self.clock.monotonic() - self.loop.period_s)
            self.clock.sleep(max(0.0, due - self.clock.monotonic()))

    def _moving(self) -> bool:
        follower = self.loop.interpolator
        return follower.ready and bool(np.abs(follower.velocity).max() > 1e-3)

    # -- the arm -----------------------------------------------------------------------------

    def _sense(self) -> None:
        pose, closedness = self.driver.sense()
        now, steady = self.clock.time(), self.clock.monotonic()
        old = steady - self._heart.seen(self.driver.measured_at(), steady)
        turn = Rotation.from_euler("xyz", pose[3:6]).as_quat()
        self.loop.pose(pose[:3], turn, self.limits.frame, now - old, now)
        self.loop.gripper(closedness, now, now)

    def _step(self) -> None:
        self._sense()
        now = self.clock.time()
        reflex = self.driver.reflex()
        self.loop.arm_says("arm", reflex, now)
        setpoint = self.loop.tick(now)
        if not self.loop.status.accepted:
            self.loop.guided(now)
        elif setpoint is not None and not reflex and not self._released:
            try:
                self._command(setpoint)
            except SafetyError as error:
                self.loop.fault(error.code, str(error), now)
        self._tell(now)

    def _command(self, setpoint: Setpoint) -> None:
        self.driver.follow(setpoint.pose)
        told = setpoint.closedness
        if told is not None and (self._gripped is None or abs(told - self._gripped) > 0.01):
            self._gripped = told
            self.driver.grip(told)

    def _recover(self) -> None:
        """First step of a recovery: nothing is commanded before the second.  Raises ``SafetyError``
        with the reason if the arm is not ready."""
        self.loop.recover(self.clock.time())  # while it brakes the driver is left alone
        if not self.loop.latch:
            return  # of nothing: the arm goes on being commanded
        self.driver.recover()
        self._released = True
        self._receive()  # pictures that came meanwhile: a real arm takes seconds
        self._sense()
        self.loop.recover(self.clock.time())

    def _resume(self) -> None:
        """Second step."""
        self.loop.resume(self.clock.time())
        self._released = False
        self._gripped = None  # what was refused is asked for again

    # -- the planner -------------------------------------------------------------------------

    def _receive(self) -> None:
        while True:
            try:
                data = self.wire.recv(LARGEST)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                if not self.ending:
                    self.loop.fault(
                        "planner_gone", "the planner's process ended", self.clock.time()
                    )
                self.ending = True
                return
            self._take(json.loads(data))

    def _take(self, message: dict[str, Any]) -> None:
        now = self.clock.time()
        match message["kind"]:
            case "action":
                self.loop.action(
                    message["action"], message["planned_on"], now, message.get("sequence")
                )
            case "alive":
                self.loop.alive(now)
            case "image":
                self.loop.image(message["stamp"], now, message.get("content"))
            case "fault":
                self.loop.fault(message["code"], message["message"], now)
            case "close":
                self.ending = True
            case "stop":
                self.loop.stop(now)
                self._answer("stop", True, "holding until recover is called")
            case "recover":
                self._try("recover", self._recover, RECOVERED)
            case "resume":
                self._try("resume", self._resume, "ready")

    def _try(self, service: str, work: Callable[[], None], done: str) -> None:
        try:
            work()
            self._answer(service, True, done)
        except Exception as error:  # drivers raise many kinds; the operator must hear of each
            self._answer(service, False, str(error))

    def _answer(self, service: str, done: bool, text: str) -> None:
        self._told = None  # the status goes first
        self._tell(self.clock.time())
        self._send(kind="answer", to=service, done=done, text=text)

    def _tell(self, now: float) -> None:
        loop, status = self.loop, self.loop.status
        state, commanded = loop.state, loop.commanded
        told = self._told
        if told is None or now > self._told_at + REPEAT_S or (
            (status.code, status.refused) != (told.code, told.refused)
        ):
            self._told, self._told_at = status, now
            self._send(
                kind="status", code=status.code, message=status.message,
                fault=status.state == "fault", refusal=status.refusal,
            )
        if state is not None and commanded is not None:
            self._send(
                kind="reading", stamp=loop.fresh["pose"].stamp, state=state.tolist(),
                commanded=commanded.tolist(), taken=loop.taken.tolist(), moving=not loop.resting,
                accepted=status.accepted, refused=status.refused, capped=status.capped,
            )
        self._faults.update(loop.latch)

    def _send(self, **message: Any) -> None:
        # A planner that does not read must not hold up the arm; states and status come again.
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self.wire.send(json.dumps(message).encode())


def run_arm_process(
    wire: socket.socket, open_driver: Callable[[], ArmDriver], config: ArmProcessConfig
) -> None:
    """The process: opens the arm, says "opened" or why not, and runs the loop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the planner, which then closes
    tell_looser(config.limits)
    prefer_this_process()
    try:
        driver = open_driver()
    except (OSError, ImportError, ValueError, RuntimeError) as error:
        wire.send(json.dumps({"kind": "failed", "text": str(error)}).encode())
        return
    try:
        wire.send(json.dumps({"kind": "opened"}).encode())
        process = ArmProcess(wire, driver, config)
        signal.signal(signal.SIGTERM, lambda *_: setattr(process, "ending", True))
        process.run()
    except Exception as error:  # drivers raise many kinds; the planner must hear of each
        with contextlib.suppress(OSError):
            wire.send(json.dumps({"kind": "lost", "text": f"{error}"}).encode())
        raise
    finally:
        driver.close()
        wire.close()
