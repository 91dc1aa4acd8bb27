"""Results on disk, one JSON line each, which a later run goes on with."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np

from robot_data.files import replacing


class Line(Protocol):
    """A dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Result = TypeVar("Result", bound=Line)


class ResultLog(Generic[Result]):
    """One JSON line per finished episode, appended and flushed; a torn last line is dropped.

    The first line names the settings; results of other settings are refused with ``ValueError``.
    Settings that came into being after a log was begun must be at their ``defaults``.
    """

    def __init__(
        self, path: Path, kind: type[Result], settings: dict[str, Any],
        defaults: dict[str, Any] | None = None,
    ) -> None:
        """kind: the dataclass of a line."""
        self.path, self._kind = path, kind
        self._defaults = json.loads(json.dumps(defaults or {}, default=str))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._settings = json.loads(json.dumps(settings, default=str))
        self.results: list[Result] = []
        if path.exists():
            self._read()
        else:
            self._write([{"settings": self._settings}])

    def _read(self) -> None:
        lines = self.path.read_text().split("\n")
        try:
            whole = [json.loads(line) for line in lines[:-1]]  # after the last newline is torn
            results = [self._kind(**line) for line in whole[1:]]
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{self.path} is damaged or no log of episodes ({error}); delete it to start anew, "
                "or choose another out="
            ) from error
        logged = whole[0].get("settings", {}) if whole else None
        if not results and isinstance(logged, dict):
            self._write([{"settings": self._settings}])  # nothing to lose
            return
        if not _same(logged, self._settings, self._defaults):
            raise ValueError(
                f"{self.path} has results of other settings; choose another out= or delete it"
            )
        self.results = results
        if lines[-1]:
            self._write(whole)

    def _write(self, lines: list[dict[str, Any]]) -> None:
        with replacing(self.path) as staged:
            staged.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def append(self, result: Result) -> None:
        """Add one line and have it on the disk."""
        self.results.append(result)
        with open(self.path, "a") as handle:
            handle.write(json.dumps(asdict(result), default=_plain) + "\n")
            handle.flush()
            os.fsync(handle.fileno())


@contextmanager
def only_writer(out: Path) -> Iterator[None]:
    """Hold the folder ``out`` of logs: two runs that append to one log would count results twice.

    Raises ``ValueError`` if another run holds it.
    """
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".lock", "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"another run is writing into {out}; wait for it or choose another out="
            ) from None
        yield


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return np.round(value.astype(float), 4).tolist()
    raise TypeError(f"a {type(value).__name__} in a log of results; expected numbers and arrays")


def _same(logged: Any, present: Any, defaults: Any) -> bool:
    if not (isinstance(logged, dict) and isinstance(present, dict)):
        return logged == present
    if not isinstance(defaults, dict):
        defaults = {}
    missing = object()
    return logged.keys() <= present.keys() and all(
        _same(logged[key], value, defaults.get(key)) if key in logged
        else value == defaults.get(key, missing)
        for key, value in present.items()
    )
