"""Every command explains every setting, at once, and says which of them would have no effect."""

from __future__ import annotations

import dataclasses
import typing

import pytest

from arm_worldmodel.cli import main
from arm_worldmodel.commands import HERE, NAMES, file_of, module_of
from arm_worldmodel.help import WIDTH, command_help
from configs.describe import first_sentence, groups, meaning


def classes(kind: type) -> set[type]:
    """``kind`` and every dataclass inside its fields, also within lists."""
    found, todo = {kind}, list(typing.get_type_hints(kind).values())
    while todo:
        hint = todo.pop()
        todo += typing.get_args(hint)
        if dataclasses.is_dataclass(hint) and hint not in found:
            found.add(hint)
            todo += typing.get_type_hints(hint).values()
    return found


def test_every_file_of_a_command_is_listed_and_every_command_is_its_file():
    files = {path for path in HERE.rglob("*.py") if path.name != "__init__.py"}
    assert files == {file_of(name) for name in NAMES if not name.startswith("bench ")}
    for name in NAMES:
        assert module_of(name).__file__ == str(file_of(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_meaning(name):
    for kind in classes(module_of(name).Settings):
        assert first_sentence(kind.__doc__ or "")
        assert "(" not in (kind.__doc__ or "").split(" ")[0], f"{kind} has no docstring"
        for field in dataclasses.fields(kind):
            if not any(dataclasses.is_dataclass(t) for t in (
                typing.get_type_hints(kind)[field.name],
                *typing.get_args(typing.get_type_hints(kind)[field.name]),
            )) or field.name == "keep_out":
                assert len(meaning(kind, field.name)) > 5, f"{kind.__module__}.{field.name}"


@pytest.mark.parametrize("name", NAMES)
def test_a_length_time_angle_or_rate_has_its_unit_in_the_help(name):
    units = {"_m": "[m", "_s": "[s", "_rad": "[rad", "_deg": "[deg", "_hz": "[Hz", "_mb": "[MiB"}
    for group in groups(module_of(name).Settings):
        for setting in group.settings:
            for ending, unit in units.items():
                if setting.key.endswith(ending) and not setting.key.endswith(("_m_s", "_rad_s")):
                    assert unit in setting.meaning, setting.key


@pytest.mark.parametrize("name", NAMES)
def test_help_lists_every_key_with_its_default_in_100_columns(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert text.strip() == command_help(name).strip()
    assert max(map(len, text.splitlines())) <= WIDTH
    for group in groups(module_of(name).Settings):
        for setting in group.settings:
            default = "..." if setting.default is None else setting.default
            assert f"  {setting.key}={default}" in text
