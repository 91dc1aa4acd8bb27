"""One contract for every environment, and what each task promises."""

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import product

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import PassiveEnvChecker

import sims.make
from arm_worldmodel.simulated_arm import SIM_HZ, SimulatedArm
from robot_data import pose
from robot_data.schema import DataError, check_image, check_state
from robots.franka_env import FrankaEnv, FrankaEnvConfig
from robots.local.camera import CameraConfig
from robots.local.link import LocalLink
from robots.local.process import ArmProcessConfig
from sims import mujoco_scene, scene, tasks
from sims.config import ArmConfig
from sims.make import arm_for
from sims.mujoco_arm import MujocoArm
from sims.textures import table_textures

BULLET = pytest.mark.skipif(
    find_spec("pybullet") is None, reason="PyBullet wheels end at Python 3.11"
)
SIMULATORS = [
    "arm_worldmodel/MujocoArm-v0", pytest.param("arm_worldmodel/BulletArm-v0", marks=BULLET)
]
FRANKA = pytest.param("franka", marks=pytest.mark.realtime)
STILL = np.zeros(7)
TEST_CARD = CameraConfig("testsrc2=size=320x240:rate=15,realtime", "lavfi")


@pytest.fixture
def make(tmp_path, request):
    """Makes an environment; "franka" is a real arm's, here with a simulated arm behind its loop
    and a test card as its camera.  All are closed when the test ends."""
    made = []

    def open_franka(task):
        machine = request.getfixturevalue("machine")
        machine.fault_logs.append(tmp_path / "faults.jsonl")
        link = LocalLink(
            partial(SimulatedArm, "mujoco", arm_for(ArmConfig(), task), 100_000, tmp_path),
            TEST_CARD,
            ArmProcessConfig(tick_hz=SIM_HZ, fault_log=str(tmp_path / "faults.jsonl")),
        )
        patient = FrankaEnvConfig(step_timeout_s=machine.seconds(20))
        card = np.full((128, 128, 3), 99, np.uint8)
        return FrankaEnv(link, patient, goals=[card], goal_names=["card"])

    def make(name, task="reach"):
        made.append(
            open_franka(task) if name == "franka" else gymnasium.make(name, task=task).unwrapped
        )
        return made[-1]

    yield make
    for env in made:
        env.close()


@pytest.mark.parametrize("name", [*SIMULATORS, FRANKA])
class TestContract:
    def test_gymnasium_checker_passes(self, make, name):
        env = make(name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*action space.*")
            warnings.filterwarnings("ignore", message=".*infinity.*")
            if name == "franka":  # the same seed does not make the same world: each call alone
                env = PassiveEnvChecker(env)
                env.reset(seed=3)
                env.step(STILL)
            else:
                check_env(env, skip_render_check=True)

    def test_bad_actions_are_refused(self, make, name):
        env = make(name)
        env.reset(seed=0, options={"goal": False})
        with pytest.raises(DataError, match="finite"):
            env.step(np.full(7, np.nan))
        with pytest.raises(DataError, match="shape"):
            env.step(np.zeros(6))


# A real arm knows nothing of tasks: it is opened once.
@pytest.mark.parametrize(
    ("name", "task"),
    [*product(["arm_worldmodel/MujocoArm-v0"], tasks.TASKS),
     *(pytest.param("arm_worldmodel/BulletArm-v0", task, marks=BULLET) for task in tasks.TASKS),
     pytest.param("franka", "reach", marks=pytest.mark.realtime)],
)
def test_observation_fits_the_schema_and_goals_are_images(make, name, task):
    env = make(name, task)
    observation, info = env.reset(seed=3)
    check_image(observation["image"])
    check_state(observation["state"])
    assert info["goal_reached"]
    assert len(info["subgoal_images"]) == len(info["subgoal_names"])
    for image in info["subgoal_images"]:
        check_image(image)
    np.testing.assert_array_equal(info["goal_image"], info["subgoal_images"][-1])
    assert not info["success"]


@pytest.mark.parametrize("task", tasks.TASKS)
def test_every_task_can_stand_behind_a_real_arms_loop(tmp_path, task):
    arm = SimulatedArm("mujoco", arm_for(ArmConfig(), task), 100_000, tmp_path)
    pose, closedness = arm.sense()
    assert np.isfinite(pose).all()
    assert 0 <= closedness <= 1
    arm.close()


@pytest.mark.parametrize("name", SIMULATORS)
class TestSimulatorContract:
    def test_same_seed_same_episode_bit_for_bit(self, make, name):
        def record(env):
            observation, info = env.reset(seed=11)
            frames = [observation["image"], info["goal_image"]]
            states = [observation["state"]]
            rng = np.random.default_rng(0)
            for _ in range(4):
                observation, _, _, _, info = env.step(rng.uniform(-0.05, 0.05, 7))
                frames.append(observation["image"])
                states.append(np.r_[observation["state"], info["object_pose"]])
            return frames, states

        one, two = (make(name, "pick_and_place") for _ in range(2))
        two.reset(seed=5)  # an episode in between must not matter
        two.step(np.full(7, 0.02))
        for a, b in zip(record(one), record(two), strict=True):
            for x, y in zip(a, b, strict=True):
                np.testing.assert_array_equal(x, y)

    def test_restore_comes_back_as_often_as_asked(self, make, name):
        env = make(name, "grasp")
        env.reset(seed=4)
        saved = env.snapshot()
        reached = []
        for _ in range(3):
            env.restore(saved)
            for _ in range(3):
                env.advance(np.array([0.03, -0.02, -0.02, 0.0, 0.0, 0.1, 0.5]))
            reached.append(np.r_[env.state, env.commanded, env.object_pose])
        np.testing.assert_allclose(reached[0], reached[1], atol=1e-5)
        np.testing.assert_allclose(reached[0], reached[2], atol=1e-5)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])  # noqa: S301
