from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from arm_worldmodel.self_calibration import show_moves
from planners.calibration import CalibrationError, Views, fit_calibration, load_calibration
from robot_data.random_moves import HIGH_M, LOW_M, YAW_RAD, RandomMoves
from sims.handling import Handling
from sims.mujoco_arm import MujocoArm
from sims.tasks import grasp_height_m


def poses(count=40, seed=0):
    rng = np.random.default_rng(seed)
    xyz = rng.uniform([0.4, -0.15, 0.05], [0.6, 0.15, 0.25], (count, 3))
    turn = np.array([np.pi, 0.0, -np.pi / 2]) + rng.normal(0, 0.1, (count, 3))
    turn = Rotation.from_euler("xyz", turn).as_euler("xyz")
    return np.c_[xyz, turn, rng.uniform(0, 1, count)]


def seen_from(measured, yaw_rad, scale, shift):
    """What a model infers whose axes are turned by ``yaw_rad``, stretched and shifted."""
    turn = Rotation.from_euler("z", yaw_rad)
    centre = np.array([0.5, 0.0, 0.15])
    xyz = scale * turn.apply(measured[:, :3] - centre) + centre + shift
    euler = (turn * Rotation.from_euler("xyz", measured[:, 3:6])).as_euler("xyz")
    return np.c_[xyz, euler, measured[:, 6]]


def one_view(features, inferred):
    return Views(features[None], inferred[None, :, :3], inferred[None, :, 6])


@settings(deadline=None, max_examples=30)
@given(
    st.floats(-0.6, 0.6), st.floats(0.7, 1.4),
    st.tuples(*[st.floats(-0.05, 0.05)] * 3), st.integers(0, 100),
)
def test_a_turned_stretched_and_shifted_view_is_undone(yaw, scale, shift, seed):
    measured = poses(seed=seed)
    inferred = seen_from(measured, yaw, scale, np.array(shift))
    found = fit_calibration(inferred, measured)
    assert found.error_after_m < 1e-6
    back = found.to_robot(torch.from_numpy(inferred)).numpy()
    np.testing.assert_allclose(back[:, :3], measured[:, :3], atol=1e-6)
    true = Rotation.from_euler("xyz", measured[:, 3:6])
    assert (Rotation.from_euler("xyz", back[:, 3:6]).inv() * true).magnitude().max() < 1e-5
    np.testing.assert_array_equal(back[:, 6], measured[:, 6])
    again = found.to_robot(found.to_model(torch.from_numpy(measured))).numpy()
    np.testing.assert_allclose(again[:, :3], measured[:, :3], atol=1e-6)


def test_actions_reach_the_model_turned_as_it_sees_them():
    measured = poses()
    found = fit_calibration(seen_from(measured, 0.3, 1.0, np.zeros(3)), measured)
    action = torch.tensor([[0.05, 0.0, 0.0, 0.0, 0.0, 0.1, 0.5]], dtype=torch.float64)
    seen = found.actions_to_model(action)[0].numpy()
    expected = Rotation.from_euler("z", 0.3).apply([0.05, 0.0, 0.0])
    np.testing.assert_allclose(seen[:3], expected, atol=1e-6)
    np.testing.assert_allclose(seen[3:], [0, 0, 0.1, 0.5], atol=1e-6)  # about the same axis


def test_noise_and_outliers_are_averaged_out():
    rng = np.random.default_rng(0)
    measured = poses(80)
    inferred = seen_from(measured, 0.26, 1.0, np.zeros(3))
    inferred[:, :3] += rng.normal(0, 0.01, (80, 3))
    inferred[3, :3] += 0.3
    found = fit_calibration(inferred, measured)
    assert found.error_after_m < 0.8 * found.error_before_m
    turned = np.arctan2(found.matrix[1][0], found.matrix[0][0])
    assert turned == pytest.approx(-0.26, abs=0.06)


def test_too_few_moves_and_a_model_that_does_not_follow_are_refused():
    with pytest.raises(CalibrationError, match="at least 12"):
        fit_calibration(poses(5), poses(5))
    measured = poses(60)
    deaf = np.tile(measured[:1], (60, 1))
    deaf[:, :3] += np.random.default_rng(0).normal(0, 0.001, (60, 3))
    with pytest.raises(CalibrationError, match="does not follow"):
        fit_calibration(deaf, measured)


def test_what_an_affine_map_leaves_is_learned_from_features():
    rng = np.random.default_rng(0)
    measured = poses(200)
    features = np.c_[measured[:, :3] * 10, rng.normal(0, 0.1, (200, 5))].astype(np.float32)
    inferred = seen_from(measured, 0.2, 1.0, np.zeros(3))
    inferred[:, 0] += 0.02 * np.sin(25 * measured[:, 1])  # no affine map undoes this
    plain = fit_calibration(inferred, measured)
    found = fit_calibration(inferred, measured, one_view(features, inferred))
    assert found.error_after_m < 0.5 * plain.error_after_m
    there = found.to_robot(torch.from_numpy(inferred), torch.from_numpy(features).double())
    assert np.median(np.linalg.norm(there[:, :3].numpy() - measured[:, :3], axis=1)) < 0.005
    far = torch.full((1, 8), 1e3, dtype=torch.float64)  # nothing like it was seen: affine only
    assert torch.equal(
        found.to_robot(torch.from_numpy(inferred[:1]), far),
        found.to_robot(torch.from_numpy(inferred[:1])),
    )


