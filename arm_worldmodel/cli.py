"""``worldmodel <command> key=value ...``

A command is a file in ``arm_worldmodel/commands``: its ``Settings`` beside ``run``, and its first
line is what it does.  Benchmarks are files of ``benchmarks/``, in a checkout.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from types import ModuleType

from configs.settings import load
from robots.limits import SafetyError
from sims.rendering import RenderingUnavailable

HERE = Path(__file__).parent / "commands"
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# name: module; imported when the command runs
COMMANDS = {
    name: f"arm_worldmodel.commands.{module}"
    for name, module in {
        "collect": "collect", "import": "import_", "export": "export",
        "data info": "data.info", "data check": "data.check", "data repair": "data.repair",
        "data split": "data.split",
        "pretrain": "pretrain", "encode": "encode", "train": "train", "probe": "probe",
        "plan": "plan", "evaluate": "evaluate", "calibrate": "calibrate",
        "diagnose": "diagnose", "replay": "replay",
        "robot serve": "robot.serve", "robot sim": "robot.sim", "robot arm": "robot.arm",
        "robot hil": "robot.hil", "robot trials": "robot.trials", "robot check": "robot.check",
        "robot goal": "robot.goal", "robot collect": "robot.collect", "robot run": "robot.run",
        "parity": "parity", "info": "info",
    }.items()
} | {
    f"bench {name}": f"benchmarks.{name}"
    for name in ("planner", "encoder", "data", "sim", "train")
}


def summary(name: str) -> str:
    """What a command does: the first line of its file, which is not imported for it."""
    group, _, rest = COMMANDS[name].partition(".")
    folder = BENCHMARKS if group == "benchmarks" else HERE
    path = folder / (rest.removeprefix("commands.").replace(".", "/") + ".py")
    if not path.is_file():
        return "in a checkout of the source only"
    return (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]


def usage() -> str:
    lines = ["usage: worldmodel <command> [key=value ...]", ""]
    lines += [f"  {name:15}{summary(name)}" for name in COMMANDS]
    return "\n".join([*lines, "", "worldmodel <command> --help lists its settings"])


def command(name: str) -> ModuleType:
    """The module of a command; raises ``ValueError`` for a benchmark outside a checkout."""
    module = COMMANDS[name]
    if module.startswith("benchmarks."):
        if not BENCHMARKS.is_dir():
            raise ValueError(
                f"'{name}' runs in a checkout of the source; benchmarks/ is not installed"
            )
        sys.path.insert(0, str(BENCHMARKS.parent))
    return import_module(module)


def command_help(name: str) -> str:
    kind = command(name).Settings
    lines = [(kind.__doc__ or "").strip(), ""]
    lines += [f"  {f.name}: {f.type}" for f in fields(kind)]
    return "\n".join([*lines, "", "nested keys with dots"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 on a bad setting or bad input (one line, no traceback)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    words = 2 if " ".join(arguments[:2]) in COMMANDS else 1
    name, overrides = " ".join(arguments[:words]), arguments[words:]
    if name not in COMMANDS:
        print(f"worldmodel: unknown command '{name}'; valid: {', '.join(COMMANDS)}",
              file=sys.stderr)
        return 2
    # Errors a user can mend are ValueErrors, missing parts ImportErrors, and the like.
    try:
        if overrides and overrides[0] in ("-h", "--help"):
            print(command_help(name))
            return 0
        module = command(name)
        module.run(load(module.Settings, overrides))
    except (ValueError, ImportError, OSError, RenderingUnavailable, BrokenExecutor,
            SafetyError) as error:
        if os.environ.get("WORLDMODEL_TRACEBACK"):
            raise
        message = " ".join(str(error).split())
        print(f"worldmodel {name}: error: {message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
