"""Every command explains every setting, at once, and says which of them would have no effect."""

from __future__ import annotations

import ast
import dataclasses
import operator
import re
import resource
import shlex
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import configs.overrides
from arm_worldmodel.cli import main
from arm_worldmodel.commands import HERE, NAMES, file_of, module_of
from arm_worldmodel.help import WIDTH, command_help
from configs.describe import first_sentence, groups, meaning
from configs.overrides import load
from configs.settings import SettingsError, idle_settings, refuse_idle

ROOT = Path(__file__).parents[1]


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


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_that_help_prints_are_those_of_the_dataclass(name, monkeypatch):
    monkeypatch.setattr(configs.overrides, "refuse_idle", lambda *_: None)  # idle ones have one too
    kind = module_of(name).Settings
    given = [f"{key}={value}" for key, value in needed(kind).items()]
    plain = load(kind, given)
    printed = list(given)
    for group in groups(kind):
        told = [shlex.split(f"{s.key}={s.default}")[0] for s in group.settings if s.default]
        inside = operator.attrgetter(group.key)(plain) if group.key else plain
        if inside is None:  # help says so; a first key makes the group, the others do not change it
            assert group.meaning.endswith("(null, unless one of these is given)")
            made = operator.attrgetter(group.key)
            assert made(load(kind, [*given, *told])) == made(load(kind, [*given, told[0]]))
        else:
            assert "(null" not in group.meaning
            printed += told
    assert load(kind, printed) == plain


TYPOS = """
import sys
from arm_worldmodel.cli import main
from arm_worldmodel.commands import NAMES
for name in NAMES:
    assert main([*name.split(), "sead=1"]) == 2, name
    assert main([*name.split(), "--help"]) == 0, name
heavy = {"torch", "transformers", "matplotlib", "ray"} & set(sys.modules)
assert not heavy, heavy
"""


def test_a_misspelled_setting_and_help_need_no_heavy_import():
    done = subprocess.run([sys.executable, "-c", TYPOS], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words",
    [["plan", "sead=1"], ["robot", "collect", "sead=1"], ["evaluate", "--help"], ["--help"]],
)
def test_a_misspelled_setting_is_answered_within_a_second(words):
    spent = []
    while not spent or (min(spent) >= 1.0 and len(spent) < 4):  # other processes take caches
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-m", "arm_worldmodel", *words],
            capture_output=True, text=True, cwd=ROOT,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert ("Did you mean 'seed'?" in done.stderr) == ("sead=1" in words)
        # processor time: what the wall clock shows on an idle machine
        spent.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(spent) < 1.0, spent


def test_a_group_and_the_version_are_printed(capsys):
    assert main(["robot", "--help"]) == 0
    assert "robot collect  Record random moves" in capsys.readouterr().out
    assert main(["data"]) == 2  # no command was given
    assert "data repair" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("arm-worldmodel ")


@pytest.mark.parametrize(
    ("words", "nearest"),
    [(["plann"], "plan"), (["robot", "serv"], "robot serve"), (["data", "chek"], "data check")],
)
def test_a_misspelled_command_is_answered_with_the_nearest(words, nearest, capsys):
    assert main(words) == 2
    assert f"Did you mean '{nearest}'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_a_misspelled_setting_is_answered_with_the_nearest(name):
    kind = module_of(name).Settings
    for group in groups(kind):
        for setting in group.settings:
            with pytest.raises(SettingsError, match=f"Did you mean '{re.escape(setting.key)}'"):
                load(kind, [f"{setting.key}x=1"])


# -- settings without effect --------------------------------------------------------------------

# What may change what has an effect, beside every choice of a fixed list.
SWITCHES = {
    "agent.cem.horizon": "3", "agent.cem.iterations": "1", "imagined_share": "0.5",
    "suite": "table", "data": "x", "collect.cup_fraction": "0", "start_from": "x",
    "validation": "x", "env.image_size": "128", "gripper.kind": "franka_msgs", "readout": "x",
    "model": "ac_tiny", "losses.recovery_weight": "0", "execute": "true",
    "arm.scene.randomise_colour": "false", "arm.scene.randomise_table": "false",
    "arm.scene.randomise_light": "false", "goal": "single", "agent.subgoals.near_share": "1",
}
TOGETHER = (
    ["policy=flat", "agent.objective.distance=l1"], ["losses.recovery_weight=0.1"],
    ["parts=[predictor]"], ["parts=[readout]", "validation=x"], ["parts=[subgoals]"],
    ["policy=random", "goal=single"], ["policy=planner", "goal=single"],
)


def needed(kind: type) -> dict[str, str]:
    """The settings of a command that must be given."""
    return {f.name: "npz" if f.name == "format" else "x" for f in dataclasses.fields(kind)
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING}


