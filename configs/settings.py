"""From ``key=value`` overrides to frozen dataclasses.

Overrides use Hydra's grammar (``task=reach arm.image_size=224 agent.cem.samples=300``).  A
configuration names values only; nothing in it is executed.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

import dacite
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

T = TypeVar("T")


class SettingsError(ValueError):
    """A setting that does not exist or does not fit; the message names the valid ones."""


def load(kind: type[T], overrides: Sequence[str]) -> T:
    """``kind`` from its defaults and ``overrides``; raises ``SettingsError``."""
    values: dict[str, Any] = {}
    for key, value in _parse(overrides):
        _set(kind, values, key, value)
    return build(kind, values)


def build(kind: type[T], values: dict[str, Any]) -> T:
    """A frozen dataclass from nested dictionaries; types are checked."""
    config = dacite.Config(strict=True, cast=[tuple], type_hooks={float: _number})
    try:
        return dacite.from_dict(kind, values, config)
    except dacite.MissingValueError as error:
        raise SettingsError(f"'{error.field_path}' must be given: {error.field_path}=...") from None
    except dacite.WrongTypeError as error:
        raise SettingsError(
            f"{error.field_path}={error.value!r} does not fit; expected {_name(error.field_type)}"
        ) from None
    except (dacite.DaciteError, TypeError) as error:
        raise SettingsError(str(error)) from None


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _name(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return "one of " + ", ".join(str(a) for a in typing.get_args(kind))
    return str(getattr(kind, "__name__", kind))


def _parse(overrides: Sequence[str]) -> list[tuple[str, Any]]:
    parsed = []
    for text in overrides:
        if "=" not in text:
            raise SettingsError(f"'{text}' is not a setting; write key=value")
        try:
            override = OverridesParser.create().parse_overrides([text])[0]
            parsed.append((override.key_or_group, override.value()))
        except HydraException:
            key, _, value = text.partition("=")  # a plain path with characters of the grammar
            parsed.append((key, value))
    return parsed


def _set(kind: type, values: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    where = ""
    for part in path:
        kind = _dataclass_of(kind, part, where)
        values = values.setdefault(part, {})
        where += f"{part}."
    _field(kind, last, where)
    values[last] = value


def _dataclass_of(kind: type, part: str, where: str) -> type:
    hint = _field(kind, part, where)
    for option in typing.get_args(hint) if _is_union(hint) else (hint,):
        if dataclasses.is_dataclass(option) and isinstance(option, type):
            return option
    raise SettingsError(f"'{where}{part}' is a single value; '{where}{part}.…' does not exist")


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _field(kind: type, name: str, where: str) -> Any:
    hints = typing.get_type_hints(kind)
    if name not in hints:
        near = difflib.get_close_matches(name, hints, n=1, cutoff=0.0)
        hint = f" Did you mean '{where}{near[0]}'?" if near else ""
        raise SettingsError(
            f"unknown setting '{where}{name}'.{hint} Valid: {', '.join(sorted(hints))}"
        )
    return hints[name]