def test_a_gripper_read_as_half_as_closed_as_it_is_is_learned_too():
    rng = np.random.default_rng(1)
    measured = poses(200)
    measured[:, 6] = rng.integers(0, 2, 200)  # commanded: open or closed
    features = np.c_[
        measured[:, :3] * 10, 3 * measured[:, 6], rng.normal(0, 0.1, (200, 4))
    ].astype(np.float32)
    inferred = seen_from(measured, 0.2, 1.0, np.zeros(3))
    inferred[:, 6] = 0.3 * measured[:, 6]
    found = fit_calibration(
        inferred[40:], measured[40:], one_view(features[40:], inferred[40:])
    )
    seen = torch.from_numpy(features[:40]).double()  # not among what it was fitted to
    there = found.to_robot(torch.from_numpy(inferred[:40]), seen).numpy()
    np.testing.assert_allclose(there[:, 6], measured[:40, 6], atol=0.1)
    assert (there[:, 6] >= 0).all()
    assert (there[:, 6] <= 1).all()


def test_a_hand_that_stays_three_centimetres_wrong_is_refused():
    measured = poses(200)
    inferred = seen_from(measured, 0.0, 1.0, np.zeros(3))
    inferred[:, :3] += np.random.default_rng(0).normal(0, 0.08, (200, 3))
    with pytest.raises(CalibrationError, match=r"off by .* cm after calibration"):
        fit_calibration(inferred, measured)


def test_calibrations_written_before_the_gripper_was_part_of_them_leave_it_as_read(tmp_path):
    measured = poses()
    features = np.random.default_rng(0).normal(0, 1, (40, 6)).astype(np.float32)
    inferred = seen_from(measured, 0.3, 1.1, np.zeros(3))
    found = fit_calibration(inferred, measured, one_view(features, inferred))
    old = replace(found, residual=replace(found.residual, dual=found.residual.dual[:, :3]))
    old.save(tmp_path / "old.safetensors")
    state, seen = torch.from_numpy(measured), torch.from_numpy(features).double()
    there = load_calibration(tmp_path / "old.safetensors").to_robot(state, seen)
    assert torch.equal(there[:, 6], state[:, 6])
    assert torch.equal(there[:, :3], found.to_robot(state, seen)[:, :3])


def test_calibration_files_round_trip_and_broken_ones_say_so(tmp_path):
    measured = poses()
    features = np.random.default_rng(0).normal(0, 1, (40, 6)).astype(np.float32)
    inferred = seen_from(measured, 0.3, 1.1, np.zeros(3))
    found = fit_calibration(inferred, measured, one_view(features, inferred))
    path = tmp_path / "calibration.safetensors"
    found.save(path)
    again = load_calibration(path)
    state, seen = torch.from_numpy(measured), torch.from_numpy(features).double()
    assert torch.equal(again.to_robot(state, seen), found.to_robot(state, seen))
    assert (again.moves, again.error_after_m) == (found.moves, found.error_after_m)
    odd = replace(found, residual=replace(found.residual, dual=found.residual.dual[:, 0]))
    odd.save(path)
    with pytest.raises(CalibrationError, match="dual must have shape"):
        load_calibration(path)
    found.save(path)
    whole = path.read_bytes()
    for broken in (b"", b"{}", whole[:200], whole.replace(b"matrix", b"nothin")):
        path.write_bytes(broken)
        with pytest.raises(CalibrationError, match="worldmodel calibrate"):
            load_calibration(path)
    with pytest.raises(CalibrationError):
        load_calibration(tmp_path / "absent.safetensors")


def test_random_moves_cover_the_workspace_and_the_table():
    moves, state = RandomMoves(0.075, seed=3), np.array([0.5, 0, 0.2, np.pi, 0, -1.5, 0.0])
    yaw, places, closed = 0.0, [], []
    for _ in range(800):
        action = moves(state)
        assert np.linalg.norm(action[:3]) <= 0.075 + 1e-9
        state[:3] += action[:3]
        state[6] += action[6]
        yaw += action[5]
        assert abs(yaw) <= YAW_RAD + 1e-9
        places.append(state[:3].copy())
        closed.append(state[6])
    places = np.array(places)
    assert (places >= np.array(LOW_M) - 1e-9).all()
    assert (places <= np.array(HIGH_M) + 1e-9).all()
    for axis in range(2):
        share = np.histogram(places[:, axis], 4, (LOW_M[axis], HIGH_M[axis]))[0] / len(places)
        assert share.min() > 0.1
    assert (places[:, 2] < LOW_M[2] + 0.03).mean() > 0.2
    assert 0.3 < np.mean(closed) < 0.7


