from dataclasses import MISSING, dataclass, field, fields
from typing import Literal

import pytest

from arm_worldmodel.commands import NAMES, module_of, parity, plan
from configs.overrides import RECIPES, load, read_recipe
from configs.settings import SettingsError, build


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


@pytest.mark.parametrize("command", list(NAMES))
def test_every_command_has_defaults(command):
    kind = module_of(command).Settings
    needed = {"out=x", "data=x", "validation=x", "golden=x", "src=x", "format=npz", "to=x",
              "camera=x"}
    given = [n for n in needed if n.split("=")[0] in kind.__dataclass_fields__]
    assert isinstance(load(kind, given), kind)


def test_overrides_reach_nested_fields():
    given = load(
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
    assert build(Outer, {"name": "x", "rate": 3}).rate == 3.0


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
        load(plan.Settings, overrides)


def test_lists_of_names_with_brackets_are_lists_and_single_names_are_asked_for_as_one():
    from arm_worldmodel.commands.import_ import Settings

    given = ["format=lerobot", "src=x", "out=y"]
    loaded = load(Settings, [*given, "columns.state=[a,b[0:3],state[x,y]]"])
    assert loaded.columns.state == ("a", "b[0:3]", "state[x,y]")
    with pytest.raises(SettingsError, match=r"'columns.state' is a list: columns.state=\[abc\]"):
        load(Settings, [*given, "columns.state=abc"])


def test_missing_setting_is_named():
    with pytest.raises(SettingsError, match="golden"):
        load(parity.Settings, [])


def test_configuration_cannot_name_code():
    with pytest.raises(SettingsError, match="unknown setting"):
        load(plan.Settings, ["agent._target_=os.system"])


@dataclass(frozen=True)
class Tuned:
    """A nested dataclass whose default here is not its own."""

    name: str = "x"
    inner: Inner = field(default_factory=lambda: Inner(size=7, kind="b"))

    def idle(self) -> dict[str, str]:
        return {"name": "kind is a"} if self.inner.kind == "a" else {}


def test_what_an_override_leaves_out_stays_as_the_command_has_it():
    given = load(Tuned, ["inner.span=[1,2]"])
    assert given == Tuned(inner=Inner(7, (1.0, 2.0), "b"))


@pytest.mark.parametrize("command", NAMES)
def test_defaults_of_python_and_of_the_command_line_are_the_same(command):
    kind = module_of(command).Settings
    needed = {f.name: "npz" if f.name == "format" else "x" for f in fields(kind)
              if f.default is MISSING and f.default_factory is MISSING}
    assert load(kind, [f"{k}={v}" for k, v in needed.items()]) == kind(**needed)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["name=x", "name=y"], "given twice"),
        (["inner={size: 1}", "inner.size=2"], "'inner.size' is given twice"),
        (["inner.size=1,2"], "once for each"),
        (["+name=y"], "key=value"),
        (["~name=x"], "key=value"),
        (["name=y", "inner.kind=a"], "'name' has no effect here: kind is a"),
    ],
)
def test_nothing_given_is_dropped(overrides, message):
    with pytest.raises(SettingsError, match=message):
        load(Tuned, overrides)


def test_a_recipe_gives_settings_and_the_command_line_wins(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("name: lab\ninner:\n  size: 3\n  span: [0, 1e-3]\n")
    given = load(Tuned, [f"recipe={recipe}", "inner.size=4"])
    assert given == Tuned("lab", Inner(4, (0.0, 0.001), "b"))
    switched_off = load(Tuned, [f"recipe={recipe}", "inner.kind=a"])
    assert switched_off.inner.kind == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inner: {sise: 3}", "Did you mean 'inner.size'"),
        ("inner: {size: many}", "expected int"),
        ("inner: {kind: a}\nname: y", "'name' has no effect"),
        ("inner: {size: 1}\ninner: {size: 2}", "duplicate key"),
        ("- a", "key: value"),
        ("inner: [", "not plain YAML"),
        ("inner: !!python/object:os.system {}", "not plain YAML"),
    ],
)
def test_a_recipe_is_checked_as_the_command_line_is(tmp_path, text, message):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(SettingsError, match=message):
        load(Tuned, [f"recipe={tmp_path / 'bad.yaml'}"])


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(SettingsError, match="one of ours"):
        load(Tuned, [f"recipe={tmp_path / 'none.yaml'}"])


def test_a_recipe_is_not_evaluated(tmp_path):
    (tmp_path / "plain.yaml").write_text("name: ${oc.env:HOME}")
    assert load(Tuned, [f"recipe={tmp_path / 'plain.yaml'}"]).name == "${oc.env:HOME}"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.stem)
def test_our_recipes_fit_their_command_and_say_what_the_defaults_do_not(path):
    _, program, command, *given = path.read_text().splitlines()[0].split()
    assert program == "worldmodel"
    assert f"recipe={path.stem}" in given
    kind = module_of(command).Settings
    without = load(kind, [g for g in given if not g.startswith("recipe=")])
    for key, value in read_recipe(path.stem).items():
        part = without
        for name in key.split("."):
            part = getattr(part, name)
        assert part != value, f"{key} is the default"
    assert load(kind, given) != without


@pytest.mark.parametrize(
    "text",
    ["2024_06_01", "1e3", "true", "null", "a,b", "[lab]", "{a: 1}", "007", "1_1_1", "'x'", "a b",
     "$HOME", "x=y", "off", "0x10", "é", "file://a#b", "${oc.env:HOME}"],
)
def test_text_is_taken_as_it_is_written(text):
    assert load(Outer, [f"name={text}"]).name == text
    assert load(Deep, [f"outer.name={text}"]).outer.name == text


def test_a_leading_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/lab")
    assert load(Outer, ["name=~/x"]).name == "/home/lab/x"
    assert load(Outer, ["name=~"]).name == "/home/lab"
    assert load(Outer, ["name=a~b"]).name == "a~b"


@dataclass(frozen=True)
class Deep:
    outer: Outer = field(default_factory=lambda: Outer("x"))
    where: str = "outputs"
    note: str = ""
    weights: str | None = None


def test_empty_text_is_refused_where_something_is_needed():
    for given in (["outer.name="], ["where="], ["weights="]):
        with pytest.raises(SettingsError, match=f"'{given[0][:-1]}' must be given"):
            load(Deep, given)
    assert load(Deep, ["note="]).note == ""
    assert load(Deep, ["weights=null"]).weights is None
    assert load(Deep, ["weights=x"]).weights == "x"
