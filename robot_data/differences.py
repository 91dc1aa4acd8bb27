"""What differs between the settings that something was made with and those of now, by name."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lines such as ``fit.image_size=64, not 32`` for nested settings of JSON types; what only
    one of them names is not compared, for older versions had fewer settings."""
    before, after = dict(_leaves(then)), dict(_leaves(json.loads(json.dumps(now))))
    return [
        f"{key}={_shown(value)}, not {_shown(after[key])}"
        for key, value in before.items() if key in after and after[key] != value
    ]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)