def test_a_copy_goes_on_as_the_environment_it_was_made_of(copied):
    first = gymnasium.make("arm_worldmodel/MujocoArm-v0", task="reach", image_size=32)
    first.reset(seed=4)
    first.step(np.full(7, 0.02))
    second = copied(first)
    assert (first.render() == second.render()).all()
    there = [env.step(np.full(7, 0.02)) for env in (first, second)]
    assert (there[0][0]["image"] == there[1][0]["image"]).all()
    assert (there[0][0]["state"] == there[1][0]["state"]).all()
    assert there[0][4]["distance_m"] == there[1][4]["distance_m"]
    second.step(np.full(7, 0.02))  # which moves one of them alone
    assert (there[0][0]["state"] == first.unwrapped.state).all()
    assert not (first.unwrapped.state == second.unwrapped.state).all()
    drawn = [env.reset(seed=None)[0]["image"] for env in (first, second)]  # the same draws, too
    assert (drawn[0] == drawn[1]).all()
    first.close()
    second.close()


def test_every_thread_takes_the_same_pictures(env):
    seen, _ = env.reset(seed=3, options={"goal": False})
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        for _ in range(2):
            for pool in (one, other):
                assert (pool.submit(env.render).result() == seen["image"]).all()
            assert (env.render() == seen["image"]).all()
        left = copy.copy(env)
        pictures = one.submit(left.render).result()
        del left  # while the thread that drew it lives
    assert (pictures == seen["image"]).all()


@pytest.mark.parametrize("name", [*SIMULATORS[1:], FRANKA])
def test_what_cannot_be_copied_says_why(make, name):
    env = make(name)
    for copied in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(TypeError, match=r"cannot be copied: (its state|there is)"):
            copied(env)


def test_keywords_name_settings_and_the_time_limit_truncates():
    arm = sims.make.make("reach", object="cup", image_size=64, max_episode_steps=2)
    observation, _ = arm.reset(seed=3, options={"goal": False})
    assert observation["image"].shape == (64, 64, 3)
    inner = arm.unwrapped
    assert isinstance(inner, MujocoArm)
    assert inner.config.scene.object == "cup"
    assert [arm.step(STILL)[3] for _ in range(2)] == [False, True]
    arm.close()
    spec = gymnasium.spec("arm_worldmodel/MujocoArm-v0")
    assert spec.max_episode_steps == max(tasks.MAX_STEPS.values())
    other = gymnasium.make(
        spec, task="reach", object="cup", image_size=64, max_episode_steps=2
    )
    assert isinstance(other.unwrapped, MujocoArm)
    assert other.unwrapped.config == inner.config
    other.close()
    limited = sims.make.make("grasp")
    assert limited.spec is not None
    assert limited.spec.max_episode_steps == tasks.MAX_STEPS["grasp"]
    limited.close()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"imagesize": 64}, "'imagesize'; did you mean 'image_size'"),
        ({"object": "mug"}, "object='mug' does not fit; expected one of box, cup, cylinder"),
        ({"image_size": "64"}, "image_size='64' does not fit"),
        ({"image_size": 100}, "multiple of the patch size 16"),
        ({"name": "grasp"}, "name='grasp': the task is task="),
        ({"task": "rech"}, "unknown task 'rech'; valid tasks: reach"),
        ({"simulator": "mujocco"}, "unknown simulator 'mujocco'; valid: mujoco, pybullet"),
    ],
)
def test_keywords_that_do_not_fit_are_refused_by_name(wrong, told):
    with pytest.raises(ValueError, match=told):
        sims.make.make(**wrong)


