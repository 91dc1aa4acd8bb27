"""Swapped polarities, units and axes of imported states are found by what else was recorded."""

import numpy as np
import pytest
import zarr

from arm_worldmodel.cli import main
from arm_worldmodel.commands.data import check
from robot_data.checks import inspect
from robot_data.conventions import StateConvention
from robot_data.episodes import EpisodeStore
from robot_data.polarity import hand_seen, lifts, seen_late, seen_rising, stalls
from robot_data.schema import Episode
from robot_data.summary import Summary

SIDE = 64


def carried(seed: int, commands: bool = True) -> Episode:
    """A hand that reaches down, closes on an object at closedness 0.5, lifts it, carries it, puts
    it down and opens; seen by an upright camera in front."""
    rng = np.random.default_rng(seed)
    turn = np.arange(48)
    x = 0.5 + 0.08 * np.sin(turn / 7 + seed)
    y = 0.15 * np.cos(turn / 9 + 2 * seed)
    z = np.interp(turn, [0, 12, 18, 26, 34, 40, 47], [0.3, 0.1, 0.1, 0.3, 0.25, 0.1, 0.25])
    measured = np.interp(turn, [13, 16, 38, 41], [0.0, 0.5, 0.5, 0.0])
    told = np.where((turn > 13) & (turn < 38), 1.0, 0.0) if commands else measured
    angles = np.c_[3.1 + rng.normal(0, 0.003, 48), 0.05 * np.sin(turn / 5), 0.4 * np.cos(turn / 8)]
    states = np.c_[x, y, z, angles, measured]
    images = np.full((48, SIDE, SIDE, 3), 60, np.uint8)
    rows = np.round(52 - 130 * z + 20 * (x - 0.5)).astype(int)
    columns = np.round(32 + 110 * y).astype(int)
    for image, row, column in zip(images, rows, columns, strict=True):
        image[max(0, row - 5) : row + 5, max(0, column - 4) : column + 4] = (200, 180, 160)
    images += rng.integers(0, 6, images.shape, dtype=np.uint8)
    return Episode(
        images=images, states=states, actions=np.zeros((48, 7)), commanded_closedness=told,
        timestamps_ns=turn * 200_000_000 + seed, meta={"camera": "top"},
    )


def texts_of(tmp_path, change=None, episodes=3, commands=True):
    store = EpisodeStore(tmp_path / "store")
    for seed in range(episodes):
        episode = carried(seed, commands)
        if change:
            change(episode)
        store.write(f"e{seed}", episode)
    return [f.text for _, found in inspect(store, Summary()) for f in found]


def test_a_sound_source_has_no_findings(tmp_path):
    assert texts_of(tmp_path) == []


@pytest.mark.parametrize("commands", [True, False])
def test_the_polarity_is_right_where_there_are_no_commands_either(tmp_path, commands):
    assert texts_of(tmp_path, commands=commands) == []


def reading(wrote: dict, read: dict):
    """What an import makes of states that were written in one convention and read in another."""
    def change(episode: Episode) -> None:
        wrong = StateConvention(**read)
        true = StateConvention(**wrote)
        told = true.from_closedness(episode.commanded_closedness)
        episode.states = wrong.to_state(true.from_state(episode.states))
        episode.commanded_closedness = wrong.to_closedness(told)
    return change


def z_down(episode: Episode) -> None:
    episode.states[:, 2] *= -1


def command_inverted(episode: Episode) -> None:
    episode.commanded_closedness = 1 - episode.commanded_closedness


def nothing_told(episode: Episode) -> None:
    episode.commanded_closedness = episode.states[:, 6].copy()


def pictures_late(episode: Episode) -> None:
    episode.images = np.roll(episode.images, 2, axis=0)


def recorded(root, wrote: dict, change) -> None:
    """A replay buffer of two episodes by a source that writes states as ``wrote`` says."""
    episodes = [carried(seed) for seed in range(2)]
    for episode in episodes:
        change(episode)
    true = StateConvention(**wrote)
    rows = np.concatenate([true.from_state(e.states) for e in episodes])
    told = np.concatenate([true.from_closedness(e.commanded_closedness) for e in episodes])
    group = zarr.open_group(root, mode="w", zarr_format=2)
    for name, value in {
        "data/place": rows[:, :3], "data/turn": rows[:, 3:-1], "data/gripper": rows[:, -1:],
        "data/told": told[:, None], "data/camera0_rgb": np.concatenate(
            [e.images for e in episodes]), "meta/episode_ends": np.array([48, 96]),
    }.items():
        group.create_array(name, data=value, chunks=(48, *value.shape[1:]))


