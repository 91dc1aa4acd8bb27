from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from arm_worldmodel.self_calibration import show_moves
from planners.calibration import (
    CalibrationError,
    fit_map,
    load_calibration,
    require_of_use,
)
from planners.config import AgentConfig
from planners.goals import embedding_of
from planners.perception import Perception
from robot_data.random_moves import HIGH_M, LOW_M, YAW_RAD, RandomMoves
from sims.handling import Handling
from sims.mujoco_arm import MujocoArm
from sims.tasks import grasp_height_m
from worldmodel.config import EncoderConfig, ReadoutConfig
from worldmodel.encoder import Encoder
from worldmodel.readout import Readout


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


@settings(deadline=None, max_examples=30)
@given(
    st.floats(-0.6, 0.6), st.floats(0.7, 1.4),
    st.tuples(*[st.floats(-0.05, 0.05)] * 3), st.integers(0, 100),
)
def test_a_turned_stretched_and_shifted_view_is_undone(yaw, scale, shift, seed):
    measured = poses(seed=seed)
    inferred = seen_from(measured, yaw, scale, np.array(shift))
    found = fit_map(inferred, measured)
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
    found = fit_map(seen_from(measured, 0.3, 1.0, np.zeros(3)), measured)
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
    found = fit_map(inferred, measured)
    assert found.error_after_m < 0.8 * found.error_before_m
    turned = np.arctan2(found.matrix[1][0], found.matrix[0][0])
    assert turned == pytest.approx(-0.26, abs=0.06)


def test_too_few_moves_and_a_model_that_does_not_follow_are_refused():
    with pytest.raises(CalibrationError, match="at least 12"):
        fit_map(poses(5), poses(5))
    measured = poses(60)
    deaf = np.tile(measured[:1], (60, 1))
    deaf[:, :3] += np.random.default_rng(0).normal(0, 0.001, (60, 3))
    with pytest.raises(CalibrationError, match="does not follow"):
        fit_map(deaf, measured)


def test_a_hand_that_stays_three_centimetres_wrong_is_refused():
    require_of_use(0.029)
    with pytest.raises(CalibrationError, match=r"off by 3\.1 cm after calibration"):
        require_of_use(0.031)


def calibration(readout):
    measured = poses()
    found = fit_map(seen_from(measured, 0.3, 1.1, np.zeros(3)), measured)
    weights = {name: weight + 0.5 for name, weight in readout.state_dict().items()}
    return replace(found, readout=weights, encoder="0ac3")


def small_readout(width=16):
    torch.manual_seed(0)
    return Readout(ReadoutConfig(24, 4, width, 1, 2, 2, object=True)).eval()


def test_calibration_files_round_trip_and_broken_ones_say_so(tmp_path):
    readout = small_readout()
    found = calibration(readout)
    path = tmp_path / "calibration.safetensors"
    found.save(path)
    again = load_calibration(path, "0ac3")
    state, tokens = torch.from_numpy(poses()), torch.rand(3, 4, 24)
    assert torch.equal(again.to_robot(state), found.to_robot(state))
    assert torch.equal(again.fitted(readout)(tokens), found.fitted(readout)(tokens))
    assert not torch.equal(found.fitted(readout)(tokens), readout(tokens))
    assert (again.moves, again.error_after_m) == (found.moves, found.error_after_m)
    with pytest.raises(CalibrationError, match="readout of another shape"):
        again.fitted(small_readout(32))
    replace(found, readout=None).save(path)
    assert load_calibration(path, "0ac3").fitted(readout) is readout
    with pytest.raises(CalibrationError, match="another encoder"):
        load_calibration(path, "51d7")
    whole = path.read_bytes()
    older = whole.replace(b'"encoder"', b'"decoder"')  # of the version before
    for broken in (b"", b"{}", whole[:200], whole.replace(b"matrix", b"nothin"), older):
        path.write_bytes(broken)
        with pytest.raises(CalibrationError, match="worldmodel calibrate"):
            load_calibration(path, "0ac3")
    with pytest.raises(CalibrationError):
        load_calibration(tmp_path / "absent.safetensors", "0ac3")


def read(perception, tokens):
    states = perception.read(tokens)
    assert states is not None
    return states


def test_perception_and_costs_read_with_the_calibrated_readout_and_without_it_as_before():
    readout = small_readout()
    config = EncoderConfig(image_size=32, embed_dim=24, depth=1, num_heads=2)
    perception = Perception(Encoder(config).eval(), readout)
    embedding = embedding_of(perception, AgentConfig(bf16=False))
    assert embedding is not None
    tokens = torch.rand(3, 4, 24)
    before, points = readout.state(tokens), embedding(tokens)
    assert torch.equal(read(perception, tokens), before)
    found = calibration(readout)
    perception.calibrate(found)
    assert torch.equal(read(perception, tokens), found.fitted(readout).state(tokens))
    assert not torch.allclose(embedding(tokens), points)
    perception.calibrate(None)
    assert torch.equal(read(perception, tokens), before)
    assert torch.equal(embedding(tokens), points)
    perception.calibrate(replace(found, readout=None))  # a map alone
    assert torch.equal(read(perception, tokens), found.to_robot(before))


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
    images, states, places, measured, follows = show_moves(env, 100, 0.075, 9_000_003, quiet=True)
    assert images.shape == (100, 128, 128, 3)
    assert states.shape == (100, 7)
    assert set(states[:, 6]) == {0.0, 1.0}  # as commanded, not as the object stops them
    assert 0.1 < states[:, 6].mean() < 0.9
    kept = seen[-100:]
    known = np.isfinite(places[:, 0])
    assert known.mean() > 0.25
    away = places[known, :2] - np.array([place for _, place in kept])[known]
    away = np.linalg.norm(away, axis=1)
    assert np.median(away) < 0.01  # told by the gripper alone
    assert away.max() < 0.03
    assert follows[1:].all()
    assert not follows[0]
    assert (measured[:, 6] < states[:, 6] + 0.2).all()  # the fingers meet an object
    np.testing.assert_array_equal(measured[:, :6], states[:, :6])
    np.testing.assert_array_equal(images[-1], kept[-1][0])
    assert all(np.linalg.norm(place - begins) > 0.01 for _, place in kept[:50])
