"""Recordings that handle an object where nobody simulates the scene."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from arm_worldmodel.commands.robot import collect
from arm_worldmodel.handled_moves import (
    PLACE,
    HandledMoves,
    HandlingWriter,
    LostObject,
    holds,
    last_down,
    last_place,
)
from robot_data import grip_rule
from robot_data.episodes import EpisodeStore
from robot_data.events import object_places
from robot_data.loop import run_episode
from robot_data.pose import compose
from sims.handling import Handling
from sims.mujoco_arm import MujocoArm
from sims.tasks import DOWN_RPY, grasp_height_m
from sims.waypoints import Waypoint, waypoint_reached


class RealTable(gymnasium.Wrapper):
    """Nobody puts the scene back between two recordings."""

    def reset(self, *, seed=None, options=None):
        arm = self.unwrapped
        return arm.observation(), {"commanded": arm.commanded, "success": False,
                                   "distance_m": float("nan")}


@pytest.fixture(scope="module")
def table():
    arm = MujocoArm(task="pick_and_place")
    arm.observation = lambda: {"image": arm.render(), "state": arm.state}
    yield RealTable(arm)
    arm.close()


def begin(table, place=None, seed=9_100_001):
    arm = table.unwrapped
    arm.reset(seed=seed, options={"goal": False})
    place = place or (*arm.draw.object_xy_m, arm.draw.object_yaw_rad)
    return HandledMoves(place, grasp_height_m(arm), 0, arm.state, arm.commanded, settles=True)


def record(table, moves, store, name, frames):
    writer = HandlingWriter(store, name, {}, moves)
    run_episode(table, moves, 0, frames - 1, "none", [moves, writer])


def test_one_recording_begins_where_the_last_one_left_the_object(table, tmp_path):
    store, moves = EpisodeStore(tmp_path), begin(table)
    assert last_place(store) is None
    for name in "ab":
        record(table, moves, store, name, 121)
    arm = table.unwrapped
    episode = store.read("b")
    assert len(episode) == 121
    assert last_place(store) == tuple(episode.meta[PLACE]) == moves.place
    if not holds(arm.state, arm.commanded):
        assert np.linalg.norm(arm.object_pose[:2] - moves.place[:2]) < 0.02
        assert arm.object_pose[2] < 0.06
    known = [object_places(e.states, e.commanded_closedness) for e in map(store.read, "ab")]
    assert all(np.isfinite(places[:, 0]).mean() > 0.5 for places in known)


def test_free_moves_leave_the_object_where_it_was_put(table, tmp_path):
    moves, arm = begin(table, seed=9_100_002), table.unwrapped
    placed, low = {}, []
    for _ in range(170):
        observation, info = table.reset()
        moves._commanded = info["commanded"]
        action = moves.act(observation).action
        if moves._handle._goal.name in ("clear", "beside", "askew", "free"):
            placed.setdefault(moves._handle.placed, []).append(arm.object_pose[:2].copy())
            if arm.state[2] < grasp_height_m(arm) + 0.04:
                low.append(np.linalg.norm(arm.state[:2] - arm.object_pose[:2]))
        table.step(action)
    assert sum(len(seen) > 3 for seen in placed.values()) >= 2
    assert any(0.04 < away < 0.11 for away in low)  # beside it, as well as at it
    assert all(np.ptp(seen, axis=0).max() < 0.005 for seen in placed.values())


def test_a_lost_object_ends_the_recording_and_what_was_recorded_is_kept(table, tmp_path):
    store = EpisodeStore(tmp_path)
    arm = table.unwrapped
    begin(table)
    x, y = arm.draw.object_xy_m
    moves = begin(table, (x, y - 0.2 * np.sign(y), 0.0))
    with pytest.raises(LostObject, match=r"place=\[x,y\]"):
        record(table, moves, store, "lost", 60)
    assert 10 < len(store.read("lost")) < 60


@pytest.mark.parametrize(
    ("measured", "told", "given", "refused"),
    [(0.45, 0.45, None, True), (0.45, 0.45, (0.5, 0.1), False), (0.45, 1.0, None, False),
     (0.0, 0.0, (0.5, 0.1), False)],
)
def test_after_a_restart_nobody_guesses_whether_the_fingers_hold_the_object(
    tmp_path, measured, told, given, refused
):
    state = np.array([0.5, 0.0, 0.2, 3.14, 0, 0, measured])
    table = SimpleNamespace(
        reset=lambda: ({"state": state}, {"commanded": np.r_[state[:6], told]})
    )
    settings = collect.Settings(data=str(tmp_path), execute=True, objects=True, place=given)
    if not refused:
        assert collect._handling(settings, EpisodeStore(tmp_path), table)
        return
    with pytest.raises(ValueError, match=r"fingers stand at closedness 0\.45.*place="):
        collect._handling(settings, EpisodeStore(tmp_path), table)


def test_an_arm_on_its_way_lifts_only_what_its_fingers_have_closed_on():
    handle = Handling((0.5, 0.0, 0.0), 0.022, 0, patience=3.0)
    state, told = np.array([0.5, 0.0, 0.2, *DOWN_RPY, 0.0]), 0.0
    names, closedness = [], []
    for _ in range(200):
        action = handle(state, np.r_[state[:6], told])
        assert action is not None
        names.append(handle._goal.name)
        closedness.append(state[6])
        if names[-1] == "lifted":
            break
        if not grip_rule.holds(action[6]):
            told = grip_rule.told_after(action[6], told, state[6])
        state = np.r_[compose(state, np.r_[action[:6], 0.0])[:6], state[6]]
        # fingers of 0.1 m/s close on an object of 4 cm, and open at once
        state[6] = min(0.5, state[6] + 0.25) if told > 0.5 else 0.0
    assert names[-1] == "lifted"
    assert closedness[-3:] == [0.5, 0.5, 0.5]


def test_an_object_gripped_beside_the_middle_is_known_where_it_was_put_down():
    rng, down = np.random.default_rng(0), Rotation.from_euler("xyz", DOWN_RPY)
    thing = np.array([0.503, 0.002])  # where it is; the script believes 0.5, 0
    handle = Handling((0.5, 0.0, 0.0), 0.022, 0, patience=2.0)
    state, in_hand, told = np.array([0.5, 0.0, 0.2, *DOWN_RPY, 0.0]), None, []
    while handle.placed < 12:
        commanded = state if handle._goal is None else np.r_[state[:6], handle._goal.pose[6]]
        assert handle(state, commanded) is not None
        goal = handle._goal
        if goal.name == "around" and len(told) < handle.placed:
            told.append(np.array(handle.place[:2]) - thing)
        state = goal.pose.copy()
        state[:2] += rng.uniform(-0.003, 0.003, 2)  # as near as an arm comes
        turn = Rotation.from_euler("xyz", state[3:6]) * down.inv()
        across = turn.apply([1.0, 0.0, 0.0])[:2]  # fingers close along y of a hand that points down
        if goal.name == "closed":
            in_hand = (thing - state[:2]) @ across
        if goal.name in ("closed", "lifted", "carried", "lowered"):
            state[6] = 0.5
            thing = state[:2] + in_hand * across
        if goal.name == "released":
            thing = state[:2] + in_hand * across
    # what it was wrong by at first stays, and does not grow
    assert np.linalg.norm(told, axis=1).max() < 0.004
    assert len(told) == 12


@pytest.mark.parametrize("first", ["at", "lowered"])
def test_an_arm_on_its_way_moves_its_fingers_only_at_rest(first):
    """The hand follows with half of the way a step, as an arm does that is asked too early."""
    handle = Handling((0.5, 0.0, 0.0), 0.022, 0, patience=3.0)
    state, target, told, moved = np.array([0.5, 0.0, 0.2, *DOWN_RPY, 0.0]), None, 0.0, []
    before, step_m = "", 0.0
    for _ in range(400):
        was = state.copy()
        commanded = np.r_[(state if target is None else target)[:6], told]
        action = handle(state, commanded)
        if before == first and handle._goal.name in ("closed", "released"):
            moved.append(step_m)
        before = handle._goal.name
        if not grip_rule.holds(action[6]):
            told = grip_rule.told_after(action[6], told, state[6])
        target = compose(commanded, np.r_[action[:6], 0.0])
        state = np.r_[(state[:3] + target[:3]) / 2, target[3:6], state[6]]
        state[6] = min(0.5, state[6] + 0.25) if told > 0.5 else 0.0
        step_m = np.linalg.norm(state[:3] - was[:3])
        if len(moved) == 3:
            break
    assert len(moved) == 3
    assert max(moved) < 0.001


def test_a_recording_begins_with_the_hand_as_it_first_pointed_down(tmp_path):
    store = EpisodeStore(tmp_path)
    assert last_down(store) is None
    state = np.array([0.5, 0.0, 0.2, 3.14, 0.01, 0.02, 0.0])
    table = SimpleNamespace(reset=lambda: ({"state": state}, {"commanded": state}))
    settings = collect.Settings(data=str(tmp_path), execute=True, objects=True, place=(0.5, 0.1))
    moves = collect._handling(settings, store, table)
    assert moves.down_rpy == (3.14, 0.01, 0.02)
    arm = MujocoArm(task="grasp")
    run_episode(
        arm, moves, 0, 3, "none", [moves, HandlingWriter(store, "a", {}, moves)]
    )
    state[3:6] = (2.9, 0.2, 0.4)  # as a recording may end
    assert collect._handling(settings, store, table).down_rpy == (3.14, 0.01, 0.02)


def test_poses_about_the_object_keep_clear_of_it_and_in_the_box():
    for seed in range(20):
        handle = Handling((0.42, 0.14, 0.2), 0.022, seed, free=2)
        state, seen = np.array([0.5, 0.0, 0.2, *DOWN_RPY, 0.0]), 0
        for _ in range(300):
            commanded = state if handle._goal is None else np.r_[state[:6], handle._goal.pose[6]]
            assert handle(state, commanded) is not None
            goal = handle._goal
            if goal.name in ("beside", "askew"):
                seen += 1
                away = np.linalg.norm(goal.pose[:2] - handle.place[:2])
                assert away > 0.05 or goal.pose[2] > 0.08  # of an object of 6 cm
                assert 0.36 <= goal.pose[0] <= 0.64
                assert abs(goal.pose[1]) <= 0.2
            state = goal.pose.copy()
            if goal.name in ("closed", "lifted", "carried", "lowered"):
                state[6] = 0.5  # the object is between the fingers
        assert seen > 10


def test_fingers_as_good_as_open_have_been_opened():
    opened = Waypoint("released", np.array([0.5, 0.0, 0.02, *DOWN_RPY, 0.0]), 4)
    state = opened.pose.copy()
    state[6] = 0.032  # where an action too small to be one would have to take them on
    assert waypoint_reached(opened, state, state)
    state[6] = 0.06
    assert not waypoint_reached(opened, state, state)
