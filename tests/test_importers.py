"""Recordings of every format come in without losing meaning, and go out again."""

import json
import os
import shutil
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from rosbags.rosbag2 import StoragePlugin
from scipy.spatial.transform import Rotation

from arm_worldmodel.cli import main
from robot_data.episodes import EpisodeStore
from robot_data.exporters.lerobot import export_lerobot
from robot_data.exporters.npz import export_npz
from robot_data.exporters.rosbag import export_rosbag
from robot_data.exporters.video import ordinary_priority
from robot_data.importers.assemble import FitConfig, resample
from robot_data.importers.columns import ColumnConfig
from robot_data.importers.droid import DroidImporter
from robot_data.importers.lerobot import LeRobotImporter
from robot_data.importers.npz import NpzImporter
from robot_data.importers.rlds import RldsImporter
from robot_data.importers.rosbag import RosbagImporter, TopicConfig
from robot_data.importers.run import import_episodes
from robot_data.importers.umi import UmiImporter
from robot_data.pose import angle_between, diff
from robot_data.schema import DataError
from tests import recordings
from tests.conftest import DATA, make_episode, smooth_images
from tests.fuzz import trial
from tests.recordings import FRANKA_HAND, OPEN_IS_ONE, OURS, UMI_HAND

AS_IS = FitConfig(image_size=None)


def bring_in(importer, store, fit=AS_IS, name="test", sound=True):
    outcomes = list(import_episodes(importer, name, store, fit))
    reasons = {o.reason for o in outcomes if o.status == "skipped"}
    assert not reasons if sound else reasons
    return outcomes, [store.read(o.name) for o in outcomes if o.status == "imported"]


def psnr(a, b):
    return 10 * np.log10(255**2 / ((a.astype(float) - b) ** 2).mean())


# -- round trips -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["npz", "lerobot", "rosbag"])
@pytest.mark.parametrize("codec", ["raw", "jpeg"])
def test_store_to_format_to_store_is_exact(tmp_path, form, codec):
    store = EpisodeStore(tmp_path / "store", codec=codec)
    for seed in range(2):
        episode = make_episode(8, seed)
        episode.meta |= {"camera": "exo", "control_hz": 5.0, "language": f"task {seed}"}
        store.write(f"ep-{seed}", episode)
    out = tmp_path / "out"
    export, importer = {
        "npz": (export_npz, lambda: NpzImporter(out, OURS)),
        "lerobot": (export_lerobot, lambda: LeRobotImporter(out, OURS)),
        "rosbag": (export_rosbag, lambda: RosbagImporter(out, OURS)),
    }[form]
    assert list(export(store, out)) == ["ep-0", "ep-1"]
    outcomes, back = bring_in(importer(), EpisodeStore(tmp_path / "back"))
    assert [o.status for o in outcomes] == ["imported", "imported"], outcomes
    for name, read in zip(("ep-0", "ep-1"), back, strict=True):
        first = store.read(name)  # what the store holds: JPEG's loss happens once
        for field in ("images", "states", "actions", "commanded_closedness", "timestamps_ns"):
            np.testing.assert_array_equal(getattr(read, field), getattr(first, field))
        for group in ("cameras", "privileged", "raw"):
            ours, theirs = getattr(read, group), getattr(first, group)
            assert ours.keys() == theirs.keys()
            for key, value in theirs.items():
                assert ours[key].dtype == value.dtype
                np.testing.assert_array_equal(ours[key], value)
        assert {k: read.meta[k] for k in first.meta} == first.meta


@pytest.mark.parametrize("hz", [12.5, 29.97, 30])
def test_lerobot_times_are_those_of_the_video(tmp_path, hz):
    store = EpisodeStore(tmp_path / "store")
    episode = make_episode(90)
    episode.images, episode.cameras = np.zeros((90, 16, 16, 3), np.uint8), {}
    store.write("ep", episode)
    list(export_lerobot(store, tmp_path / "out", fps=hz, video="h264"))
    table = pq.read_table(next((tmp_path / "out/data").rglob("*.parquet")))
    with av.open(str(next((tmp_path / "out/videos").rglob("*.mp4")))) as video:
        shown = [frame.time for frame in video.decode(video=0)]
    np.testing.assert_allclose(table["timestamp"].to_numpy(), shown, atol=1e-4)  # LeRobot's


