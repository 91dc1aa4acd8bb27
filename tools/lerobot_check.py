"""Run with the interpreter of an environment that has the real ``lerobot`` package (0.4), not ours:

    python tools/lerobot_check.py load exported        # does lerobot load what we export?
    python tools/lerobot_check.py write tests/data/lerobot_v3   # makes the fixture of the tests
"""

import sys

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset

EPISODES, FRAMES, SIDE = 2, 6, 64


def load(root: str) -> None:
    """Read every frame of a dataset with the ``lerobot`` package."""
    dataset = LeRobotDataset("local/exported", root=root)
    print(f"{dataset.num_episodes} episodes, {len(dataset)} frames at {dataset.fps} Hz")
    names = [n for n, f in dataset.features.items() if f["dtype"] != "video"]
    for index in range(len(dataset)):
        row = dataset.hf_dataset[index]
        assert set(names) <= set(row), set(names) - set(row)
    item = dataset[0] if not dataset.meta.video_keys else row
    for name, value in item.items():
        print(f"  {name}: {tuple(getattr(value, 'shape', ()))}")
    tasks = list(dataset.meta.tasks.index)
    print(f"statistics of {len(dataset.meta.stats)} features; tasks: {tasks}")


def picture(episode: int, frame: int) -> np.ndarray:
    """A smooth picture that tells its episode and frame."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    shade = np.stack([x, y, np.full_like(x, frame / FRAMES)], axis=-1)
    return (255 * (0.8 * shade + 0.2 * episode)).clip(0, 255).astype(np.uint8)


def write(root: str) -> None:
    """Write the two small episodes that the tests import."""
    image = {"shape": (SIDE, SIDE, 3), "names": ["height", "width", "channels"]}
    dataset = LeRobotDataset.create(
        "local/fixture", fps=10, root=root, robot_type="franka", use_videos=True, features={
            "observation.state": {"dtype": "float32", "shape": (7,), "names": None},
            "action": {"dtype": "float32", "shape": (7,), "names": None},
            "observation.images.top": {"dtype": "video", **image},
            "observation.images.wrist": {"dtype": "image", **image},
        },
    )
    for episode in range(EPISODES):
        for frame in range(FRAMES):
            state = np.array([0.5, 0.01 * frame, 0.3, 3.0, 0.1, -0.2, frame / FRAMES], np.float32)
            dataset.add_frame({
                "observation.state": state + np.float32(0.1 * episode) * (np.arange(7) == 0),
                "action": state, "task": f"task {episode}",
                "observation.images.top": picture(episode, frame),
                "observation.images.wrist": picture(episode, frame),
            })
        dataset.save_episode()
    dataset.finalize()


if __name__ == "__main__":
    {"load": load, "write": write}[sys.argv[1]](sys.argv[2])
