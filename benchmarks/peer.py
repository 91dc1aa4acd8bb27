"""stable-worldmodel (galilai-group), which ``tools/bench/setup.sh`` puts beside the environment."""

from __future__ import annotations

import sys
import warnings
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import torch

PEER = Path(__file__).parents[1] / ".bench"
NEEDS = PEER / "field"  # what it needs beyond the environment
# What its dm_control environments need: dm_control, and the MuJoCo that goes with it, which is
# older than ours
DM_CONTROL = PEER / "dm_control"
SETUP = "sh tools/bench/setup.sh"

_kept: list[torch.library.Library] = []  # operators live as long as the object that defined them


def installed() -> bool:
    """Whether it is there."""
    return (PEER / "stable_worldmodel").is_dir() and (NEEDS / "torchvision").is_dir()


@lru_cache(maxsize=1)
def stable_worldmodel() -> ModuleType:
    """The package, imported; to be used in a process that does not fork, for it brings Lance.
    Raises ``OSError`` where it is not installed."""
    if not installed():
        raise OSError(f"stable-worldmodel is not installed: {SETUP}")
    for folder in map(str, (PEER, NEEDS)):
        if folder not in sys.path:
            sys.path.append(folder)  # last: nothing of the environment is replaced
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it names what it misses of environments not used here
        _define_operators()
        return import_module("stable_worldmodel")


def dm_control() -> None:
    """Have dm_control found, and its MuJoCo in place of ours: to be called in a process that has
    imported none.  Raises ``OSError`` where it is not installed or too late."""
    if not (DM_CONTROL / "dm_control").is_dir():
        raise OSError(f"dm_control is not installed: {SETUP}")
    there = str(DM_CONTROL)
    if there in sys.path:
        return
    if "mujoco" in sys.modules:
        raise OSError("MuJoCo is imported already; dm_control needs its own: use a new process")
    sys.path.insert(0, there)


def _define_operators() -> None:
    """Names that torchvision needs at its import and that its compiled part defines, which is made
    for another build of torch than the one without CUDA; they are never called here."""
    if hasattr(torch.ops.torchvision, "nms"):
        return
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)