@pytest.mark.parametrize("video", ["h264", "av1"])
def test_lerobot_video_keeps_numbers_exactly_and_pictures_closely(tmp_path, video):
    policy = os.sched_getscheduler(0)
    store = EpisodeStore(tmp_path / "store")
    for seed in range(2):
        episode = make_episode(10, seed)
        episode.images, episode.cameras = smooth_images(10, 64, seed), {}
        episode.meta["control_hz"] = 5.0
        store.write(f"ep-{seed}", episode)
    list(export_lerobot(store, tmp_path / "out", video=video))
    assert os.sched_getscheduler(0) == policy
    _, back = bring_in(LeRobotImporter(tmp_path / "out", OURS), EpisodeStore(tmp_path / "back"))
    for seed, read in enumerate(back):
        episode = store.read(f"ep-{seed}")
        np.testing.assert_array_equal(read.states, episode.states)
        np.testing.assert_array_equal(read.timestamps_ns, episode.timestamps_ns)
        assert psnr(read.images, episode.images) > 30
        for t in range(10):  # the right frame, not its neighbour
            others = [psnr(read.images[t], episode.images[u]) for u in range(10)]
            assert int(np.argmax(others)) == t


def test_the_av1_encoder_of_root_has_no_priority(tmp_path):
    policy = os.sched_getscheduler(0)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libsvtav1", 10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        with ordinary_priority():
            stream.codec_context.open()
        for image in smooth_images(4, 64):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        policies = {os.sched_getscheduler(int(task)) for task in os.listdir("/proc/self/task")}
        container.mux(stream.encode())
    assert os.SCHED_FIFO not in policies
    assert os.sched_getscheduler(0) == policy


