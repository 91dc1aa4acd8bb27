"""Pictures and poses of an arm while it moves, and the hand that a model reads from them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from robot_data.images import fit_picture
from robots.checkup import AS_IT_COMES
from robots.franka_env import FrankaEnv
from robots.limits import SafetyError
from robots.link import Link
from worldmodel.device import device_of, to_host
from worldmodel.models import Models

Array = NDArray[np.float64]
Pictures = NDArray[np.uint8]

POLL_S = 0.004
LATE_S = 0.6  # after the last move: its pictures may still come
MOST = 80  # pictures that are read
BATCH = 16
# What a driver may get wrong: pictures [K, H, W, 3] as they would be otherwise
OTHERWISE = {
    AS_IT_COMES: np.s_[:, :, :, :],
    "mirrored left to right": np.s_[:, :, ::-1, :],
    "turned by 180 degrees": np.s_[:, ::-1, ::-1, :],
    "with red and blue exchanged": np.s_[:, :, :, ::-1],
}


class Watch(threading.Thread):
    """As a context keeps every state and picture that comes: ``times`` [s] and ``places`` [m] of
    the hand, ``stamps`` [s] and ``pictures``, fitted to ``side`` pixels."""

    def __init__(self, link: Link, side: int) -> None:
        super().__init__(name="watch", daemon=True)
        self.link, self.side = link, side
        self.times: list[float] = []
        self.places: list[Array] = []
        self.stamps: list[float] = []
        self.pictures: list[Pictures] = []
        self._over = threading.Event()
        self._failed: Exception | None = None

    def run(self) -> None:
        """Look again and again; what came between two looks is not kept."""
        try:
            self._look()
        except Exception as error:  # a picture that cannot be read, told when the arm rests
            self._failed = error

    def _look(self) -> None:
        inbox = self.link.inbox
        while not self._over.wait(POLL_S):
            reading, newest = inbox.latest, inbox.image_stamp
            if reading is not None and reading.stamp > (self.times or [-np.inf])[-1]:
                self.times.append(reading.stamp)
                self.places.append(reading.state[:3])
            if newest is not None and newest > (self.stamps or [-np.inf])[-1]:
                found = inbox.newest()
                assert found is not None
                self.stamps.append(found[0])
                self.pictures.append(fit_picture(found[1], self.side))

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._over.set()
        self.join()
        if self._failed is not None and kind is None:
            raise self._failed


def go_round(env: FrankaEnv, far_m: float) -> None:
    """Move the hand ``far_m`` to its left and right, up, and forward, as far as it may, and back to
    where it was each time.  Raises ``SafetyError`` where the arm holds or refuses."""
    _, info = env.reset()
    start = info["commanded"]
    y, z, x = np.eye(7)[[1, 2, 0]] * far_m
    for action in (y, -y, z, x):
        *_, truncated, info = env.step(action)
        if truncated:
            raise SafetyError(info["fault_code"], f"the arm holds: {info['fault']}")
        if info["outcome"].startswith("refused"):
            raise SafetyError("refused", f"a move of {np.round(action[:3], 3)} m is "
                              f"{info['outcome']}; guide the hand to the middle of its workspace")
        env.go_to(start)
    time.sleep(LATE_S)


def read_hands(models: Models, pictures: Pictures) -> Mapping[str, Array]:
    """Hand positions [K, 3] m that the readout reads from pictures [K, H, W, 3], as they come and
    as they would be ``OTHERWISE``."""
    return {
        view: np.concatenate([
            _read(models, np.ascontiguousarray(pictures[i : i + BATCH][how]))
            for i in range(0, len(pictures), BATCH)
        ])
        for view, how in OTHERWISE.items()
    }


@torch.inference_mode()
def _read(models: Models, pictures: Pictures) -> Array:
    frames = torch.from_numpy(pictures).to(device_of(models.encoder))
    state = models.readout.state(models.encoder.encode_frames(frames).float())
    return to_host(state)[:, :3].double().numpy()