def variants(kind: type) -> list[list[str]]:
    """Overrides of one command: the defaults, each choice of each list, each switch."""
    keys = {s.key: s for g in groups(kind) for s in g.settings}
    found = [[]]
    for key, setting in keys.items():
        if re.fullmatch(r"[\w]+( \| [\w]+)+", setting.kind) and setting.kind.islower():
            types = ("str", "int", "float", "bool")
            choices = [c for c in setting.kind.split(" | ") if c not in types]
            found += [[f"{key}={choice}"] for choice in choices if choice != "null"]
        if key in SWITCHES:
            found.append([f"{key}={SWITCHES[key]}"])
    return found + [list(t) for t in TOGETHER if all(fits(keys, o) for o in t)]


def fits(keys: dict, override: str) -> bool:
    """Whether a command has the setting and, where its values are a fixed list, that value."""
    key, _, value = override.partition("=")
    if key not in keys:
        return False
    kind = keys[key].kind
    listed = re.fullmatch(r"[a-z_]+( \| [a-z_]+)+", kind)
    return value in kind.split(" | ") if listed else True


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_without_effect_exists_and_is_refused_by_name(name):
    kind = module_of(name).Settings
    keys, told = {s.key: s.default for g in groups(kind) for s in g.settings}, set[str]()
    for overrides in variants(kind):
        values = needed(kind) | dict(o.split("=", 1) for o in overrides)
        given = [f"{k}={v}" for k, v in values.items()]
        try:
            settings = load(kind, given)
        except ValueError as error:  # the variant itself has no effect, or needs another setting
            if "has no effect" in str(error) or "needs" in str(error):
                continue
            raise
        for idle, why in idle_settings(settings).items():
            inside = [k for k in keys if k == idle or k.startswith(f"{idle}.")]
            assert inside or idle.split(".")[0] in ("convention", "columns"), f"{idle}: {why}"
            for key in inside:
                with pytest.raises(SettingsError, match=f"'{key}' has no effect here: "):
                    refuse_idle(settings, [key])
                if key not in told:  # as it is written on a command line, once
                    told.add(key)
                    value = "" if keys[key] == "''" else keys[key] or "x"
                    with pytest.raises(SettingsError, match=f"'{key}' has no effect here: "):
                        load(kind, [*given, f"{key}={value}"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "arm.task.name=grasp"], "the task is task="),
        (["plan", "policy=inverse_dynamics", "calibration=x"], "policy=inverse_dynamics"),
        (["plan", "policy=random", "checkpoint=x"], "policy=random"),
        (["train", "data=x", "out=x", "predictor.embed_dim=999"], "the encoder's"),
        (["plan", "simulator=pybullet", "arm.fast_rendering=false"], "simulator=mujoco"),
        (["evaluate", "suite=table", "task=reach"], "each row"),
        (["evaluate", "only=camera"], "suite="),
        (["evaluate", "suite=search", "agent.cem.samples=10"], "each row"),
        (["export", "format=npz", "data=x", "out=x", "video=h264"], "format=lerobot"),
        (["import", "format=npz", "src=x", "out=x", "topics.pose=/p"], "no topics"),
        (["robot", "run", "goals=x", "max_steps=3"], "execute=true"),
        (["robot", "run", "goals=x", "limits.step_m=0.01"], "the bridge's"),
        (["robot", "serve", "limits.force_n=10"], "robot arm"),
        (["collect", "out=x", "arm.scene.object=cup"], "cup_fraction"),
        (["collect", "out=x", "collect.wall=true", "arm.scene.obstacle=block"], "a wall"),
        (["plan", "task=push_around", "arm.scene.obstacle=block"], "an obstacle of its own"),
        (["collect", "out=x", "arm.scene.cylinder_radius_m=[0.02,0.03]"], "a cup or a box"),
        (["collect", "out=x", "collect.cup_fraction=1", "arm.scene.box_half_m=[0.02,0.03]"],
         "cup_fraction=1"),
        (["replay", "data=x", "policy=released", "readout=x"], "policy=released"),
        (["robot", "goal", "transport.kind=fci", "transport.port=1"], "fci does not take it"),
    ],
)
def test_a_setting_without_effect_is_refused_by_name(words, message, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert f"'{words[-1].split('=')[0]}' has no effect here: " in error
    assert message in error


def test_sizes_of_a_second_object_have_an_effect():
    from arm_worldmodel.commands.collect import Settings

    given = ["out=x", "arm.scene.second_object=cylinder", "arm.scene.cylinder_radius_m=[0.02,0.03]"]
    assert load(Settings, given).arm.scene.cylinder_radius_m == (0.02, 0.03)


@pytest.mark.parametrize("words", [["policy=random"], ["policy=flat"], ["world_model=lewm"]])
def test_places_are_refused_to_an_agent_without_subgoals_of_its_own(words, capsys):
    assert main(["robot", "trials", *words]) == 2
    told = capsys.readouterr().err
    assert f"{words[0]} sets no sub-goals of its own" in told
    assert "add planned=0 places=0" in told


def test_every_setting_is_read_somewhere():
    read = set()
    for package in ("arm_worldmodel", "benchmarks", "planners", "robot_data", "robots", "sims",
                    "worldmodel"):
        for path in (ROOT / package).rglob("*.py"):
            read |= {
                node.attr for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
            }
    for name in NAMES:
        for kind in classes(module_of(name).Settings):
            assert not {f.name for f in dataclasses.fields(kind)} - read