def test_an_interrupted_export_goes_on(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    for seed in range(3):
        episode = make_episode(6, seed)
        episode.meta["control_hz"] = 5.0
        store.write(f"ep-{seed}", episode)
    half = export_lerobot(store, tmp_path / "out")
    next(half)
    half.close()
    assert not (tmp_path / "out/meta/info.json").exists()
    list(export_lerobot(store, tmp_path / "out"))
    _, back = bring_in(LeRobotImporter(tmp_path / "out", OURS), EpisodeStore(tmp_path / "back"))
    assert len(back) == 3
    np.testing.assert_array_equal(back[2].images, store.read("ep-2").images)


# -- each format -----------------------------------------------------------------------------


def test_the_real_franka_recording_comes_in(tmp_path):
    store = EpisodeStore(tmp_path)
    _, (episode,) = bring_in(NpzImporter(DATA / "franka_example_traj.npz", OURS), store)
    with np.load(DATA / "franka_example_traj.npz") as data:
        np.testing.assert_array_equal(episode.images, data["observations"][0])
        np.testing.assert_array_equal(episode.states, data["states"][0].astype(np.float64))
    np.testing.assert_allclose(episode.actions[0], diff(*episode.states))


def test_real_bridge_episodes_come_in(tmp_path):
    outcomes, episodes = bring_in(
        RldsImporter(DATA / "octo_bridge", OPEN_IS_ONE), EpisodeStore(tmp_path),
        FitConfig(camera="image_0", image_size=128),
    )
    assert len(episodes) == 2
    for outcome, episode in zip(outcomes, episodes, strict=True):
        assert episode.images.shape == (outcome.frames, 128, 128, 3)
        assert episode.images.std() > 20
        assert set(episode.cameras) == {"image_1", "image_2", "image_3"}
        np.testing.assert_array_equal(
            episode.states[:, :6], episode.raw["observation/state"][:, :6].astype(np.float64)
        )
        assert episode.states[0, 6] == 0.0  # 1.0002 open is clipped, not wrapped
        assert episode.raw["action"].dtype == np.float32
        assert episode.meta["language"]
    assert "episode_metadata/file_path" in episodes[0].meta["rlds"]["text"]


@pytest.mark.parametrize("stamps", [True, False])
def test_droid_frames_follow_timestamps_and_skipped_steps_go(tmp_path, stamps):
    root = recordings.write_droid(tmp_path / "droid", stamps=stamps)
    outcomes, (episode,) = bring_in(
        DroidImporter(root, OURS), EpisodeStore(tmp_path / "s"),
        FitConfig(camera="ext1", image_size=None),
    )
    keep = np.arange(24) % 8 != 7
    np.testing.assert_array_equal(episode.states, recordings.hand_path(24)[keep])
    assert any("3 skipped" in note for note in outcomes[0].notes)
    assert any("no timestamps file" in note for note in outcomes[0].notes) != stamps
    wanted = smooth_images(24, 64)[keep]
    for t in range(len(episode)):
        assert int(np.argmax([psnr(episode.images[t], w) for w in wanted])) == t
    assert set(episode.cameras) == {"wrist"}
    assert episode.meta["language"] == "put the cup away"
    assert "kept as text" in episode.meta["droid"]["text"]["observation/camera_type/note"]
    np.testing.assert_allclose(
        episode.commanded_closedness, np.clip(episode.states[:, 6] + 0.1, 0, 1)
    )
    assert episode.raw["action/cartesian_velocity"].shape == (24, 6)
    steps = np.diff(episode.timestamps_ns) / 1e9
    assert abs(np.median(steps) - 1 / 15) < 0.002


def test_droid_is_resampled_by_time_not_by_container_rate(tmp_path):
    root = recordings.write_droid(tmp_path / "droid", frames=46)
    _, (episode,) = bring_in(
        DroidImporter(root, OURS), EpisodeStore(tmp_path / "s"),
        FitConfig(camera="ext1", image_size=64, hz=5.0),
    )
    steps = np.diff(episode.timestamps_ns) / 1e9
    assert len(episode) == 16  # 3 s of 15 Hz at 5 Hz
    assert (np.abs(steps - 0.2) < 0.07).all()
    np.testing.assert_allclose(episode.actions[:-1], diff(episode.states[:-1], episode.states[1:]))


@pytest.mark.parametrize("stamps", [True, False])
def test_a_short_droid_video_drops_the_last_state(tmp_path, stamps):
    root = recordings.write_droid(tmp_path / "droid", frames=22, short=1, stamps=stamps)
    outcomes, (episode,) = bring_in(
        DroidImporter(root, OURS), EpisodeStore(tmp_path / "s"), FitConfig("ext1", None)
    )
    assert any("1 frames short" in note for note in outcomes[0].notes)
    if not stamps:
        assert len(episode) == 22 - 2 - 1
    (root / "x").mkdir()
    lost = recordings.write_droid(root / "x", frames=22, short=5, stamps=False)
    outcomes, _ = bring_in(DroidImporter(lost, OURS), EpisodeStore(tmp_path / "t"), sound=False)
    assert "17 frames for 22 states and no timestamps file" in outcomes[0].reason


@pytest.mark.parametrize(("version", "codec"), [("v2.0", "libx264"), ("v2.1", "libsvtav1")])
def test_lerobot_v2_comes_in_with_named_polarity(tmp_path, version, codec):
    root = recordings.write_lerobot_v2(tmp_path / "data", codec=codec, version=version)
    importer = LeRobotImporter(root, OPEN_IS_ONE, ColumnConfig(command="action[6]"))
    _, episodes = bring_in(importer, EpisodeStore(tmp_path / "s"))
    for index, episode in enumerate(episodes):
        expected = recordings.hand_path(20, index)
        np.testing.assert_allclose(episode.states, expected, atol=1e-6)
        np.testing.assert_allclose(episode.commanded_closedness, expected[:, 6], atol=1e-6)
        assert psnr(episode.images, smooth_images(20, 64, index)) > 28
        np.testing.assert_array_equal(  # exactly the float32 seconds of the table
            (episode.timestamps_ns / 1e9).astype(np.float32),
            (np.arange(20) / 10).astype(np.float32),
        )
        assert episode.raw["observation.state"].dtype == np.float32
        assert episode.meta["language"] == f"task {index}"
        assert episode.meta["lerobot"]["text"]["note"] == ["é"] * 20
    with pytest.raises(DataError, match=r"observation\.state \[7\]"):
        LeRobotImporter(root, OURS, ColumnConfig(state=("state",))).read("episode_000000")


def test_a_dataset_written_by_lerobot_itself_comes_in(tmp_path):
    importer = LeRobotImporter(DATA / "lerobot_v3", OURS)  # both episodes in one AV1 file
    _, episodes = bring_in(importer, EpisodeStore(tmp_path), FitConfig("top", None))
    assert len(episodes) == 2
    for index, episode in enumerate(episodes):
        np.testing.assert_allclose(episode.states[:, 0], 0.5 + 0.1 * index, atol=1e-6)
        np.testing.assert_allclose(episode.states[:, 6], np.arange(6) / 6, atol=1e-6)
        lossless = episode.cameras["wrist"]
        assert episode.meta["language"] == f"task {index}"
        assert psnr(episode.images, lossless) > 28
        for t in range(6):  # the right frame of the right episode
            rival = [psnr(episode.images[t], e.cameras["wrist"][u]) for e in episodes
                     for u in range(6)]
            assert int(np.argmax(rival)) == 6 * index + t


def test_lerobot_does_not_read_outside_its_folder(tmp_path):
    root = recordings.write_lerobot_v2(tmp_path / "data")
    path = root / "meta/info.json"
    info = json.loads(path.read_text())
    info["data_path"] = "../../secret.parquet"
    path.write_text(json.dumps(info))
    outcomes, _ = bring_in(LeRobotImporter(root, OURS), EpisodeStore(tmp_path / "s"), sound=False)
    assert all("outside the dataset" in o.reason for o in outcomes)


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("compressed", [False, True])
def test_bags_are_aligned_by_time_and_gaps_are_reported(tmp_path, storage, compressed):
    bag = recordings.write_bag(tmp_path / "bag", storage, compressed=compressed)
    topics = TopicConfig(max_offset_s=0.03)
    outcomes, (episode,) = bring_in(
        RosbagImporter(bag, FRANKA_HAND, topics), EpisodeStore(tmp_path / "s"),
        FitConfig(image_size=None, max_offset_s=0.03),
    )
    assert any("dropped" in note for note in outcomes[0].notes)
    assert any("gap of 0.5" in note or "gap of 0.6" in note for note in outcomes[0].notes)
    seconds = (episode.timestamps_ns - recordings.START_MS * 10**6) / 1e9
    assert not ((seconds > 0.55) & (seconds < 0.95)).any()
    np.testing.assert_allclose(episode.states[:, 0], 0.5 + 0.1 * seconds, atol=2e-3)
    expected = np.zeros((len(seconds), 7))
    expected[:, 3:6] = np.c_[np.full(len(seconds), np.pi), 0 * seconds, 0.2 * seconds]
    assert angle_between(episode.states, expected).max() < 5e-3
    np.testing.assert_allclose(episode.states[:, 6], 0.25 * seconds, atol=0.02)  # closing
    images = smooth_images(20, 64)[np.round(seconds * 10).astype(int)]
    if compressed:
        assert psnr(episode.images, images) > 38
    else:
        np.testing.assert_array_equal(episode.images, images)
    assert episode.raw["current_pose/values"].shape[1] == 7
    assert episode.meta["rosbag"]["text"]["/note"] == ["début"]


def test_a_plain_mcap_file_comes_in(tmp_path):
    bag = recordings.write_bag(tmp_path / "bag")
    plain = next(bag.glob("*.mcap")).rename(tmp_path / "plain.mcap")
    _, (episode,) = bring_in(
        RosbagImporter(plain, FRANKA_HAND), EpisodeStore(tmp_path / "s")
    )
    assert len(episode) >= 15
    importer = RosbagImporter(plain, FRANKA_HAND, TopicConfig(gripper_joints=("finger",)))
    with pytest.raises(DataError, match=r"fr3_finger_joint1.*topics\.gripper_joints"):
        importer.read("plain.mcap")


def test_umi_buffers_come_in(tmp_path):
    root = recordings.write_umi(tmp_path / "replay.zarr")
    _, episodes = bring_in(UmiImporter(root, UMI_HAND), EpisodeStore(tmp_path / "s"))
    assert len(episodes) == 2
    for index, episode in enumerate(episodes):
        expected = recordings.hand_path(12, index)
        np.testing.assert_allclose(episode.states[:, :3], expected[:, :3], atol=1e-6)
        assert angle_between(episode.states, expected).max() < 1e-5
        np.testing.assert_allclose(episode.states[:, 6], expected[:, 6], atol=1e-5)
        np.testing.assert_array_equal(episode.images, smooth_images(12, 64, index))


def test_a_source_without_timestamps_is_resampled_by_the_rate_that_is_named(tmp_path):
    root = recordings.write_umi(tmp_path / "replay.zarr", episodes=1, frames=25)
    outcomes, (episode,) = bring_in(
        UmiImporter(root, UMI_HAND), EpisodeStore(tmp_path / "s"),
        FitConfig(image_size=None, hz=5.0, source_hz=60.0),
    )
    assert episode.timestamps_ns.tolist() == [0, 200_000_000, 400_000_000]
    wanted = recordings.hand_path(25)[::12]
    np.testing.assert_allclose(episode.states[:, :3], wanted[:, :3], atol=1e-6)
    assert any("fit.source_hz says" in note for note in outcomes[0].notes)
    droid = DroidImporter(recordings.write_droid(tmp_path / "droid"), OURS)
    for importer, fit, reason in (
        (UmiImporter(root, UMI_HAND), FitConfig(hz=5.0), "give its rate, fit.source_hz="),
        (UmiImporter(root, UMI_HAND), FitConfig(hz=5.0, source_hz=0.0), "a positive rate"),
        (droid, FitConfig("ext1", source_hz=15.0), "has timestamps; leave fit.source_hz out"),
    ):
        outcomes, _ = bring_in(importer, EpisodeStore(tmp_path / "none"), fit, sound=False)
        assert reason in outcomes[0].reason


# -- what all share --------------------------------------------------------------------------


def test_import_resumes_and_notices_a_changed_source(tmp_path):
    root = recordings.write_lerobot_v2(tmp_path / "data")
    store = EpisodeStore(tmp_path / "s")
    first = import_episodes(LeRobotImporter(root, OPEN_IS_ONE), "lerobot", store, AS_IS)
    assert next(first).status == "imported"
    first.close()
    importer = LeRobotImporter(root, OPEN_IS_ONE)
    outcomes = list(import_episodes(importer, "lerobot", store, AS_IS))
    assert [o.status for o in outcomes] == ["held", "imported"]
    assert not any(o.reason for o in outcomes)
    hashes = store.read(outcomes[0].name).meta["import"]["sha256"]
    assert {Path(name).suffix for name in hashes} == {".parquet", ".mp4"}
    recordings.write_mp4(
        root / "videos/chunk-000/observation.images.top/episode_000000.mp4", smooth_images(20, 64)
    )
    outcomes = list(import_episodes(importer, "lerobot", store, AS_IS))
    assert "changed" in outcomes[0].reason
    assert not outcomes[1].reason


@pytest.mark.parametrize("form", recordings.FORMATS, ids=lambda form: form.name)
def test_damaged_recordings_are_reported_and_never_half_stored(tmp_path, form):
    clean = form.write(tmp_path / "clean")  # benchmarks/fuzz_importers.py tries 1,000
    for number in range(6):
        work = tmp_path / str(number)
        work.mkdir()
        trial(form, clean, work, np.random.default_rng([7, number]))


def test_resampling_picks_each_row_at_most_once():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.integers(40_000_000, 90_000_000, 200))
    for hz in (0.5, 3.0, 5.0, 40.0):
        rows = resample(times, hz)
        assert (np.diff(rows) > 0).all()
        if hz < 10:
            assert (np.abs(np.diff(times[rows]) / 1e9 - 1 / hz) < 0.1).all()


