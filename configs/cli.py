"""``worldmodel <command> key=value ...``"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from importlib import import_module

from configs import commands
from sims.rendering import RenderingUnavailable

COMMANDS: dict[str, tuple[type, str]] = {
    "collect": (commands.Collect, "configs.training:run_collect"),
    "pretrain": (commands.Pretrain, "configs.training:run_pretrain"),
    "encode": (commands.Encode, "configs.training:run_encode"),
    "train": (commands.Train, "configs.training:run_train"),
    "probe": (commands.Probe, "configs.training:run_probe"),
    "plan": (commands.Plan, "configs.episodes:run_plan"),
    "evaluate": (commands.Evaluate, "configs.episodes:run_evaluate"),
    "parity": (commands.Parity, "configs.parity:run_parity"),
    "info": (commands.Info, "configs.info:run_info"),
}


def usage() -> str:
    lines = ["usage: worldmodel <command> [key=value ...]", ""]
    lines += [
        f"  {name:10}{(kind.__doc__ or '').strip().splitlines()[0]}"
        for name, (kind, _) in COMMANDS.items()
    ]
    return "\n".join([*lines, "", "worldmodel <command> --help lists its settings"])


def command_help(name: str) -> str:
    from dataclasses import fields

    kind = COMMANDS[name][0]
    lines = [(kind.__doc__ or "").strip(), ""]
    lines += [f"  {f.name}: {f.type}" for f in fields(kind)]
    return "\n".join([*lines, "", f"defaults: configs/{name}.yaml; nested keys with dots"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 on a bad setting or bad input (one line, no traceback)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    name, *overrides = arguments
    if name not in COMMANDS:
        print(f"worldmodel: unknown command '{name}'; valid: {', '.join(COMMANDS)}",
              file=sys.stderr)
        return 2
    if overrides and overrides[0] in ("-h", "--help"):
        print(command_help(name))
        return 0
    kind, target = COMMANDS[name]
    # Errors a user can mend are ValueErrors, missing parts ImportErrors, and the like.
    try:
        from configs.settings import load

        settings = load(kind, name, overrides)
        module, function = target.split(":")
        getattr(import_module(module), function)(settings)
    except (ValueError, ImportError, OSError, RenderingUnavailable, BrokenExecutor) as error:
        if os.environ.get("WORLDMODEL_TRACEBACK"):
            raise
        message = " ".join(str(error).split())
        print(f"worldmodel {name}: error: {message}", file=sys.stderr)
        return 2
    return 0

if __name__ == "__main__":
    sys.exit(main())
