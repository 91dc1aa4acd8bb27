"""A headless browser for tests, driven over its DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import io
import itertools
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import processes
import pytest
from PIL import Image
from this_machine import Machine
from websockets.sync.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium; `sh tools/system-packages.sh tests` installs it"
)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--enable-logging=stderr",
)
ANSWER_S = 60.0


class Tab:
    """One page.  ``log``: what it threw, and what its console and the browser complained of."""

    def __init__(self, wire: ClientConnection, machine: Machine) -> None:
        self._wire, self.machine = wire, machine
        self._numbers = itertools.count(1)
        self.log: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        number = next(self._numbers)
        self._wire.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            told = json.loads(self._wire.recv(timeout=self.machine.seconds(ANSWER_S)))
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]
            if told.get("method") == "Runtime.exceptionThrown":
                self.log.append(json.dumps(told["params"]["exceptionDetails"])[:500])
            if told.get("method") == "Log.entryAdded":
                self.log.append(told["params"]["entry"]["text"])

    def open(self, address: str) -> None:
        self.call("Page.navigate", url=address)

    def ask(self, expression: str) -> Any:
        """The value of an expression, on the page."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def until(self, expression: str, idle_s: float = 20.0) -> Any:
        """The value of an expression, once it is true."""
        return self.machine.until(expression, lambda: self.ask(expression), idle_s, 0.05)

    def text(self, id: str) -> str:
        return str(self.ask(f"document.getElementById({json.dumps(id)})?.textContent"))

    def middle(self, id: str) -> tuple[float, float]:
        """Of an element on the screen [px]."""
        self.ask(f"document.getElementById({json.dumps(id)}).scrollIntoView({{block: 'nearest'}})")
        box = self.ask(
            f"(b => [b.x + b.width / 2, b.y + b.height / 2])"
            f"(document.getElementById({json.dumps(id)}).getBoundingClientRect())"
        )
        return box[0], box[1]

    def click(self, id: str) -> None:
        """As a hand does: where the element is, whatever lies over it."""
        self.click_at(*self.middle(id))

    def click_at(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self) -> np.ndarray:
        """What is seen, uint8 [H, W, 3]."""
        data = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@contextlib.contextmanager
def opened(profile: Path, machine: Machine) -> Iterator[Tab]:
    """A browser with one empty tab."""
    port_file = profile / "DevToolsActivePort"
    command = [
        str(CHROMIUM), *FLAGS, "--window-size=1280,900", "--remote-debugging-port=0",
        f"--user-data-dir={profile}", "about:blank",
    ]
    with processes.started(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ):
        machine.until("a browser", lambda: port_file.exists() and port_file.read_text(), 30.0)
        port = int(port_file.read_text().split()[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as told:
            (page,) = [t for t in json.load(told) if t["type"] == "page"]
        with connect(page["webSocketDebuggerUrl"], max_size=None, compression=None) as wire:
            yield Tab(wire, machine)