@pytest.fixture(scope="module")
def env():
    arm = MujocoArm(task="pick_and_place")
    yield arm
    arm.close()


def handle(env, seed, steps):
    """Object places and commanded closedness while it is handled."""
    _, info = env.reset(seed=seed, options={"goal": False})
    moves = Handling((*env.draw.object_xy_m, env.draw.object_yaw_rad), grasp_height_m(env), seed)
    places, closed, placed = [], [], []
    for _ in range(steps):
        action = moves(env.state, info["commanded"])
        if action is None:
            break
        *_, info = env.step(action)
        places.append(info["object_pose"][:3])
        closed.append(info["commanded"][6])
        placed.append(moves.placed)
    return np.array(places), np.array(closed), np.array(placed)


def test_an_object_is_carried_from_place_to_place_without_being_looked_for(env):
    places, closed, placed = handle(env, 9_000_001, 150)
    assert len(places) == 150
    assert placed[-1] >= 4
    assert (np.diff(placed) >= 0).all()
    lifted = places[:, 2] > 0.06
    assert 0.1 < lifted.mean() < 0.6
    assert (closed[lifted] > 0.5).mean() > 0.95
    stands = [places[(placed == n) & ~lifted][0, :2] for n in range(1, placed[-1])]
    assert np.ptp(stands, axis=0).max() > 0.08
    assert (places[:, :2] > [0.36, -0.19]).all()
    assert (places[:, :2] < [0.64, 0.19]).all()


def test_a_hand_that_closes_on_nothing_says_so(env):
    _, info = env.reset(seed=9_000_002, options={"goal": False})
    x, y = env.draw.object_xy_m
    moves = Handling((x, y - 0.2 * np.sign(y), 0.0), grasp_height_m(env), 0)  # it is not there
    for _ in range(60):
        action = moves(env.state, info["commanded"])
        if action is None:
            break
        *_, info = env.step(action)
    assert action is None
    assert moves.placed == 0


def test_calibration_does_not_learn_the_place_where_the_episode_begins(env, monkeypatch):
    env.reset(seed=9_000_003, options={"goal": False})
    begins, seen = env.object_pose[:2].copy(), []
    step = env.step

    def watched(action):
        result = step(action)
        seen.append((result[0]["image"], result[4]["object_pose"][:2]))
        return result

    monkeypatch.setattr(env, "step", watched)
    images, states, places = show_moves(env, 100, 0.075, 9_000_003, quiet=True)
    assert images.shape == (100, 128, 128, 3)
    assert states.shape == (100, 7)
    assert set(states[:, 6]) == {0.0, 1.0}  # as commanded, not as the object stops them
    assert 0.1 < states[:, 6].mean() < 0.9
    kept = seen[-100:]
    known = np.isfinite(places[:, 0])
    assert known.mean() > 0.25
    away = places[known, :2] - np.array([place for _, place in kept])[known]
    assert np.median(np.linalg.norm(away, axis=1)) < 0.01  # told by the gripper alone
    np.testing.assert_array_equal(images[-1], kept[-1][0])
    assert all(np.linalg.norm(place - begins) > 0.01 for _, place in kept[:50])


def test_where_the_object_is_is_learned_from_the_frames_that_tell():
    rng = np.random.default_rng(3)
    measured, true = poses(200, 3), rng.uniform([0.4, -0.15, 0.02], [0.6, 0.15, 0.2], (200, 3))
    features = np.c_[measured[:, :3] * 10, true * 10].astype(np.float32)
    inferred = seen_from(measured, 0.2, 1.0, np.zeros(3))
    read = true * 0.4 + np.array([0.3, 0.05, 0.1])  # not as the hand is read
    known = np.where(np.arange(200)[:, None] % 3, true, np.nan)
    views = Views(features[None], inferred[None, :, :3], inferred[None, :, 6], read[None], known)
    found = fit_calibration(inferred[40:], measured[40:], views.of(np.arange(200) >= 40))
    seen, place = torch.from_numpy(features[:40]).double(), torch.from_numpy(read[:40])
    off = np.linalg.norm(found.place_to_robot(place, seen).numpy() - true[:40], axis=1)
    affine = np.linalg.norm(found.place_to_robot(place).numpy() - true[:40], axis=1)
    assert np.median(off) < 0.015
    assert np.median(off) < 0.3 * np.median(affine)


def test_of_a_picture_seen_several_times_the_mean_residual_counts():
    measured = poses()
    features = np.random.default_rng(0).normal(0, 1, (3, 40, 6)).astype(np.float32)
    inferred = seen_from(measured, 0.3, 1.1, np.zeros(3))
    views = Views(features, np.stack([inferred[:, :3]] * 3), np.stack([inferred[:, 6]] * 3))
    found = fit_calibration(inferred, measured, views)
    state, seen = torch.from_numpy(measured), torch.from_numpy(features).double()
    each = torch.stack([found.to_robot(state, view)[:, :3] for view in seen])
    torch.testing.assert_close(found.to_robot(state, seen)[:, :3], each.mean(0))
