"""From ``key=value`` overrides and YAML recipes to frozen dataclasses.

Overrides use Hydra's grammar (``task=reach arm.image_size=224 agent.cem.samples=300``), but a
setting that is text takes it as it is written, so that a folder may be called ``2024_06_01`` or
``a,b``; a leading ``~`` is the home folder.  ``recipe=FILE.yaml`` reads more of them from a file.
Both name values only; nothing in them is executed.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from configs.settings import SettingsError, build, nested, refuse_idle

T = TypeVar("T")
RECIPES = Path(__file__).parent  # ours, by name: recipe=NAME


def load(
    kind: type[T], overrides: Sequence[str], base: Mapping[str, Any] = MappingProxyType({})
) -> T:
    """``kind`` from its defaults, ``base``, a recipe and ``overrides``, of which the later wins.
    ``base`` has values by dotted key, and may have some that are without effect.

    Raises ``SettingsError`` for a name that does not exist, a value that does not fit, a setting
    that is given twice, and one that has no effect beside the others (``idle_settings``).
    """
    given: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    for name, value in _parse(kind, overrides):
        if name == "recipe":
            recipe |= read_recipe(value)
            continue
        for key, leaf in _leaves(name, value):
            if key in given:
                raise SettingsError(f"'{key}' is given twice")
            given[key] = leaf
    settings = _settings(kind, {**base, **recipe, **given})
    refuse_idle(settings, given)
    if recipe:  # by itself: what the command line switches off is the user's decision
        needed = {f.name for f in dataclasses.fields(kind) if not _has_default(f)}  # pyright: ignore
        alone = {key: value for key, value in given.items() if key.split(".")[0] in needed}
        refuse_idle(_settings(kind, {**base, **alone, **recipe}), recipe)
    return settings


def _settings(kind: type[T], keys: dict[str, Any]) -> T:
    values: dict[str, Any] = {}
    for key, value in keys.items():
        _set(kind, values, key, value)
    return build(kind, values)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is not missing or field.default_factory is not missing


def read_recipe(name: Any) -> dict[str, Any]:
    """The settings, by dotted key, of a YAML file, or of one of ours by its name."""
    ours = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    path = RECIPES / f"{name}.yaml" if name in ours else Path(str(name))
    told = f"; a recipe is a YAML file or one of ours: {', '.join(ours)}"
    return read_yaml(path, f"recipe={name}", told)


def read_yaml(path: Path, said: str, told: str = "") -> dict[str, Any]:
    """The settings, by dotted key, of a YAML file.  Raises ``SettingsError``, whose message begins
    with what the user ``said``; where there is no such file it ends with ``told``."""
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except OSError as error:
        raise SettingsError(f"{said} cannot be read ({error.strerror}){told}") from None
    except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise SettingsError(f"{said} is not plain YAML: {error}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{said} holds no settings; expected lines of 'key: value'")
    return {
        key: leaf for top, value in values.items() for key, leaf in _leaves(str(top), value)
    }


def _parse(kind: type, overrides: Sequence[str]) -> Iterator[tuple[str, Any]]:
    parser = OverridesParser.create()
    for text in overrides:
        if "=" not in text:
            raise SettingsError(f"'{text}' is not a setting; write key=value")
        key, _, value = text.partition("=")
        field = _text_field(kind, key)
        if field is not None:
            yield key, _text(field, key, value)
            continue
        try:
            override = parser.parse_overrides([text])[0]
        except HydraException:
            yield key, _listed(value)  # a plain path with characters of the grammar
            continue
        if override.type is not OverrideType.CHANGE or override.package is not None:
            raise SettingsError(f"'{text}' is not a setting; write key=value")
        if override.is_sweep_override():
            raise SettingsError(
                f"'{text}' names several values; write {key}=[{value}] for a list, or run the "
                "command once for each"
            )
        yield override.key_or_group, override.value()


def _listed(value: str) -> Any:
    """``[a,b[0:3]]`` is a list of two; other text stays as it is."""
    if not (value.startswith("[") and value.endswith("]")):
        return value
    parts, depth = [""], 0
    for character in value[1:-1]:
        depth += {"[": 1, "]": -1}.get(character, 0)
        if depth < 0:
            return value
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts] if depth == 0 and all(parts) else value


def _text_field(kind: type | None, key: str) -> dataclasses.Field[Any] | None:
    """The field of that dotted key, if it holds text or nothing but text or null."""
    *path, last = key.split(".")
    for part in path:
        hint = typing.get_type_hints(kind).get(part) if kind else None
        kind = nested(hint) if hint else None
    hint = typing.get_type_hints(kind).get(last) if kind else None
    if hint is not str and hint != str | None:
        return None
    return next(f for f in dataclasses.fields(kind) if f.name == last)  # pyright: ignore


def _text(field: dataclasses.Field[Any], key: str, value: str) -> str | None:
    if field.default is None and value == "null":
        return None
    if not value and field.default != "":  # an unset variable of the shell, most often
        raise SettingsError(f"'{key}' must be given: {key}=...; it is empty")
    return os.path.expanduser(value)


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """``a={b: 1}`` is ``a.b=1``."""
    if not isinstance(value, dict) or not value:
        yield key, value
        return
    for name, inner in value.items():
        yield from _leaves(f"{key}.{name}", inner)


def _set(kind: type, values: dict[str, Any], key: str, value: Any) -> None:
    *path, last = key.split(".")
    where = ""
    for part in path:
        kind = _dataclass_of(kind, part, where)
        if not isinstance(values.get(part), dict):
            values[part] = {}
        values = values[part]
        where += f"{part}."
    hint = _field(kind, last, where)
    if isinstance(value, str) and typing.get_origin(hint) is tuple:
        raise SettingsError(f"'{where}{last}' is a list: {where}{last}=[{value}]")
    values[last] = value


def _dataclass_of(kind: type, part: str, where: str) -> type:
    found = nested(_field(kind, part, where))
    if found is None:
        raise SettingsError(f"'{where}{part}' is a single value; '{where}{part}.…' does not exist")
    return found


def _field(kind: type, name: str, where: str) -> Any:
    hints = typing.get_type_hints(kind)
    if name not in hints:
        near = difflib.get_close_matches(name, hints, n=1, cutoff=0.0)
        hint = f" Did you mean '{where}{near[0]}'?" if near else ""
        raise SettingsError(
            f"unknown setting '{where}{name}'.{hint} Valid: {', '.join(sorted(hints))}"
        )
    return hints[name]
