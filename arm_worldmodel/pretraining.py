"""What ``worldmodel pretrain`` learns from, and the encoder that it begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from arm_worldmodel.encoding import once
from arm_worldmodel.training_inputs import contents
from robot_data.episodes import EpisodeStore
from robot_data.windows import MixedSampler, WindowSampler
from worldmodel.config import EncoderConfig
from worldmodel.encoder import Encoder
from worldmodel.models import Models

STATE = "pretrain_state.pt"  # in the folder of a pre-training


def sources(stores: Sequence[EpisodeStore], frames: EpisodeStore | None) -> dict[str, str]:
    """A hash of every episode (``training_inputs.contents``), by its name; of several stores, by
    store and name."""
    if frames is None and len(stores) == 1:
        return contents(stores[0])
    named = {store.url: store for store in (*stores, *([] if frames is None else [frames]))}
    return {
        f"{url}/{name}": value for url, store in named.items()
        for name, value in contents(store).items()
    }


def recordings(
    stores: Sequence[EpisodeStore], shares: Sequence[float]
) -> EpisodeStore | MixedSampler:
    """The one store; or several, mixed by ``shares`` (``robot_data.windows.MixedSampler``)."""
    if len(stores) == 1:
        return stores[0]
    return MixedSampler([WindowSampler(store, 1) for store in stores], shares)


def begun_with(
    source: str | None, shape: EncoderConfig, anew: bool
) -> tuple[Encoder, Path | None]:
    """The encoder to train, and the state of the earlier run that it goes on from, if any.

    ``anew``: of ``source`` only the encoder is taken, even where the state of its run is there.
    Raises ``ValueError`` where the encoder of ``source`` has another shape than ``shape``, images
    aside: positions are rotary, so that they may be larger.
    """
    if source is None:
        return Encoder(shape), None
    state = Path(source) / STATE
    if state.is_file() and not anew:
        once(print, f"going on from {state}: encoder, moving average, predictor and moments")
        return Encoder(shape), state
    given = Models.load(source, (), "cpu").encoder
    there = replace(given.config, image_size=shape.image_size)
    if there != shape:
        raise ValueError(
            f"start_from={source} has an encoder of another shape: {_said(there)}; give these "
            f"sizes, not {_said(shape)}"
        )
    encoder = Encoder(shape)
    encoder.load_state_dict(given.state_dict())
    once(print, f"starting with the encoder of {source}; the predictor is new")
    return encoder, None


def _said(shape: EncoderConfig) -> str:
    names = ("embed_dim", "depth", "num_heads", "mlp_ratio", "patch_size", "tubelet_size",
             "layer_norm_eps", "architecture")
    return " ".join(f"encoder.{name}={getattr(shape, name)}" for name in names)