# How the source writes, how the import is told that it does, what else is wrong, and the finding.
METRES, RADIANS = "are positions in metres", "are they in radians"
SWAPS = {
    "gripper inverted": ({"gripper": "openness"}, {}, None, "gripper looks inverted: 2 of 2"),
    "gripper inverted, no commands": (
        {"gripper": "openness"}, {}, nothing_told, "2 of 2 times that the hand rose",
    ),
    "gripper in metres": (
        {"gripper": "width", "max_width_m": 0.08}, {}, None, "gripper only goes from 0.04 to",
    ),
    "gripper of 1 as percent": (
        {}, {"gripper": "range", "open_value": 0.0, "closed_value": 10.0}, None,
        "gripper only goes from 0 to",
    ),
    "command inverted": ({}, {}, command_inverted, "command goes against its measure in 2 of 2"),
    "millimetres": ({"position": "mm"}, {}, None, METRES),
    "centimetres": ({"position": "cm"}, {}, None, METRES),
    "metres as millimetres": ({}, {"position": "mm"}, None, METRES),
    "degrees": ({"rotation": "euler_xyz_deg"}, {}, None, RADIANS),
    "radians as degrees": ({}, {"rotation": "euler_xyz_deg"}, None, RADIANS),
    "z inverted": ({}, {}, z_down, "going down as z grows in 2 of 2"),
    "pictures of another time": ({}, {}, pictures_late, "2 frames after its states in 2 of 2"),
    "nothing": (
        {"position": "mm", "rotation": "axis_angle", "gripper": "openness"},
        {"position": "mm", "rotation": "axis_angle", "gripper": "openness"}, None,
        "2 readable episodes, 0 errors, 0 warnings",
    ),
}


@pytest.mark.parametrize("swap", SWAPS)
def test_every_swap_of_polarity_unit_and_axis_is_found_by_the_command(tmp_path, capsys, swap):
    wrote, read, change, text = SWAPS[swap]
    recorded(tmp_path / "replay.zarr", wrote, change or (lambda episode: None))
    told = [f"convention.{key}={value}" for key, value in {"gripper": "closedness", **read}.items()]
    assert main([
        "import", "format=umi", f"src={tmp_path / 'replay.zarr'}", f"out={tmp_path / 'store'}",
        *told, "columns.state=[place,turn,gripper]", "columns.command=told", "workers=1",
        f"fit.image_size={SIDE}",
    ]) == 0
    capsys.readouterr()
    assert main(["data", "check", f"data={tmp_path / 'store'}"]) == 0
    found = capsys.readouterr().out
    assert text in found, found


def test_an_inverted_gripper_is_found_without_commands_by_what_was_lifted(tmp_path):
    change = reading({"gripper": "openness"}, {})
    (found,) = texts_of(tmp_path, change, commands=False)
    assert "gripper looks inverted: 3 of 3 times that the hand rose" in found


def test_one_odd_episode_among_sound_ones_is_no_finding(tmp_path):
    odd = iter([True, False, False, False])

    def change(episode):
        if next(odd):
            z_down(episode)
            reading({"gripper": "openness"}, {})(episode)

    assert not any("inverted" in text for text in texts_of(tmp_path, change, episodes=4))


def test_check_names_source_and_evidence(tmp_path, capsys):
    store = EpisodeStore(tmp_path)
    for seed in range(2):
        episode = carried(seed)
        reading({"gripper": "openness"}, {})(episode)
        episode.meta["import"] = {"format": "lerobot"}
        store.write(f"e{seed}", episode)
    check.run(check.Settings(data=str(tmp_path)))
    shown = capsys.readouterr().out
    assert "warning  2 episodes of lerobot: gripper looks inverted: 2 of 2 times" in shown
    assert "0 errors, 1 warnings" in shown


def test_what_speaks_for_neither_side_is_not_counted():
    episode = carried(0)
    still = np.tile(episode.states[0], (48, 1))
    seen = hand_seen(episode.images)
    assert seen is not None
    assert seen_rising(seen, still) == 0
    assert seen_late(seen, still) is None
    assert lifts(still) == (0, 0)
    opened_a_little = np.full(48, 0.12)
    assert stalls(opened_a_little, np.zeros(48)) == (0, 0)
    assert stalls(episode.states[:, 6], episode.commanded_closedness) == (1, 0)
    unseen = episode.states.copy()
    unseen[:, 2] = 0.2 + 0.05 * np.sin(np.arange(48))
    assert seen_rising(seen, unseen) == 0
    assert hand_seen(np.zeros((48, SIDE, SIDE, 3), np.uint8)) is None
    moving = np.random.default_rng(0).integers(0, 256, (48, 32, 32, 3), dtype=np.uint8)
    assert hand_seen(moving) is None


@pytest.mark.parametrize(("shift", "told"), [
    (2, "2 frames after its states in 3 of 3"), (-2, "2 frames before its states in 3 of 3"),
])
def test_pictures_of_another_time_than_the_states_are_found(tmp_path, shift, told):
    def late(episode):
        episode.images = np.roll(episode.images, shift, axis=0)

    assert any(told in text for text in texts_of(tmp_path, late))


def test_a_simulated_hand_is_seen_at_its_time(env):
    rng = np.random.default_rng(2)
    observation, _ = env.reset(seed=1)
    images, states = [observation["image"]], [observation["state"]]
    for t in range(30):
        aim = np.r_[
            0.5 + 0.1 * np.sin(t / 3), 0.15 * np.cos(t / 4), 0.3 + 0.12 * np.sin(t / 2)
        ]
        step = np.clip(aim - states[-1][:3], -0.05, 0.05) + rng.normal(0, 0.005, 3)
        action = np.r_[step, np.zeros(4)]
        observation, *_ = env.step(action)
        images.append(observation["image"])
        states.append(observation["state"])
    seen = hand_seen(np.stack(images))
    assert seen is not None
    assert seen_rising(seen, np.stack(states)) >= 0
    assert seen_late(seen, np.stack(states)) == 0
    assert seen_late(seen, np.roll(np.stack(states), -2, axis=0)) == 2