def test_action_is_a_pose_change_in_the_base_frame(env):
    env.reset(seed=1, options={"goal": False})
    for action in (
        [0.04, 0, 0, 0, 0, 0, 0], [0, -0.04, 0, 0, 0, 0, 0], [0, 0, 0.04, 0, 0, 0, 0],
        [0, 0, 0, 0.12, 0, 0, 0], [0, 0, 0, 0, -0.12, 0, 0], [0, 0, 0, 0, 0, 0.15, 0],
        [0.02, 0.03, -0.02, 0.05, 0.05, -0.1, 0],
    ):
        before = env.commanded
        env.advance(np.array(action))
        expected = pose.compose(before, np.array(action))
        assert np.linalg.norm(env.state[:3] - expected[:3]) < 0.008
        assert pose.angle_between(env.state, expected) < 0.05


def test_commanded_pose_stays_in_the_workspace(env):
    env.reset(seed=1, options={"goal": False})
    for _ in range(15):
        env.advance(np.array([0, 0, -0.1, 0, 0, 0, 0]))
    assert env.commanded[2] >= env.config.workspace_low_m[2]
    assert env.state[2] > 0.0


@pytest.mark.parametrize("kind", ["box", "cup", "cylinder"])
def test_gripper_holds_its_force_on_an_object(kind):
    arm = MujocoArm(ArmConfig(scene=scene.SceneConfig(object=kind)), task="grasp")
    arm.reset(seed=4, options={"goal": False})
    for waypoint in tasks.pick_waypoints(arm, arm.draw):
        arm._follow(waypoint)
    assert tasks.is_held(arm)
    measured, commanded = arm.closedness, arm.commanded[6]
    assert commanded == 1.0  # told to close fully, stopped by the object
    assert 0.2 < measured < 0.8
    for _ in range(10):  # "hold" is an action of zeros
        arm.advance(STILL)
    assert tasks.is_held(arm)
    assert arm.commanded[6] == 1.0
    arm.advance(np.array([0, 0, 0, 0, 0, 0, -measured]))
    arm.advance(STILL)
    assert not tasks.is_held(arm)
    assert arm.closedness < 0.1
    arm.close()


def test_empty_gripper_closes_fully_and_follows_partial_commands(env):
    env.reset(seed=2, options={"goal": False})
    for target in (0.5, 1.0, 0.3, 0.0):
        for _ in range(3):
            env.advance(np.r_[np.zeros(6), target - env.commanded[6]])
        assert abs(env.closedness - target) < 0.06


@pytest.mark.parametrize("name", SIMULATORS)
@pytest.mark.parametrize(
    "tilt_rad", [(0.0, 0.0), (-0.14, -0.14), (0.09, -0.12), (0.14, -0.13), (-0.05, 0.09)]
)
def test_fingers_that_touch_the_table_close(make, name, tilt_rad):
    env = make(name)
    env.reset(seed=8_100_000)
    place = np.array([0.5, -np.sign(env.unwrapped.object_pose[1]) * 0.1])
    for height in (0.1, 0.1, 0.1, 0.1, 0.1, 0.016, 0.016, 0.016):
        goal = np.r_[place, height, np.pi + tilt_rad[0], tilt_rad[1], -np.pi / 2, 0.0]
        move = pose.diff(env.unwrapped.state[None], goal[None])[0]
        limit = np.array([0.075] * 3 + [0.15] * 3 + [0.0])
        env.step(move.clip(-limit, limit))
    assert np.abs(env.unwrapped.object_pose[:2] - env.unwrapped.state[:2]).max() > 0.05
    for _ in range(4):
        following, *_ = env.step(np.r_[np.zeros(6), 0.75])
    assert following["state"][6] > 0.95


