"""Commands: a verb is a file, its ``Settings`` beside ``run``.

``worldmodel robot run`` is ``commands/robot/run.py``; the first line of a file is what the command
does.  Benchmarks are files of ``benchmarks/``, in a checkout.
"""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent
BENCHMARKS = HERE.parents[1] / "benchmarks"
SECTIONS = {
    "data": (
        "collect", "import", "export", "data info", "data show", "data check",
        "data repair", "data split", "data camera",
    ),
    "training": ("pretrain", "encode", "train", "lewm", "probe", "convert", "push"),
    "planning": ("plan", "evaluate", "calibrate"),
    "what a model knows": ("diagnose", "replay", "info", "parity"),
    "a real arm": (
        "robot serve", "robot arm", "robot check", "robot camera", "robot goal", "robot collect",
        "robot run", "robot page", "robot sim", "robot hil", "robot trials",
    ),
    "speed": ("bench planner", "bench encoder", "bench data", "bench sim", "bench train"),
    "beside others": ("bench field",),
}
NAMES = tuple(name for names in SECTIONS.values() for name in names)
GROUPS = ("data", "robot", "bench")  # first words of two-word commands


def module_of(name: str) -> ModuleType:
    """The file of a command, imported; ``ValueError`` for a benchmark outside a checkout."""
    match name:
        case "collect":
            from arm_worldmodel.commands import collect as found
        case "import":
            from arm_worldmodel.commands import import_ as found
        case "export":
            from arm_worldmodel.commands import export as found
        case "data info":
            from arm_worldmodel.commands.data import info as found
        case "data show":
            from arm_worldmodel.commands.data import show as found
        case "data check":
            from arm_worldmodel.commands.data import check as found
        case "data repair":
            from arm_worldmodel.commands.data import repair as found
        case "data split":
            from arm_worldmodel.commands.data import split as found
        case "data camera":
            from arm_worldmodel.commands.data import camera as found
        case "pretrain":
            from arm_worldmodel.commands import pretrain as found
        case "encode":
            from arm_worldmodel.commands import encode as found
        case "train":
            from arm_worldmodel.commands import train as found
        case "lewm":
            from arm_worldmodel.commands import lewm as found
        case "probe":
            from arm_worldmodel.commands import probe as found
        case "convert":
            from arm_worldmodel.commands import convert as found
        case "push":
            from arm_worldmodel.commands import push as found
        case "plan":
            from arm_worldmodel.commands import plan as found
        case "evaluate":
            from arm_worldmodel.commands import evaluate as found
        case "calibrate":
            from arm_worldmodel.commands import calibrate as found
        case "diagnose":
            from arm_worldmodel.commands import diagnose as found
        case "replay":
            from arm_worldmodel.commands import replay as found
        case "info":
            from arm_worldmodel.commands import info as found
        case "parity":
            from arm_worldmodel.commands import parity as found
        case "robot serve":
            from arm_worldmodel.commands.robot import serve as found
        case "robot arm":
            from arm_worldmodel.commands.robot import arm as found
        case "robot check":
            from arm_worldmodel.commands.robot import check as found
        case "robot camera":
            from arm_worldmodel.commands.robot import camera as found
        case "robot goal":
            from arm_worldmodel.commands.robot import goal as found
        case "robot collect":
            from arm_worldmodel.commands.robot import collect as found
        case "robot run":
            from arm_worldmodel.commands.robot import run as found
        case "robot page":
            from arm_worldmodel.commands.robot import page as found
        case "robot sim":
            from arm_worldmodel.commands.robot import sim as found
        case "robot hil":
            from arm_worldmodel.commands.robot import hil as found
        case "robot trials":
            from arm_worldmodel.commands.robot import trials as found
        case _:
            found = _benchmark(name)
    return found


def _benchmark(name: str) -> ModuleType:
    if not BENCHMARKS.is_dir():
        raise ValueError(
            f"'{name}' runs in a checkout of the source; benchmarks/ is not installed"
        )
    sys.path.insert(0, str(BENCHMARKS.parent))
    return import_module(f"benchmarks.{name.removeprefix('bench ')}")


def file_of(name: str) -> Path:
    """Where a command is written."""
    if name.startswith("bench "):
        return BENCHMARKS / f"{name.removeprefix('bench ')}.py"
    word = "import_" if name == "import" else name.replace(" ", "/")
    return HERE / f"{word}.py"


def summary(name: str) -> str:
    """What a command does: the first line of its file, which is not imported for it."""
    path = file_of(name)
    if not path.is_file():
        return "in a checkout of the source only"
    return (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
