"""One file describes a lab's cell to every robot command, and its limits are ceilings."""

import re
from pathlib import Path

import pytest

from arm_worldmodel.cli import main
from arm_worldmodel.commands.robot import arm, check, collect, goal, hil, run, serve, sim
from configs.settings import SettingsError
from robots.cell import load_in_cell
from robots.limits import Box

PAGE = Path(__file__).parents[1] / "docs/robot.md"


@pytest.fixture
def cell(tmp_path):
    """Writes a cell file; returns the setting that names it."""

    def write(text: str) -> str:
        path = tmp_path / "cell.yaml"
        path.write_text(text)
        return f"cell={path}"

    return write


@pytest.fixture
def documented(cell):
    return cell(re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)[0])


def test_the_documented_cell_is_the_same_for_every_command(documented):
    given = {kind: load_in_cell(kind.Settings, [documented])
             for kind in (arm, serve, check, goal, collect, run, sim)}
    limits = given[serve].limits
    assert limits.speed_m_s == 0.15
    assert limits.keep_out == (Box((0.30, 0.20, 0.0), (0.45, 0.30, 0.25)),)
    assert {settings.limits for settings in given.values()} == {limits}
    assert given[arm].host == given[run].transport.host == "172.16.0.2"
    assert given[arm].tool == given[collect].transport.tool
    assert given[arm].tool.mass_kg == given[serve].tool.mass_kg == 0.8
    assert given[serve].control_hz == given[run].env.control_hz == 4.0
    assert given[check].readout == given[run].readout == "outputs/lab"
    assert given[goal].topics.image == "/camera/color/image_raw"


def test_the_command_line_wins_over_the_cell(documented):
    given = load_in_cell(run.Settings, [
        documented, "transport.kind=fci", "limits.speed_m_s=0.1", "transport.host=10.0.0.2",
    ])
    assert given.limits.speed_m_s == 0.1
    assert given.transport.host == "10.0.0.2"
    assert given.transport.tool.mass_kg == 0.8


@pytest.mark.parametrize(("text", "message"), [
    ("host: 172.16.0.2", "unknown setting 'host'"),
    ("gripper: {kind: suction}", "'suction' is unknown"),  # goal has no gripper
    ("limits: {speed_m_s: 2.0}", "at most 1.0, which no setting lifts"),
    ("limits: {keep_out: [{low_m: [0, 0], high_m: [1, 1]}]}", "keep_out"),
    ("transport: {tool: {mass_kg: heavy}}", "expected float"),
    ("- limits", "key: value"),
])
def test_a_cell_is_checked_as_a_whole_by_every_command(cell, text, message):
    for kind in (goal, serve):
        with pytest.raises(SettingsError, match="cell=") as error:
            load_in_cell(kind.Settings, [cell(text)])
        assert message in str(error.value)


@pytest.mark.parametrize("looser", [
    "limits.speed_m_s=0.2", "limits.keep_out=[]", "limits.workspace_low_m=[0.35,-0.25,0.01]",
    "limits.stale_s=1",  # not in the file: looser than the default
])
def test_nothing_lifts_the_limits_of_a_cell(documented, looser, tmp_path):
    with pytest.raises(SettingsError, match="looser than cell="):
        load_in_cell(serve.Settings, [documented, looser])
    recipe = tmp_path / "fast.yaml"
    recipe.write_text(looser.replace("=", ": ").replace("limits.", "limits:\n  "))
    with pytest.raises(SettingsError, match="looser than cell="):
        load_in_cell(serve.Settings, [documented, f"recipe={recipe}"])


def test_what_is_given_beside_a_cell_still_has_an_effect_or_is_refused(documented):
    with pytest.raises(SettingsError, match=r"'limits.force_n' has no effect here"):
        load_in_cell(serve.Settings, [documented, "limits.force_n=30"])


def test_a_command_without_limits_takes_no_cell(documented):
    with pytest.raises(SettingsError, match="'cell' has no effect here"):
        load_in_cell(hil.Settings, [documented])


def test_two_cells_are_refused(documented):
    with pytest.raises(SettingsError, match="given twice"):
        load_in_cell(serve.Settings, [documented, documented])


def test_the_command_line_reads_a_cell_and_says_what_is_wrong_in_one_line(cell, capsys):
    assert main(["robot", "serve", cell("limits: {speed: 0.1}")]) == 2
    said = capsys.readouterr().err
    assert "Did you mean 'limits.speed_m_s'" in said
    assert said.count("\n") == 1