@pytest.mark.parametrize("kind", ["box", "cup", "cylinder"])
@pytest.mark.parametrize("task", list(tasks.TASKS))
def test_goals_are_really_reached_in_the_same_scene(kind, task):
    arm = MujocoArm(ArmConfig(scene=scene.SceneConfig(object=kind)), task=task)
    reached = compared = 0
    for seed in range(500, 504):
        _, info = arm.reset(seed=seed)
        reached += info["goal_reached"]
        before, drawn = arm.object_pose, arm.draw.start_pose
        arm.reset(seed=seed, options={"goal": False})
        if np.array_equal(drawn, arm.draw.start_pose):  # not drawn again for an unreached goal
            np.testing.assert_array_equal(before, arm.object_pose)  # came back to the start
            compared += 1
    assert reached == 4
    assert compared >= 2
    arm.close()


def test_a_reach_goal_that_an_object_blocks_is_drawn_again():
    arm = MujocoArm(task="reach")
    drawn = []
    place = arm._place
    arm._place = lambda draw: (drawn.append(draw), place(draw))[1]
    _, info = arm.reset(seed=100_043)  # its first goal is within the box
    assert len(drawn) == 2
    shown = info["subgoal_states"][-1][:3]
    assert np.linalg.norm(shown - arm.draw.goal_pose[:3]) < tasks.BLOCKED_M
    arm.close()


def test_dense_and_paper_subgoals(env):
    dense = MujocoArm(task="pick_and_place")
    _, info = dense.reset(seed=0)
    assert info["subgoal_names"] == [
        "above_object", "at_object", "grasped", "lifted", "above_goal", "at_goal", "released",
        "placed",
    ]
    config = ArmConfig(task=tasks.TaskConfig(subgoals="paper"))
    paper = MujocoArm(config, task="pick_and_place")
    _, info = paper.reset(seed=0)
    assert info["subgoal_names"] == ["grasped", "above_goal", "placed"]
    dense.close()
    paper.close()


def test_no_task_starts_at_its_goal():
    for task in tasks.TASKS:
        arm = MujocoArm(task=task)
        for seed in range(20):
            _, info = arm.reset(seed=seed, options={"goal": False})
            assert not info["success"]
            assert info["distance_m"] > 0.035
        arm.close()


def test_an_object_in_the_hand_is_not_placed():
    arm = MujocoArm(task="pick_and_place")
    arm.reset(seed=9)
    for waypoint in arm.task.waypoints(arm, arm.draw):
        if waypoint.name == "released":
            break
        arm._follow(waypoint)
    judged = arm.task.judge(arm, arm.draw)
    assert judged["distance_m"] < tasks.PLACE_M
    assert not judged["success"]  # at the goal, but still gripped
    arm.close()


def test_image_size_rate_and_wrist_camera_are_configurable():
    arm = MujocoArm(ArmConfig(image_size=224, control_hz=10, wrist_camera=True), task="reach")
    observation, _ = arm.reset(seed=0)
    assert observation["image"].shape == observation["wrist_image"].shape == (224, 224, 3)
    began = arm.data.time
    arm.advance(STILL)
    assert arm.data.time - began == pytest.approx(0.1)
    assert arm.observation_space.contains(arm._observation())
    arm.close()


def test_scene_randomisation_is_configurable():
    plain = scene.SceneConfig(
        randomise_colour=False, randomise_table=False, randomise_light=False
    )
    a, b = (scene.draw(plain, np.random.default_rng(s)) for s in (0, 1))
    assert (a.object_rgb, a.table_rgb, a.light_pos_m) == (b.object_rgb, b.table_rgb, b.light_pos_m)
    c, d = (scene.draw(scene.SceneConfig(), np.random.default_rng(s)) for s in (0, 1))
    assert c.object_rgb != d.object_rgb
    assert c.table_rgb != d.table_rgb
    moved = replace(plain, camera_jitter_deg=5.0, camera_jitter_m=0.03)
    e = scene.draw(moved, np.random.default_rng(0))
    assert 0 < abs(e.camera_azimuth_deg - moved.camera_azimuth_deg) <= 5.0
    assert 0 < abs(e.camera_distance_m - moved.camera_distance_m) <= 0.03
    assert e.camera_lookat_m != moved.camera_lookat_m


def test_distractors_are_on_the_table():
    arm = MujocoArm(ArmConfig(scene=scene.SceneConfig(distractors=2)), task="reach")
    arm.reset(seed=0)
    for i in range(2):
        height = arm.data.body(f"distractor{i}").xpos[2]
        assert 0.01 < height < 0.03
    arm.close()


