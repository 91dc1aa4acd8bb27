"""What ``--help`` prints, and the page of settings in the documentation."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator

from arm_worldmodel.commands import NAMES, SECTIONS, module_of, summary
from configs.describe import Group, Setting, groups

WIDTH, COLUMN = 100, 40  # of a line, and where the meaning of a setting begins
GRAMMAR = """\
Settings are written key=value, in any order: seed=3 agent.cem.samples=300 record=null
A list is written [a,b], true and false in lower case.
recipe=FILE.yaml reads settings from a file (docs/train.md); the command line wins over it.
cell=FILE.yaml gives robot commands one lab's arm, camera and limits (docs/robot.md)."""


def usage() -> str:
    """``worldmodel --help``."""
    lines = ["usage: worldmodel COMMAND [key=value ...]"]
    for section, names in SECTIONS.items():
        lines += ["", f"{section}:", *_listed(names)]
    return "\n".join([
        *lines, "", "worldmodel COMMAND --help lists the settings of a command",
        "worldmodel --version",
    ])


def group_help(group: str) -> str:
    """``worldmodel GROUP --help``."""
    names = [name for name in NAMES if name.startswith(f"{group} ")]
    return "\n".join([
        f"usage: worldmodel {group} COMMAND [key=value ...]", "", *_listed(names), "",
        f"worldmodel {group} COMMAND --help lists the settings of a command",
    ])


def _listed(names: tuple[str, ...] | list[str]) -> list[str]:
    wide = max(map(len, NAMES)) + 2
    return [f"  {name:{wide}}{summary(name)}" for name in names]


def command_help(name: str) -> str:
    """``worldmodel COMMAND --help``: every key, with type, default, unit and meaning."""
    kind = module_of(name).Settings
    lines = [f"usage: worldmodel {name} [key=value ...]", "", inspect.getdoc(kind) or "", ""]
    for group in groups(kind):
        if group.key:
            lines += ["", *textwrap.wrap(f"{group.key}: {group.meaning}", WIDTH)]
        for setting in group.settings:
            lines += _described(setting)
    return "\n".join([*lines, "", GRAMMAR])


def _described(setting: Setting) -> Iterator[str]:
    """One setting: what would be written, then its type and meaning beside or below it."""
    default = "..." if setting.default is None else setting.default
    left = f"  {setting.key}={default}"
    text = f"{setting.kind}: {setting.meaning}"
    if setting.default is None:
        text += " (must be given)"
    right = textwrap.wrap(text, WIDTH - COLUMN)
    if len(left) > COLUMN - 2:
        yield from textwrap.wrap(left, WIDTH, subsequent_indent="    ", initial_indent="  ")
        left = ""
    for line in right:
        yield f"{left:{COLUMN}}{line}"
        left = ""


def settings_page() -> str:
    """``docs/settings.md``: every setting of every command, as Markdown."""
    lines = [
        "# Settings", "", "Generated from the comments beside the settings; the command line "
        "prints the same: `worldmodel COMMAND --help`.", "", "```text", GRAMMAR, "```",
    ]
    for name in NAMES:
        kind = module_of(name).Settings
        lines += ["", f"## worldmodel {name}", "", summary(name), ""]
        own, *inner = groups(kind)
        lines += _table(own)
        for group in inner:
            lines += ["", f"**{group.key}**: {_escaped(group.meaning)}", "", *_table(group)]
    return "\n".join([*lines, ""])


def _table(group: Group) -> list[str]:
    return [
        "| setting | type | default | meaning |", "| --- | --- | --- | --- |",
        *(
            f"| `{s.key}` | {_escaped(s.kind)} | "
            f"{'must be given' if s.default is None else f'`{s.default}`'} | "
            f"{_escaped(s.meaning)} |"
            for s in group.settings
        ),
    ]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
