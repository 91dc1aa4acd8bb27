"""``worldmodel COMMAND key=value ...``: from the command line to the ``run`` of a command."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from importlib.metadata import version
from signal import Signals
from typing import Any

from arm_worldmodel.commands import GROUPS, NAMES, module_of
from arm_worldmodel.ending import interruptible
from arm_worldmodel.help import command_help, group_help, usage
from robot_data.files import require_writable
from robots.limits import SafetyError

HELP = ("-h", "--help")
DESTINATIONS = ("out", "record")  # settings that name folders to write into


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 on a bad setting or bad input (one line, no traceback),
    128 + the signal's number where one ended it (130 for Ctrl-C, 143 for SIGTERM)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    words = [word for word in arguments if word not in HELP]
    asked = len(words) < len(arguments)
    if words == ["--version"]:
        print(f"arm-worldmodel {version('arm-worldmodel')}")
        return 0
    if not words or (words[0] in GROUPS and len(words) == 1):
        print(group_help(words[0]) if words else usage())
        return 0 if asked else 2
    name = next((n for n in (" ".join(words[:2]), words[0]) if n in NAMES), None)
    if name is None:
        print(f"worldmodel: {unknown(words)}", file=sys.stderr)
        return 2
    with interruptible() as signals:
        # Errors a user can mend are ValueErrors, missing parts ImportErrors, and the like.
        try:
            if asked:
                print(command_help(name))
                return 0
            command = module_of(name)
            settings = _load(name, command.Settings, words[len(name.split()):])
            for place in (getattr(settings, key, None) for key in DESTINATIONS):
                if place and "://" not in place:  # before any work
                    require_writable(place)
            command.run(settings)
            if not signals:
                return 0
        except KeyboardInterrupt:
            if not signals:
                raise
        except (ValueError, ImportError, OSError, BrokenExecutor, SafetyError) as error:
            if os.environ.get("WORLDMODEL_TRACEBACK"):
                raise
            if not signals:  # or an error because of it
                message = " ".join(str(error).split())
                print(f"worldmodel {name}: error: {message}", file=sys.stderr)
                return 2
    print(f"worldmodel {name}: ended by {Signals(signals[0]).name}", file=sys.stderr)
    return 128 + signals[0]


def _load(name: str, kind: type, overrides: Sequence[str]) -> Any:
    if not name.startswith("robot "):
        from configs.overrides import load  # slow to load, and help needs none

        return load(kind, overrides)
    from robots.cell import load_in_cell

    return load_in_cell(kind, overrides)


def unknown(words: Sequence[str]) -> str:
    """What to say of words that are no command."""
    said = " ".join(words[:2]) if words[0] in GROUPS else words[0]
    near = difflib.get_close_matches(said, NAMES, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown command '{said}'.{hint} valid: {', '.join(NAMES)}"


if __name__ == "__main__":
    sys.exit(main())
