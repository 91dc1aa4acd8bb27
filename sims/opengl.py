"""The OpenGL that MuJoCo draws with, chosen before MuJoCo is loaded.

MuJoCo loads it when it is imported, and fails where it is missing.  What draws nothing needs none,
so there MuJoCo is loaded without, and the first picture says what to install.
"""

from __future__ import annotations

import ctypes
import os

# By MUJOCO_GL: libraries that must be there, each of which may have other names.
LIBRARIES = {
    "egl": (("libEGL.so.1",), ("libOpenGL.so.0", "libGL.so.1")),
    "osmesa": (("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"),),
}
OFF = ("disable", "disabled", "off", "false", "0")
WINDOWS = ("", "glfw", "glx", "enable", "enabled", "on", "true", "1")  # MuJoCo itself says more


def choose() -> str:
    """Set MUJOCO_GL to egl where it is not set, and to off where it cannot be met.  Returns why
    there can be no pictures, or ''."""
    wanted = os.environ.setdefault("MUJOCO_GL", "egl").lower().strip()
    if wanted in WINDOWS:
        return ""
    if wanted in OFF:
        return f"MUJOCO_GL={wanted}"
    why = ""
    if wanted not in LIBRARIES:
        why = f"MUJOCO_GL={wanted} is none of {', '.join((*LIBRARIES, 'glfw', 'off'))}"
    for names in LIBRARIES.get(wanted, ()):
        if not any(_loads(name) for name in names):
            why = why or f"{names[0]} cannot be loaded"
    if why:
        os.environ["MUJOCO_GL"] = OFF[0]
    return why


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
