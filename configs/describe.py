"""What can be set: name, type, default and meaning of every field of a settings dataclass.

The meaning of a field is the comment behind it, or the comment lines above it, read from the
source of its class.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import tokenize
import typing
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from configs.settings import nested

NULL = " (null, unless one of these is given)"


@dataclass(frozen=True)
class Setting:
    """One key of a command."""

    key: str  # dotted, as it is written on the command line
    kind: str  # type, or the choices
    default: str | None  # as it would be written; None: it must be given
    meaning: str  # "" where the source says nothing


@dataclass(frozen=True)
class Group:
    """The keys of one dataclass."""

    key: str  # dotted, "" for the command's own
    meaning: str  # first sentence of the class's docstring, and whether it is null by default
    settings: tuple[Setting, ...]


def groups(
    kind: type, prefix: str = "", default: Any = None, null: bool = False
) -> Iterator[Group]:
    """The settings of the dataclass ``kind``, and after them those of every nested dataclass.

    default: the instance a nested dataclass has where nothing is set, or None; null: that is None,
    and what is listed are the defaults beside a first key.
    """
    hints = typing.get_type_hints(kind)
    own: list[Setting] = []
    inner: list[Group] = []
    for field in dataclasses.fields(kind):
        key, hint = f"{prefix}{field.name}", hints[field.name]
        value = _default(field) if default is None else getattr(default, field.name)
        part = nested(hint)
        if part is not None:
            given = None if value is MISSING else value
            inner += groups(part, f"{key}.", given, null or value is None)
            continue
        own.append(Setting(
            key, type_name(hint), None if value is MISSING else written(value),
            meaning(kind, field.name),
        ))
    told = first_sentence(kind.__doc__ or "") + (NULL if null else "")
    yield Group(prefix.rstrip("."), told, tuple(own))
    yield from inner


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def written(value: Any) -> str:
    """A default as it would be written on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{','.join(written(v) for v in value)}]"
    return str(value) if value != "" else "''"


def type_name(hint: Any) -> str:
    """A type as a user reads it: ``int``, ``l1 | squared``, ``[float, float]``."""
    if hint is type(None):
        return "null"
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(str(a) for a in arguments)
    if typing.get_origin(hint) is tuple:
        return f"[{', '.join('...' if a is ... else type_name(a) for a in arguments)}]"
    if arguments:
        return " | ".join(type_name(a) for a in arguments)
    if dataclasses.is_dataclass(hint):
        inner = typing.get_type_hints(hint)
        return "{" + ", ".join(f"{name}: {type_name(t)}" for name, t in inner.items()) + "}"
    return hint.__name__


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, in one line."""
    paragraph = " ".join(inspect.cleandoc(text).split("\n\n")[0].split())
    return paragraph.split(".  ")[0].rstrip(".")


def meaning(kind: type, name: str) -> str:
    """The comment of a field, in the source of the class that declares it."""
    for owner in kind.__mro__:
        if name in inspect.get_annotations(owner):
            return comments(Path(inspect.getfile(owner))).get((owner.__name__, name), "")
    return ""


@cache
def comments(path: Path) -> dict[tuple[str, str], str]:
    """The comments of the annotated fields of every class in a file, by class and field."""
    text = path.read_text()
    lines = text.splitlines()
    found = {
        token.start[0]: token.string.lstrip("# ").rstrip()
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    }
    alone = {number for number in found if lines[number - 1].lstrip().startswith("#")}
    meanings = {}
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ClassDef):
            continue
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                assert field.end_lineno is not None
                above = field.lineno
                while above - 1 in alone:
                    above -= 1
                told = [found[n] for n in range(above, field.end_lineno + 1) if n in found]
                meanings[node.name, field.target.id] = " ".join(told)
    return meanings
