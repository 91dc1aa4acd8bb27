"""Settings are frozen dataclasses: made from nested values, and asked what has no effect."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

import dacite

T = TypeVar("T")


class SettingsError(ValueError):
    """A setting that does not exist, does not fit or has no effect; the message names it."""


def build(kind: type[T], values: dict[str, Any]) -> T:
    """A frozen dataclass from nested dictionaries; types are checked.  What they leave out is
    the default of the field it belongs to, also inside nested dataclasses."""
    config = dacite.Config(strict=True, cast=[tuple], type_hooks={float: _number})
    try:
        return dacite.from_dict(kind, _completed(kind, values), config)
    except dacite.MissingValueError as error:
        raise SettingsError(f"'{error.field_path}' must be given: {error.field_path}=...") from None
    except dacite.WrongTypeError as error:
        raise SettingsError(
            f"{error.field_path}={error.value!r} does not fit; expected {_name(error.field_type)}"
        ) from None
    except (dacite.DaciteError, TypeError) as error:
        raise SettingsError(str(error)) from None


def has(kind: type, key: str) -> bool:
    """Whether ``kind`` has a setting of that dotted key."""
    first, _, rest = key.partition(".")
    hint = typing.get_type_hints(kind).get(first)
    inner = None if hint is None else nested(hint)
    if inner is None or not rest:
        return hint is not None and not rest
    return has(inner, rest)


def idle_settings(settings: Any) -> dict[str, str]:
    """Keys, nested ones too, that have no effect beside the other values, and why.

    A settings class says so in a method ``idle() -> dict[str, str]``.  A key may be that of a
    whole nested dataclass.
    """
    found: dict[str, str] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            inner = idle_settings(value)
            found.update({f"{field.name}.{key}": why for key, why in inner.items()})
    rule = getattr(settings, "idle", None)
    if rule is not None:
        found.update(rule())
    return found


def idle_but(part: Any, prefix: str, used: Iterable[str], why: str) -> dict[str, str]:
    """For an ``idle`` method: every field of the nested ``part`` except those ``used``."""
    names = {field.name for field in dataclasses.fields(part)} - set(used)
    return {f"{prefix}.{name}": why for name in sorted(names)}


def refuse_idle(settings: Any, keys: Iterable[str]) -> None:
    """Raises ``SettingsError`` where one of ``keys``, by dotted name, has no effect."""
    for key in keys:
        for idle, why in idle_settings(settings).items():
            if key == idle or key.startswith(f"{idle}."):
                raise SettingsError(f"'{key}' has no effect here: {why}")


def _completed(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """``values`` with what nested dictionaries leave out taken from the field's own default."""
    completed = dict(values)
    for field in dataclasses.fields(kind):
        value = values.get(field.name)
        if isinstance(value, dict) and field.default_factory is not dataclasses.MISSING:
            completed[field.name] = _merged(dataclasses.asdict(field.default_factory()), value)
    return completed


def _merged(defaults: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """``values`` over ``defaults``, nested dictionaries one by one."""
    merged = {**defaults, **values}
    for name, value in values.items():
        if isinstance(value, dict) and isinstance(defaults.get(name), dict):
            merged[name] = _merged(defaults[name], value)
    return merged


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _name(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return "one of " + ", ".join(str(a) for a in typing.get_args(kind))
    return str(getattr(kind, "__name__", kind))


def nested(hint: Any) -> type | None:
    """The dataclass that a field of this type holds, if it holds one."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    for option in typing.get_args(hint) if union else (hint,):
        if dataclasses.is_dataclass(option) and isinstance(option, type):
            return option
    return None
