"""What listens, listens on this machine only; what others may have sent is fit to be shown."""

import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import processes
import pytest

from robot_data import live_view
from robots.checkup import Check

LOOPBACK = "0100007F"  # 127.0.0.1 in /proc/net


def bound(protocol):
    """Local address and port of every socket of this machine."""
    lines = Path(f"/proc/net/{protocol}").read_text().splitlines()[1:]
    for line in lines:
        address, port = line.split()[1].split(":")
        yield address, int(port, 16)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_the_viewer_listens_on_this_machine_only(machine):
    port = free_port()
    viewer = live_view.open_viewer(port, ("--serve-grpc",))  # as it is, but without a window
    assert viewer is not None
    try:
        found = machine.until("a viewer", lambda: [
            address for kind in ("tcp", "tcp6") for address, number in bound(kind) if number == port
        ], 30.0)
        assert found == [LOOPBACK]
        assert live_view.open_viewer(port) is None  # it runs already
    finally:
        processes.end(viewer)


ROS = """
import signal
from robots.connect import open_ros
open_ros("localhost")
import rclpy
rclpy.init()
signal.signal(signal.SIGTERM, signal.SIG_DFL)  # rclpy's own handler ends no pause
node = rclpy.create_node("listener")
print("up", flush=True)
signal.pause()
"""


def test_ros_2_hears_this_machine_only(monkeypatch):
    pytest.importorskip("rclpy", reason="ROS 2 is not installed")
    from cell import domain

    for name in ("ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        monkeypatch.delenv(name, raising=False)
    with domain() as number:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
        first = 7400 + 250 * number  # RTPS 2.2, section 9.6.1: ports of a domain
        with processes.started(
            [sys.executable, "-c", ROS], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            found = [address for address, port in bound("udp") if first <= port < first + 250]
    assert len(found) >= 2
    assert set(found) == {LOOPBACK}


@contextmanager
def web_socket(refuses_pages):
    """Answers the opening of a WebSocket, as rosbridge does with and without a check."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            origins.append(self.headers["Origin"])
            self.send_response(403 if refuses_pages and self.headers["Origin"] else 101)
            self.end_headers()

        def log_message(self, *_):
            pass

    origins = []
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port, origins
        finally:
            server.shutdown()
            thread.join()


def test_injection_a_rosbridge_that_serves_web_pages_is_refused():
    pytest.importorskip("roslibpy")
    from robots.ros.rosbridge import RosbridgeLink, serves_web_pages
    from robots.ros.topics import Topics

    with web_socket(refuses_pages=False) as (port, origins):
        with pytest.raises(ValueError, match=r"any page .* may command the arm"):
            RosbridgeLink(Topics(), port=port)
        assert origins == ["http://another-site.invalid"]
    with web_socket(refuses_pages=True) as (port, _):
        assert not serves_web_pages("127.0.0.1", port)
    assert not serves_web_pages("127.0.0.1", free_port())  # nobody: connecting says so


def test_names_of_foreign_nodes_cannot_forge_lines_of_the_check():
    assert Check("pose", False, "evil\x1b[2J\nok   pose: fine").text.isprintable()
