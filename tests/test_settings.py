from dataclasses import dataclass, field
from typing import Literal

import pytest

from arm_worldmodel import cli
from arm_worldmodel.commands import parity, plan
from configs import settings
from configs.settings import SettingsError


@dataclass(frozen=True)
class Inner:
    size: int = 1
    span: tuple[float, float] = (0.0, 1.0)
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    name: str
    rate: float = 1.0
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize("command", list(cli.COMMANDS))
def test_every_command_has_defaults(command):
    kind = cli.command(command).Settings
    needed = {"out=x", "data=x", "validation=x", "golden=x", "src=x", "format=npz"}
    given = [n for n in needed if n.split("=")[0] in kind.__dataclass_fields__]
    assert isinstance(settings.load(kind, given), kind)


def test_overrides_reach_nested_fields():
    given = settings.load(
        plan.Settings,
        ["task=reach", "agent.cem.samples=300", "arm.scene.box_half_m=[0.02,0.03]",
         "agent.cem.deadline_s=0.5", "arm.image_size=224", "out=/tmp/a-b_c.d/e"],
    )
    assert given.task == "reach"
    assert given.agent.cem.samples == 300
    assert given.arm.scene.box_half_m == (0.02, 0.03)
    assert given.agent.cem.deadline_s == 0.5
    assert given.out == "/tmp/a-b_c.d/e"


def test_whole_number_is_accepted_for_a_float():
    assert settings.build(Outer, {"name": "x", "rate": 3}).rate == 3.0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["agent.cem.sample=3"], "Did you mean 'agent.cem.samples'"),
        (["sed=3"], "Did you mean 'seed'"),
        (["seed.x=3"], "single value"),
        (["seed=three"], "expected int"),
        (["goal=both"], "subgoals"),
        (["seed"], "key=value"),
    ],
)
def test_wrong_settings_are_explained(overrides, message):
    with pytest.raises(SettingsError, match=message):
        settings.load(plan.Settings, overrides)


def test_missing_setting_is_named():
    with pytest.raises(SettingsError, match="golden"):
        settings.load(parity.Settings, [])


def test_configuration_cannot_name_code():
    with pytest.raises(SettingsError, match="unknown setting"):
        settings.load(plan.Settings, ["agent._target_=os.system"])
