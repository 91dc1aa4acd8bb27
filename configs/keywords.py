"""Settings of nested dataclasses by their own names: ``image_size=256, object="cup"``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, TypeVar

from configs.settings import SettingsError, build

Config = TypeVar("Config")


def with_keywords(config: Config, given: Mapping[str, Any]) -> Config:
    """``config`` with values of its own and of nested dataclasses, each by its field's name.

    Raises ``SettingsError`` for a name that no field has, with the nearest one, and for a value
    that does not fit its field.
    """
    if not given:
        return config
    places = places_of(config)
    values = asdict(config)  # pyright: ignore[reportArgumentType]
    for name, value in given.items():
        if name not in places:
            near = difflib.get_close_matches(name, places, n=1, cutoff=0.0)[0]
            raise SettingsError(
                f"unknown setting '{name}'; did you mean '{near}'? valid: "
                f"{', '.join(sorted(places))}"
            )
        inner = values
        for part in places[name]:
            inner = inner[part]
        inner[name] = value
    return build(type(config), values)


def places_of(config: Any, path: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    """The nested dataclasses, by field from the outermost in, that hold each setting, by its name;
    of two with one name the outer."""
    found: dict[str, tuple[str, ...]] = {}
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            found = {**places_of(value, (*path, field.name)), **found}
        else:
            found[field.name] = path
    return found
