"""A rerun viewer on this machine that only this machine reaches."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Sequence

PORT = 9876  # rerun's own


def open_viewer(
    port: int = PORT, options: Sequence[str] = ("--hide-welcome-screen",)
) -> subprocess.Popen[bytes] | None:
    """Start one that goes on when this process ends; None where one runs already.

    ``rerun.spawn`` has no choice of address, and the viewer's own is every one of the machine's.
    """
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return None
    return subprocess.Popen(
        [sys.executable, "-m", "rerun", "--bind", "127.0.0.1", "--port", str(port), *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
