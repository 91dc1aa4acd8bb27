"""README and the pages of the site name files, commands and settings that exist."""

import json
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest

from arm_worldmodel.commands import NAMES, module_of
from arm_worldmodel.outcomes import Outcome
from configs.overrides import load
from configs.settings import SettingsError
from robot_data.episodes import EpisodeStore
from robot_data.schema import Episode

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "worldmodel/weights/README.md", *sorted(
    page for page in (ROOT / "docs").glob("*.md") if page.name != "lab-book.md"  # is of its day
)]
README = (ROOT / "README.md").read_text()
TASKS = ("reach", "grasp", "reach_with_object", "pick_and_place")
# Rows of the tables in README and docs/results.md: how they begin, and their name in the report.
ROWS = {
    "README.md": {
        "the planner": "mujoco/box/dense/planner",
        "predictor untrained": "mujoco/box/dense/random_predictor",
        "camera black": "mujoco/box/dense/blind",
        "goal sequence": "mujoco/box/dense/planner",
        "the paper's three images": "mujoco/box/paper/planner",
        "one image": "mujoco/box/single/planner",
        "cup, goal sequence": "mujoco/cup/dense/planner",
        "PyBullet, goal sequence": "pybullet/box/dense/planner",
        "one image without the hand in it": "tasks/hand_out-planner",
        "`servo`": "mujoco/box/dense/servo",
        "cloning": "mujoco/box/dense/behaviour_cloning",
    },
    "docs/results.md": {
        "**planner**": "mujoco/box/dense/planner",
        "**random predictor**": "mujoco/box/dense/random_predictor",
        "**blind**": "mujoco/box/dense/blind",
        "**shuffled actions**": "mujoco/box/dense/shuffled_actions",
        "**servo**": "mujoco/box/dense/servo",
        "**behaviour cloning**": "mujoco/box/dense/behaviour_cloning",
        "three images": "mujoco/box/paper/planner",
        "one image": "mujoco/box/single/planner",
        "one image without the hand in it": "tasks/hand_out-planner",
        "one image, the object is moved once meanwhile": "tasks/disturbance-planner",
        "one image, taken after a person placed the object": "tasks/placed_by_hand-planner",
        "cup, goal sequence": "mujoco/cup/dense/planner",
        "PyBullet, goal sequence": "pybullet/box/dense/planner",
    },
}
# Those of the table of tasks that a straight line does not do: who, and the agent in the report.
BEYOND = {
    "README.md": {
        "planner, one image": "planner", "straight on": "straight", "`servo` there": "servo",
    },
    "docs/results.md": {
        "**planner, one image**": "planner", "**straight**": "straight",
        "**servo there**": "servo", "**blind there**": "blind",
    },
}


def commands(text):
    """Every ``worldmodel ...`` of shell blocks and of inline code: its words."""
    lines = []
    for block in re.findall(r"^```(?:bash|sh)\n(.*?)^```", text, re.S | re.M):
        for line in block.replace("\\\n", " ").splitlines():
            lines += re.split(r"&&|&|;", line.partition(" #")[0])
    without_blocks = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", without_blocks)]
    for line in lines:
        words = shlex.split(line.strip())
        if "-m" in words and "arm_worldmodel" in words:
            words = ["worldmodel", *words[words.index("arm_worldmodel") + 1 :]]
        if words and words[0].endswith("worldmodel") and len(words) > 1:
            yield words[1:]


def problem(words):
    """What is wrong with a command; "" if nothing is, or if it only leaves something out."""
    name = next((n for n in (" ".join(words[:2]), words[0]) if n in NAMES), None)
    if name is None:
        return "no such command"
    given = words[len(name.split()) :]
    if name.startswith("robot "):  # that file is a test of its own
        given = [word for word in given if word != "cell=cell.yaml"]
    try:
        load(module_of(name).Settings, given)
    except SettingsError as error:
        return "" if "must be given" in str(error) else str(error)
    return ""


def test_a_wrong_command_is_noticed():
    text = "```bash\nworldmodel plan sed=3  # typo\n```\nand `worldmodel fly task=reach`"
    assert [bool(problem(words)) for words in commands(text)] == [True, True]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_has_the_settings_it_names(page):
    told = [w for w in commands(page.read_text()) if "COMMAND" not in w and "--help" not in w]
    wrong = {" ".join(words): problem(words) for words in told if problem(words)}
    assert wrong == {}


def test_readme_links_to_files_that_exist():
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README)]
    assert links
    assert [link for link in links if ":" not in link and not (ROOT / link).exists()] == []