def test_import_command_reports_and_export_command_writes(tmp_path, capsys):
    root = recordings.write_lerobot_v2(tmp_path / "data")
    (root / "data/chunk-000/episode_000001.parquet").write_bytes(b"torn")
    command = ["import", "format=lerobot", f"src={root}", f"out={tmp_path}/store"]
    assert main(command) == 2
    assert "convention.gripper" in capsys.readouterr().err
    assert main([*command, "convention.gripper=openness", "fit.image_size=64"]) == 0
    shown = capsys.readouterr()
    assert "1 imported, 0 already there, 1 skipped" in shown.out
    report = json.loads((tmp_path / "store/import-report.json").read_text())
    assert [e["status"] for e in report["episodes"]] == ["imported", "skipped"]
    assert len(EpisodeStore(tmp_path / "store")) == 1
    export = ["export", "format=rosbag", f"data={tmp_path}/store", f"out={tmp_path}/bags"]
    assert main(export) == 0
    assert main(["import", "format=rosbag", f"src={tmp_path}/bags", f"out={tmp_path}/again"]) == 0
    (name,) = EpisodeStore(tmp_path / "again").names()
    (first,) = EpisodeStore(tmp_path / "store").names()
    np.testing.assert_array_equal(
        EpisodeStore(tmp_path / "again").read(name).states,
        EpisodeStore(tmp_path / "store").read(first).states,
    )
    assert main(["import", "format=npz", f"src={tmp_path}/nothing", "out=x"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_scipy_agrees_that_exported_poses_are_quaternions(tmp_path):
    from rosbags.highlevel import AnyReader

    store = EpisodeStore(tmp_path / "store")
    episode = make_episode(4)
    store.write("a", episode)
    list(export_rosbag(store, tmp_path / "out"))
    with AnyReader([tmp_path / "out" / "a"]) as reader:
        connections = [c for c in reader.connections if c.topic == "/current_pose"]
        for t, (connection, when, data) in enumerate(reader.messages(connections=connections)):
            pose = reader.deserialize(data, connection.msgtype).pose
            q = pose.orientation
            turned = Rotation.from_quat([q.x, q.y, q.z, q.w])
            expected = Rotation.from_euler("xyz", episode.states[t, 3:6])
            assert (turned * expected.inv()).magnitude() < 1e-9
            assert when == episode.timestamps_ns[t]


@pytest.mark.parametrize(("beside", "plain"), [(True, False), (True, True), (False, False)])
def test_pictures_that_a_lerobot_table_names_by_path_come_in(tmp_path, beside, plain):
    root = recordings.write_lerobot_v2(tmp_path / "data", episodes=1)
    images = recordings.name_pictures_by_path(root, plain)
    if not beside:
        next(root.rglob("frame_000007.png")).unlink()
    outcomes, episodes = bring_in(
        LeRobotImporter(root, OPEN_IS_ONE), EpisodeStore(tmp_path / "s"), sound=beside
    )
    if beside:
        np.testing.assert_array_equal(episodes[0].images, images)
        folder = "images/observation.images.top/episode_000000/"
        assert folder in episodes[0].meta["import"]["sha256"]
    else:
        assert "not there: images/observation.images.top/episode_000000/frame_000007.png" in (
            outcomes[0].reason
        )


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("array", "skipped"),
    [("camera0_rgb", True), ("robot0_eef_pos", True), ("robot0_eef_rot_axis_angle", True),
     ("robot0_gripper_width", False)],
)
def test_a_lost_chunk_of_a_replay_buffer_is_named(tmp_path, array, skipped, zipped):
    root = recordings.write_umi(tmp_path / "replay.zarr")
    lost = next(p for p in (root / "data" / array).iterdir() if p.name.startswith("1."))
    lost.unlink()
    if zipped:
        root = Path(shutil.make_archive(str(tmp_path / "buffer"), "zip", root))
    outcomes, _ = bring_in(
        UmiImporter(root, UMI_HAND), EpisodeStore(tmp_path / "s"), sound=not skipped
    )
    hurt, whole = outcomes  # rows 4 to 7 are of the first
    told = hurt.reason if skipped else " ".join(hurt.notes)
    assert f"data/{array}/{lost.name}" in told
    assert hurt.status == ("skipped" if skipped else "imported")
    assert (whole.status, whole.notes) == ("imported", ())


def test_every_lost_chunk_of_pictures_and_poses_is_named(tmp_path):
    root = recordings.write_umi(tmp_path / "replay.zarr")
    lost = [root / "data/camera0_rgb/1.0.0.0", root / "data/robot0_eef_pos/1.0"]
    for path in lost:
        path.unlink()
    (hurt, whole), _ = bring_in(
        UmiImporter(root, UMI_HAND), EpisodeStore(tmp_path / "s"), sound=False
    )
    assert (hurt.status, whole.status) == ("skipped", "imported")
    assert all(str(path.relative_to(root)) in hurt.reason for path in lost)
