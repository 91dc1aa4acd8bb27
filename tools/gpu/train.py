"""Everything after the encoder, from recording to weights, on one GPU within a quarter of an hour.

    python tools/gpu/train.py out=R seconds=780 [device=cuda]

While processes record the mixture of ``mixture.py`` and the frozen encoder encodes it, readouts are
trained from three seeds; then predictors from three seeds, read by all three, first four and
then eight imagined steps; then each readout on frames of which its predictor imagines half; then
the first predictor again, alone, read by these; the sub-goal predictor and the inverse dynamics
beside all that.  ``R/0``, ``R/1`` and ``R/2`` are checkpoints of the three seeds; ``R/again`` has
the first seed's predictor after its last training.  R/probe is a readout of real frames that taught
nothing.  Networks, losses and batches are those of ``worldmodel train``.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import shutil
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fit import Fit, Losses, train
from goals import train_goals
from latents import Latents, encoder
from mixture import jobs, recorder
from torch import Tensor

import worldmodel.readout
from worldmodel import checkpoint
from worldmodel.config import PREDICTORS, ReadoutConfig
from worldmodel.losses import PostTraining, unroll
from worldmodel.models import Models
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout, object_loss, object_place, readout_loss

SEEDS, PROBE = (0, 1, 2), 9
RATE, RATE_AGAIN, RATE_RULER = 8e-4, 6e-4, 3e-4
STEPS = 8  # imagined
BLOCKS, FRAMES = 400, 360_000  # at most
# of the whole time: readouts, predictors of four steps and of eight, readouts again
SHARES = (0.25, 0.33, 0.70, 0.80)
RECORDING = 0.40


def read_from(output: Tensor, states: Tensor, places: Tensor) -> Losses:
    """Losses of raw outputs of a readout, and how far off hand and object are read (mean, mm)."""
    output = output.float()
    hand = (worldmodel.readout.decode(output.detach())[:, :3] - states[:, :3]).norm(dim=-1)
    thing = (object_place(output.detach()) - places).norm(dim=-1)
    loss = readout_loss(output, states) + object_loss(output, states, places)
    return loss, {"hand_mm": 1000 * hand.mean(), "object_mm": 1000 * thing.nanmean()}


def new_readout(seed: int, tokens: int, width: int) -> Readout:
    """As shipped, with first weights of its own."""
    torch.manual_seed(1000 + seed)
    return Readout(ReadoutConfig(
        embed_dim=width, tokens=tokens, dim=192, depth=3, num_heads=6, object=True
    ))


def frozen(readout: Readout) -> Readout:
    """A copy that teaches."""
    copy = Readout(readout.config)
    copy.load_state_dict(readout.state_dict())
    return copy.requires_grad_(False)


class Trainer:
    """The trainings one after another; ``batch``: windows of a predictor."""

    def __init__(self, out: Path, data: Latents, batch: int, began: float, seconds: float) -> None:
        self.out, self.data, self.batch = out, data, batch
        self.began, self.seconds = began, seconds
        self.encoder = Models.load("shipped", (), "cpu").encoder

    def at(self, share: float) -> float:
        """When a share of the time is over (time.time())."""
        return self.began + share * self.seconds

    def save(self, folder: str, *parts: torch.nn.Module) -> None:
        """Into ``out/folder``; they stay where they are."""
        for part in parts:
            checkpoint.save_part(self.out / folder, part, self.encoder)

    def readouts(self) -> dict[int, Readout]:
        """Of real frames, by seed."""
        shape = self.data.tokens.shape[1:]
        found = {seed: new_readout(seed, *shape) for seed in (*SEEDS, PROBE)}

        def loss(readout: Readout) -> Any:
            return lambda tokens, *labels: read_from(readout(tokens), *labels)

        until = self.at(SHARES[0])
        train([
            Fit(f"readout {seed}", readout, self.data,
                lambda rng: self.data.draw_frames(rng, 4 * self.batch), loss(readout), RATE, seed,
                time.time(), until)
            for seed, readout in found.items()
        ], self.data, until)
        self.save("probe", found.pop(PROBE))
        for seed, readout in found.items():
            self.save(str(seed), self.encoder, readout)
        return found

    def predictors(self, readouts: dict[int, Readout]) -> dict[int, Predictor]:
        """By seed, each read by all readouts, its own first."""
        found = {}
        for seed in SEEDS:
            torch.manual_seed(2000 + seed)
            found[seed] = Predictor(PREDICTORS["ac_tiny"])
        began, ends = time.time(), self.at(SHARES[2])
        phases = (STEPS // 2, 2 * self.batch, self.at(SHARES[1])), (STEPS, self.batch, ends)
        for number, (steps, batch, until) in enumerate(phases):
            train([
                self._predictor(
                    f"predictor {seed}, {steps} steps", predictor, readouts, seed, steps, batch,
                    RATE, seed + 10 * number, began, ends,
                ) for seed, predictor in found.items()
            ], self.data, until)
        for seed, predictor in found.items():
            self.save(str(seed), predictor)
        return found

    def _predictor(
        self, name: str, predictor: Predictor, readouts: dict[int, Readout], first: int,
        steps: int, batch: int, rate: float, seed: int, began: float, ends: float,
    ) -> Fit:
        order = sorted(readouts, key=lambda other: other != first)
        model = PostTraining(
            predictor, steps, [frozen(readouts[s]) for s in order], 0.3, 0.3, False
        )
        return Fit(name, model, self.data,
                   lambda rng: self.data.draw_windows(rng, batch, steps + 1), model, rate, seed,
                   began, ends)

    def rulers(self, readouts: dict[int, Readout], predictors: dict[int, Predictor]) -> None:
        """The readouts further, half of their frames imagined by their predictor."""
        real = 2 * self.batch

        def draw(rng: np.random.Generator) -> list[Any]:
            rows, states, places = self.data.draw_frames(rng, real)
            seen = self.data.draw_windows(rng, real // STEPS, STEPS + 1)
            firsts, actions, known, told, where = seen
            labels = np.concatenate([known[:, 1:, :6], told[:, 1:, None]], axis=-1).reshape(-1, 7)
            return [np.r_[rows, firsts[:, 0]], np.r_[states, labels],
                    np.r_[places, where[:, 1:].reshape(-1, 3)], actions, known]

        def loss(readout: Readout, predictor: Predictor) -> Any:
            def of(tokens: Tensor, *given: Tensor) -> Losses:
                states, places, actions, known = given
                with torch.no_grad():
                    imagined = unroll(predictor, tokens[real:], actions, known, None, STEPS)
                seen = torch.cat([tokens[:real], imagined.flatten(0, 1).half().float()])
                return read_from(readout(seen), states, places)
            return of

        until, fits = self.at(SHARES[3]), []
        for seed in SEEDS:
            predictor = predictors[seed].to(self.data.device).requires_grad_(False).eval()
            fits.append(Fit(
                f"ruler {seed}", readouts[seed].requires_grad_(True), self.data, draw,
                loss(readouts[seed], predictor), RATE_RULER, seed + 50, time.time(), until, 100,
            ))
        train(fits, self.data, until)
        for seed in SEEDS:
            self.save(str(seed), readouts[seed])

    def again(self, readouts: dict[int, Readout], predictor: Predictor) -> None:
        """The first predictor alone, read by the readouts as they are in the end."""
        until = self.at(1.0)
        train([self._predictor(
            "again", predictor.requires_grad_(True), readouts, SEEDS[0], STEPS,
            self.batch * 3 // 2, RATE_AGAIN, 77, time.time(), until,
        )], self.data, until)
        self.save("again", predictor)


def main(
    out: Path, seconds: float, device: str, batch: int, least: int, steps: int
) -> None:
    """Record, encode and train; ``least``: frames that training begins with; ``steps``: of the
    sub-goal predictor and the inverse dynamics."""
    began, work = time.time(), out / "work"
    shutil.rmtree(work, ignore_errors=True)
    for folder in ("raw", "enc"):
        (work / folder).mkdir(parents=True)
    # A list that becomes a tensor on the device is a copy that no graph may hold.
    worldmodel.readout.POSITION_CENTRE_M = torch.tensor(
        worldmodel.readout.POSITION_CENTRE_M, device=device
    )
    warnings.filterwarnings("ignore", message="To copy construct")
    spawn = mp.get_context("spawn")
    todo, done = spawn.Queue(), spawn.Queue()
    recorders = [
        spawn.Process(target=recorder, args=(todo, done, work)) for _ in range(os.cpu_count() or 1)
    ]
    for job in (*jobs(BLOCKS), *(None for _ in recorders)):
        todo.put(job)
    others = [spawn.Process(target=encoder, args=(work, device))]
    others += [
        spawn.Process(
            target=train_goals, args=(part, out / str(SEEDS[0]), work, device, 2 * batch, steps)
        )
        for part in ("subgoals", "inverse_dynamics")
    ]
    for process in (*recorders, *others):
        process.start()

    def stop_recording() -> None:
        time.sleep(RECORDING * seconds)
        (work / "enough").touch()
        for process in recorders:
            process.join()
        (work / "recorded").touch()

    threading.Thread(target=stop_recording, daemon=True).start()
    encoded = Models.load("shipped", (), "cpu").encoder.config
    data = Latents(work, device, FRAMES if device != "cpu" else 20_000,
                   encoded.tokens_per_frame, encoded.embed_dim)
    while data.frames < least:
        data.refresh()
        time.sleep(0.3)
    trainer = Trainer(out, data, batch, began, seconds)
    readouts = trainer.readouts()
    predictors = trainer.predictors(readouts)
    trainer.rulers(readouts, predictors)
    trainer.again(readouts, predictors[SEEDS[0]])
    for process in others:
        process.join()
    print(f"{data.frames} frames, {time.time() - began:.0f} s: {out}")


if __name__ == "__main__":
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    main(Path(given["out"]), float(given.get("seconds", 780)), given.get("device", "cuda"),
         int(given.get("batch", 64)), int(given.get("least", 12_000)),
         int(given.get("steps", 6000)))