def test_readme_is_short_and_fits_100_columns():
    lines = README.splitlines()
    assert len(lines) <= 170
    assert [line for line in lines if len(line) > 100] == []


def test_readme_names_every_folder_of_the_tree():
    tree = re.search(r"```\n(arm_worldmodel/.*?)```", README, re.S)
    assert tree is not None
    named = {line.split("/")[0] for line in tree[1].splitlines() if not line.startswith(" ")}
    inside = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    made = {"build", "checkpoints", "data", "dist", "examples", "outputs", "tools", "__pycache__"}
    assert {name for name in inside - named if not name.endswith(".egg-info")} <= made
    assert named <= inside


def rates_of_the_report():
    """Success of every row of the table's report, by its name, as pages write it."""
    report = json.loads((ROOT / "docs/results/table/report.json").read_text())
    rates = {}
    for row in report["rows"]:
        low, high = (round(100 * bound) for bound in row.get("bootstrap_95") or row["wilson_95"])
        rates[row["name"]] = f"{round(100 * row['success_rate'])} [{low}, {high}]"
        if row["episodes"] != 100:
            rates[row["name"]] += f" n={row['episodes']}"
    return rates


@pytest.mark.parametrize("page", ROWS)
def test_tables_say_what_the_report_of_the_table_says(page):
    rates = rates_of_the_report()
    lines = (ROOT / page).read_text().splitlines()
    rows = [[c.strip() for c in x[1:-1].split("|")] for x in lines if x.startswith("| ")]
    for begin, name in ROWS[page].items():
        (cells,) = [
            row[1:] for row in rows
            if row[0] == begin or (begin.startswith("**") and row[0].startswith(begin))
        ]
        tasks = TASKS if len(cells) == 4 else TASKS[-1:]
        told = {t: c.replace("*", "") for t, c in zip(tasks, cells, strict=True) if c}
        assert told == {task: rates[f"{name}/{task}"] for task in told}, begin


@pytest.mark.parametrize("page", BEYOND)
def test_tables_of_harder_tasks_say_what_the_report_says(page):
    rates = rates_of_the_report()
    lines = (ROOT / page).read_text().splitlines()
    rows = [[c.strip() for c in x[1:-1].split("|")] for x in lines if x.startswith("| ")]
    (named,) = [row[1:] for row in rows if row[1].startswith("`reach_around`")]
    tasks = [re.findall(r"`(\w+)`", name)[0] for name in named]
    for begin, agent in BEYOND[page].items():
        (cells,) = [
            row[1:] for row in rows
            if row[0] == begin or (begin.startswith("**") and row[0].startswith(begin))
        ]
        told = {t: c.replace("*", "") for t, c in zip(tasks, cells, strict=True) if c}
        assert told == {t: rates[f"tasks/{t}-{agent}/{t}"] for t in told}, begin


def test_the_first_page_says_what_decides_as_readme_does():
    claim = re.search(r"\*\*Imagination decides\.\*\* (.*?it fails)", README, re.S)
    assert claim is not None
    index = " ".join((ROOT / "docs/index.md").read_text().split())
    assert " ".join(claim[1].split()) in index


def test_python_of_the_python_page_runs(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/python.md").read_text(), re.S)
    assert len(blocks) >= 3
    images = np.zeros((3, 64, 64, 3), np.uint8)
    states, actions = np.zeros((3, 7)), np.zeros((3, 7))
    EpisodeStore(tmp_path / "data/lab").write(
        "a", Episode(images, states, actions, commanded_closedness=np.zeros(3))
    )
    monkeypatch.chdir(tmp_path)
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), {})
    assert (tmp_path / "outputs/down.webp").exists()


def test_the_pictures_of_a_task_are_of_its_first_success_and_its_first_failure():
    def outcome(seed, success):
        return Outcome("row", seed, 0, success, 0.01, 5, True, 0.1)

    script = runpy.run_path(str(ROOT / "tools/docs/episodes.py"))
    found = script["chosen"]([outcome(7, False), outcome(5, True), outcome(4, False)])
    assert [(o.seed, o.success) for o in found] == [(5, True), (4, False)]
    assert [o.seed for o in script["chosen"]([outcome(9, True)])] == [9]
    sheets = {path.stem for path in (ROOT / "docs/episodes").glob("*.webp")}
    page = (ROOT / "docs/tasks.md").read_text()
    assert set(re.findall(r"\(episodes/(\w+)\.webp\)", page)) == sheets
    assert sheets <= set(script["NAMES"])
