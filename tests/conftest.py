import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import contextlib
import multiprocessing
import warnings
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
import this_machine
from scipy.ndimage import gaussian_filter

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # third-party import-time warnings are not ours
    import rerun  # noqa: F401
    import torch
    import torch.utils.tensorboard

    with contextlib.suppress(ImportError):
        import rosidl_generator_py  # noqa: F401

from robot_data.schema import Episode
from sims.mujoco_arm import MujocoArm

torch.set_num_threads(1)

DATA = Path(__file__).parent / "data"
# First: so the processes of xdist end together.
LONGEST = ("test_shipped", "test_writers", "test_scale", "test_own_arm")
# One process makes what the tests of these share, which takes long.
SHARING = (
    "test_candidate_bank", "test_commands", "test_distributed", "test_lewm", "test_motion",
    "test_packaging", "test_page",
)
TOLD: list[str] = []  # by the processes of xdist, of the machine
FAILED = pytest.StashKey[bool]()  # of an item: whether its test failed


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in a hook of the same name
def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.stem not in LONGEST)
    for item in items:
        if item.path.stem in SHARING:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
        if item.get_closest_marker("realtime"):
            item.add_marker(pytest.mark.xdist_group("realtime"))  # one process, one after another
            item.add_marker(pytest.mark.flaky(reruns=3, condition=this_machine.was_late))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    item.stash[FAILED] = report.failed or (call.when != "setup" and item.stash[FAILED])
    return report


def pytest_terminal_summary(terminalreporter):
    for line in [*this_machine.told(), *TOLD]:
        terminalreporter.write_line(line)


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):  # a process of xdist tells the one that prints
        session.config.workeroutput["machine"] = this_machine.told()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    TOLD.extend(getattr(node, "workeroutput", {}).get("machine", []))


def pytest_unconfigure():
    this_machine.close()


@pytest.fixture(scope="session", autouse=True)
def _pools():
    """Workers of every pool have torch and MuJoCo from the process they fork from: what that one
    imports, the first pool decides, and the workers of the others would import it one by one."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        multiprocessing.get_context("forkserver").set_forkserver_preload(
            ["planners.load", "sims.collect"]
        )
        forkserver.ensure_running()


@pytest.fixture(scope="session")
def machine():
    return this_machine.measured()


@pytest.fixture(autouse=True)
def _quiet(request):
    """A real-time test begins when this machine keeps time, and has no other beside it."""
    marker = request.node.get_closest_marker("realtime")
    if marker is not None:
        if "PYTEST_XDIST_WORKER" in os.environ and not request.node.nodeid.endswith("@realtime"):
            pytest.fail("another real-time test may run beside it: run pytest with --dist "
                        "loadgroup, and a version of pytest that pytest-xdist goes with")
        late_s = marker.kwargs.get("late_s", this_machine.LATE_S)
        expects = marker.kwargs.get("expects", ())
        this_machine.measured().begin(request.node.name, late_s, expects)


@pytest.fixture(scope="session")
def golden() -> list[str]:
    return [str(DATA / "vjepa2_ac_small"), str(DATA / "vjepa2_ac_small_extrinsics")]


@pytest.fixture(scope="session")
def golden_2_1() -> str:
    return str(DATA / "vjepa2_1_small")


@pytest.fixture(scope="module")
def env():
    arm = MujocoArm()
    yield arm
    arm.close()


def make_episode(frames: int = 20, seed: int = 0, side: int = 32) -> Episode:
    rng = np.random.default_rng(seed)
    states = np.c_[rng.uniform(-0.5, 0.5, (frames, 6)), rng.uniform(0, 1, frames)]
    return Episode(
        images=rng.integers(0, 256, (frames, side, side, 3), dtype=np.uint8),
        states=states,
        actions=rng.normal(0, 0.01, (frames, 7)),
        commanded_closedness=rng.uniform(0, 1, frames),
        privileged={"object_pose": rng.normal(0, 1, (frames, 7))},
        meta={"seed": seed, "text": "put the cup \u2013 gently"},
        timestamps_ns=np.cumsum(rng.integers(1, 10**9, frames)) + 1_700_000_000 * 10**9,
        cameras={"wrist": rng.integers(0, 256, (frames, 24, 40, 3), dtype=np.uint8)},
        raw={
            "joint_positions": rng.normal(0, 1, (frames, 7)).astype(np.float32),
            "clock": rng.integers(-(2**62), 2**62, 3), "empty": np.zeros((0, 4)),
            "held": np.array(True),
        },
    )


def smooth_images(frames: int, side: int, seed: int = 0) -> np.ndarray:
    """Pictures with the smoothness of camera images, uint8 [T, side, side, 3]."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(0, 1, (frames, side, side, 3)), (1, 4, 4, 0))
    field = (field - field.min()) / (field.max() - field.min())
    return (255 * field).astype(np.uint8)