def test_unseen_looks_change_only_what_they_name():
    seen = scene.draw(scene.SceneConfig(), np.random.default_rng(5))
    for name in ("palette", "table", "light"):
        other = scene.draw(scene.SceneConfig(**{name: "unseen"}), np.random.default_rng(5))
        assert other.size_m == seen.size_m
        changed = {
            field for field in ("object_rgb", "table_rgb", "light_level")
            if getattr(other, field) != getattr(seen, field)
        }
        expected = {"palette": "object_rgb", "table": "table_rgb", "light": "light_level"}[name]
        assert changed == {expected}


def test_varied_light_changes_the_lamp_and_nothing_else():
    looks = {
        light: [scene.draw(scene.SceneConfig(light=light), np.random.default_rng(seed))
                for seed in range(40)]
        for light in ("train", "varied")
    }
    assert not any(look.light_distant for look in looks["train"])
    assert 10 < sum(look.light_distant for look in looks["varied"]) < 30
    for usual, varied in zip(looks["train"], looks["varied"], strict=True):
        assert varied == replace(
            usual, light_level=varied.light_level, light_distant=varied.light_distant,
            ambient_level=varied.ambient_level,
        )


def test_a_distant_lamp_lights_the_table_evenly():
    spread = {}
    for distant in (False, True):
        env = MujocoArm(ArmConfig(scene=scene.SceneConfig(randomise_table=False)))
        env.reset(seed=8_100_001)
        look = scene.draw(env.config.scene, np.random.default_rng(0))
        mujoco_scene.apply_light(env.model, replace(look, light_distant=distant))
        table = env.camera_image("exo")[112:].mean(-1)  # nothing stands in the nearest part
        spread[distant] = table.max() - table.min()
        env.close()
    assert spread[True] < 0.5 * spread[False]


def test_varied_tables_change_the_surroundings_and_nothing_else():
    varied = scene.SceneConfig(table="varied")
    looks = [scene.draw(varied, np.random.default_rng(s)) for s in range(1000)]
    assert {look.texture for look in looks} == set(scene.VARIED)
    assert len({look.floor_rgb for look in looks}) == 1000
    for seed, look in enumerate(looks[:20]):
        plain = scene.draw(scene.SceneConfig(), np.random.default_rng(seed))
        assert plain.floor_rgb == scene.FLOOR_RGB
        same = {"table_rgb": look.table_rgb, "texture": look.texture, "floor_rgb": look.floor_rgb}
        assert replace(plain, **same) == look  # pyright: ignore[reportArgumentType]


def test_table_textures_are_the_same_everywhere_and_tile():
    images, again = table_textures(), table_textures()
    assert len(images) == len(scene.VARIED)
    for image, other in zip(images, again, strict=True):
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, other)
        inside = np.abs(np.diff(image.astype(float), axis=0)).mean(axis=(1, 2))
        across = np.abs(image[0].astype(float) - image[-1]).mean()
        assert across <= inside.max() + 1  # the seam is a row like any other


def test_simulators_agree_on_kinematics_and_draws():
    pytest.importorskip("pybullet", reason="PyBullet wheels end at Python 3.11")
    from sims.bullet_arm import BulletArm

    arms = MujocoArm(task="grasp"), BulletArm(task="grasp")
    for seed in range(3):
        for arm in arms:
            arm.reset(seed=seed, options={"goal": False})
        mujoco, bullet = arms
        np.testing.assert_allclose(mujoco.object_pose[:2], bullet.object_pose[:2], atol=2e-3)
        for action in ([0.04, -0.03, -0.03, 0, 0, 0.1, 0], [0, 0.05, 0.02, 0.1, 0, 0, 0.5]):
            for arm in arms:
                arm.advance(np.array(action, float))
            assert np.linalg.norm(mujoco.state[:3] - bullet.state[:3]) < 0.006
            assert pose.angle_between(mujoco.state, bullet.state) < 0.05
    images = [arm.camera_image("exo").astype(float) for arm in arms]
    assert np.abs(images[0] - images[1]).mean() < 30  # the same view, another renderer
    for arm in arms:
        arm.close()


def test_unknown_task_names_the_valid_ones():
    with pytest.raises(ValueError, match="pick_and_place"):
        MujocoArm(task="juggle")
    with pytest.raises(ValueError, match="multiple of the patch size"):
        MujocoArm(ArmConfig(image_size=100))
