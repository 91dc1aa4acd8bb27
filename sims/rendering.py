"""Off-screen rendering, and what to do where there is none."""

# pyright: reportAttributeAccessIssue=false
# (MuJoCo's compiled module has no type stubs)

from __future__ import annotations

import mujoco


class RenderingUnavailable(OSError):
    """No OpenGL context could be made."""


def make_renderer(model: mujoco.MjModel, side: int, fast: bool) -> mujoco.Renderer:
    """Renderer of square images; ``fast``: no shadows, reflections, haze or sky."""
    try:
        renderer = mujoco.Renderer(model, side, side)
    except Exception as error:  # GL loaders raise many types
        raise RenderingUnavailable(
            f"no OpenGL context ({error}); install libegl1 and libgl1 (`make setup` does) "
            "or set MUJOCO_GL=osmesa"
        ) from error
    if fast:
        flag = mujoco.mjtRndFlag
        for off in (flag.mjRND_SHADOW, flag.mjRND_REFLECTION, flag.mjRND_HAZE, flag.mjRND_SKYBOX):
            renderer.scene.flags[int(off)] = 0
    return renderer
