"""Off-screen rendering, and what to do where there is none."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module has no type stubs)

from __future__ import annotations

import mujoco

from sims import NO_PICTURES

ADVICE = (
    "install libegl1 and libgl1 (`make setup` does), or install libosmesa6 and set MUJOCO_GL=osmesa"
)


class RenderingUnavailable(OSError):
    """No OpenGL context could be made."""


def make_renderer(model: mujoco.MjModel, side: int, fast: bool) -> mujoco.Renderer:
    """Renderer of square images; ``fast``: no shadows, reflections, haze or sky."""
    if NO_PICTURES:
        raise RenderingUnavailable(f"no OpenGL ({NO_PICTURES}); {ADVICE}")
    try:
        renderer = mujoco.Renderer(model, side, side)
    except Exception as error:  # GL loaders raise many types
        raise RenderingUnavailable(f"no OpenGL context ({error}); {ADVICE}") from error
    if fast:
        flag = mujoco.mjtRndFlag
        for off in (flag.mjRND_SHADOW, flag.mjRND_REFLECTION, flag.mjRND_HAZE, flag.mjRND_SKYBOX):
            renderer.scene.flags[int(off)] = 0
    return renderer
