"""Off-screen rendering, and what to do where there is none."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module has no type stubs)

from __future__ import annotations

import contextlib

import mujoco

from sims import NO_PICTURES

ADVICE = (
    "install libegl1 and libgl1 (`make setup` does), or install libosmesa6 and set MUJOCO_GL=osmesa"
)


class RenderingUnavailable(OSError):
    """No OpenGL context could be made."""


class _Renderer(mujoco.Renderer):
    def __del__(self) -> None:
        # Another thread may still hold its context; that is then freed when this lets go of it.
        with contextlib.suppress(Exception):  # GL loaders raise many types
            super().__del__()


def make_renderer(model: mujoco.MjModel, side: int, fast: bool) -> mujoco.Renderer:
    """Renderer of square images; ``fast``: no shadows, reflections, haze or sky."""
    if NO_PICTURES:
        raise RenderingUnavailable(f"no OpenGL ({NO_PICTURES}); {ADVICE}")
    try:
        renderer = _Renderer(model, side, side)
    except Exception as error:  # GL loaders raise many types
        raise RenderingUnavailable(f"no OpenGL context ({error}); {ADVICE}") from error
    if fast:
        flag = mujoco.mjtRndFlag
        for off in (flag.mjRND_SHADOW, flag.mjRND_REFLECTION, flag.mjRND_HAZE, flag.mjRND_SKYBOX):
            renderer.scene.flags[int(off)] = 0
    return renderer
