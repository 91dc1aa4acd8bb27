"""A world model in Python: images in, latents and imagined latents out, and pictures of these.

Letters: B images, S action sequences, H actions in each, N tokens of an image, D their width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from robot_data.images import fit_picture
from robot_data.schema import DataError, check_state
from worldmodel.device import device_of, to_host
from worldmodel.models import SHIPPED, Models
from worldmodel.rollout import rollout

AT_ONCE = 16  # images, or action sequences, that go through the model together


class Imagined(NamedTuple):
    """What actions lead to: latents [H, N, D], normalised, and states [H, 7] in the robot base
    frame (m, rad, closedness), one for each action; [S, H, ...] for S action sequences."""

    latents: Tensor
    states: Tensor


def load(source: str | Path = SHIPPED, device: str | torch.device = "auto") -> Model:
    """The weights of ``source`` on ``device``.

    source: "shipped"; a folder of ours; a Hugging Face ``VJEPA2Model`` folder; Meta's ``.pt``
    file; or "hf://owner/name[@revision]".  device: "auto" is the first GPU, else the CPU; or
    "cpu", "cuda", "cuda:1".

    Raises ``worldmodel.checkpoint.CheckpointError`` for weights that cannot be read and
    ``ValueError`` for a device that does not exist.
    """
    return Model(Models.load(source, device=device))


class Model:
    """A frozen encoder and what was trained on it, as ``load`` finds them.

    A part that the weights lack raises ``worldmodel.models.MissingPart`` where it is needed, with
    the command that trains it.  ``models`` holds the networks themselves.
    """

    def __init__(self, models: Models) -> None:
        self.models = models

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the networks there are, of ``worldmodel.checkpoint.PARTS``."""
        return tuple(self.models.parts)

    @property
    def image_size(self) -> int:
        """Side [pixels] of the square images that the encoder takes; others are fitted."""
        return self.models.image_size

    @property
    def device(self) -> torch.device:
        """Where the weights are, and what is computed with them."""
        return device_of(self.models.encoder)

    @torch.no_grad()
    def encode(self, images: Any) -> Tensor:
        """Latents [B, N, D] of one image (B = 1) or a sequence of images.

        An image is a PIL image or an array uint8 [h, w, 3] or [h, w], of any size: its centre
        square is resized to ``image_size``.  Each is encoded alone, its tokens are normalised
        (V-JEPA 2-AC, Assran et al. 2025, section 3.1).  Raises ``DataError`` for what is none.
        """
        fitted = self._fitted(images)
        return torch.cat([self.models.encoder.encode_frames(part) for part in _chunks(fitted)])

    @torch.no_grad()
    def read(self, images: Any) -> Tensor:
        """Commanded states [B, 7] of the hand as the readout reads them from images, in the robot
        base frame: x, y, z [m], roll, pitch, yaw [rad, extrinsic xyz], closedness.

        Images as for ``encode``.  Raises ``MissingPart`` where there is no readout.
        """
        return self.models.readout.state(self.encode(images))

    @torch.no_grad()
    def imagine(self, now: Any, state: ArrayLike, actions: ArrayLike) -> Imagined:
        """What ``actions`` lead to: the predictor rolled out one action at a time, its tokens
        normalised after each (V-JEPA 2-AC, section 3.1); states are composed exactly.

        now: an image as for ``encode``, or its latents [1, N, D].  state [7]: measured, robot base
        frame (m, rad, closedness).  actions [H, 7], or [S, H, 7] for S sequences: changes over one
        control step (``robot_data.pose``).

        Raises ``MissingPart`` where there is no predictor, ``DataError`` for bad input.
        """
        predictor = self.models.predictor
        latents = now if isinstance(now, Tensor) else self.encode(now)
        tokens, width = self.models.encoder.config.tokens_per_frame, latents.shape[-1]
        if latents.numel() != tokens * width:
            raise DataError(
                f"imagining starts from one image; got latents {list(latents.shape)}, expected "
                f"[1, {tokens}, {self.models.encoder.config.embed_dim}]"
            )
        moves = self._moves(actions, predictor.config.max_steps)
        start = torch.from_numpy(check_state(state)).float().to(self.device)
        found: list[tuple[Tensor, Tensor]] = []
        for part in _chunks(moves.reshape(-1, *moves.shape[-2:])):
            count = len(part)
            found.append(rollout(
                predictor, latents.reshape(1, 1, tokens, width).expand(count, -1, -1, -1),
                start.expand(count, 1, 7), part,
            ))
        imagined = (torch.cat(parts)[:, 1:] for parts in zip(*found, strict=True))
        return Imagined(*(x.reshape(*moves.shape[:-1], *x.shape[2:]) for x in imagined))

    @torch.no_grad()
    def decode(self, latents: Tensor) -> NDArray[np.uint8]:
        """Pictures uint8 [..., side, side, 3] of latents [..., N, D], seen or imagined, to look at;
        nothing is planned by them.

        Raises ``MissingPart`` where there is no decoder, ``DataError`` for other latents.
        """
        decoder, shape = self.models.decoder, self.models.encoder.config
        size = (shape.tokens_per_frame, shape.embed_dim)
        if latents.ndim < 2 or tuple(latents.shape[-2:]) != size:
            raise DataError(
                f"latents have shape {list(latents.shape)}; expected [..., {size[0]}, {size[1]}], "
                "as encode and imagine return them"
            )
        rows = latents.reshape(-1, *size).to(self.device)
        painted = torch.cat([decoder.images(part) for part in _chunks(rows)])
        return to_host(painted).numpy().reshape(*latents.shape[:-2], *painted.shape[1:])

    def save(self, folder: str | Path) -> list[Path]:
        """Write every part into a checkpoint folder of ours, in half precision; returns the files.

        ``load`` and ``checkpoint=`` take the folder.
        """
        return self.models.save(folder)

    def push_to_hub(self, repository: str, licence: str = "", private: bool = False) -> str:
        """Send the weights with a model card to ``owner/name``, made if there is none; returns its
        address.  ``load("hf://owner/name")`` brings them back.

        licence: identifier for the card, such as "mit"; private: whether a new repository is seen
        by its owner only.  HF_ENDPOINT names the hub, HF_TOKEN the account (or `hf auth login`).
        Raises ``CheckpointError`` where the hub refuses.
        """
        from arm_worldmodel.cards import push_model

        return push_model(self.models, repository, licence, private)[1]

    def __repr__(self) -> str:
        sizes = {
            name: sum(p.numel() for p in part.parameters()) / 1e6
            for name, part in self.models.parts.items()
        }
        parts = ", ".join(f"{name} {size:.1f} M" for name, size in sizes.items())
        return f"Model({str(self.models.source)!r}, {self.image_size} px, {self.device}: {parts})"

    def _fitted(self, images: Any) -> Tensor:
        """One image or several -> uint8 [B, side, side, 3]."""
        several = isinstance(images, Sequence) or np.ndim(images) == 4
        given = list(images) if several else [images]
        if not given:
            raise DataError("no image was given")
        fitted = [
            fit_picture(image, self.image_size, f"image {i}" if several else "image")
            for i, image in enumerate(given)
        ]
        return torch.from_numpy(np.stack(fitted)).to(self.device)

    def _moves(self, actions: ArrayLike, most: int) -> Tensor:
        """Actions [H, 7] or [S, H, 7], checked."""
        given = actions.detach().cpu() if isinstance(actions, Tensor) else actions
        moves = np.asarray(given, np.float32)
        if moves.ndim not in (2, 3) or moves.shape[-1] != 7 or not 1 <= moves.shape[-2] <= most:
            raise DataError(
                f"actions have shape {moves.shape}; expected [H, 7] or [S, H, 7] with H from 1 to "
                f"{most}, the most this predictor takes"
            )
        if not np.isfinite(moves).all():
            raise DataError("actions are not finite")
        return torch.from_numpy(moves).to(self.device)


def _chunks(rows: Tensor) -> Iterator[Tensor]:
    return iter(rows.split(AT_ONCE))
