"""One file for one lab's cell: arm, camera, tool and limits, the same for every command."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from configs.overrides import load, read_yaml
from configs.settings import SettingsError, has
from robots.connect import Transport
from robots.franka_config import FrankaEnvConfig
from robots.limits import Limits, loosened
from robots.ros.topics import GripperConfig, Topics

T = TypeVar("T")
GROUPS = ("transport.", "env.")  # a command without such a group has some of its keys by themselves


@dataclass(frozen=True)
class Cell:
    """What a lab writes down once; keys as those of the commands."""

    transport: Transport = field(default_factory=Transport)
    env: FrankaEnvConfig = field(default_factory=FrankaEnvConfig)
    limits: Limits = field(default_factory=Limits)
    topics: Topics = field(default_factory=Topics)
    gripper: GripperConfig = field(default_factory=GripperConfig)
    readout: str | None = None  # source of a readout that was fine-tuned for this cell
    calibration: str | None = None  # file of `worldmodel calibrate` for this cell


def load_in_cell(kind: type[T], overrides: Sequence[str]) -> T:
    """``configs.overrides.load`` with ``cell=FILE.yaml`` among the overrides, which win over it.

    Every command takes of the file what it has; what no command has, and a value that does not fit,
    is refused whichever command reads it.  Its limits are the cell's ceilings: a recipe or the
    command line may only tighten them.  Raises ``SettingsError``, or ``ValueError`` for a value
    out of bounds.
    """
    given = [word for word in overrides if not word.startswith("cell=")]
    files = [word.partition("=")[2] for word in overrides if word.startswith("cell=")]
    if not files:
        return load(kind, given)
    if len(files) > 1:
        raise SettingsError("'cell' is given twice")
    if typing.get_type_hints(kind).get("limits") is not Limits:
        raise SettingsError("'cell' has no effect here: this command has no limits")
    keys = read_yaml(Path(files[0]).expanduser(), f"cell={files[0]}")
    try:
        cell = load(Cell, [], keys)
    except ValueError as error:
        raise SettingsError(f"cell={files[0]}: {error}") from None
    settings = load(kind, given, _of(kind, keys))
    looser = list(loosened(settings.limits, cell.limits, "cell"))  # pyright: ignore
    if looser:
        raise SettingsError(
            f"limits.{'; limits.'.join(looser)}: looser than cell={files[0]}, which is changed for "
            "that"
        )
    return settings


def _of(kind: type, keys: dict[str, Any]) -> dict[str, Any]:
    """Those of a cell's keys that a command has."""
    found = {}
    for key, value in keys.items():
        group = next((group for group in GROUPS if key.startswith(group)), "")
        for name in (key, key.removeprefix(group)):
            if has(kind, name):
                found[name] = value
                break
    return found
