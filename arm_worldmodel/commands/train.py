"""Post-train predictor, state readout, sub-goal predictor, a baseline and a decoder."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from worldmodel.config import (
    PREDICTORS,
    DecoderConfig,
    LossConfig,
    PictureCrop,
    PredictorConfig,
    ReadoutConfig,
    TrainConfig,
)

PARTS = ("readout", "predictor", "subgoals", "inverse_dynamics", "decoder")


@dataclass(frozen=True)
class Settings:
    """Post-train on cached latents: the predictor, the readout of the robot state, the sub-goal
    predictor, the inverse-dynamics baseline and the decoder that makes pictures of latents.

    Image size, patch size and input width of all parts are the encoder's.  What the checkpoint has
    and is not trained goes into ``out`` too, so that ``out`` is a whole checkpoint.
    """

    data: str  # store of episodes to train on
    out: str  # folder of the new checkpoint
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    validation: str | None = None  # store of held-out episodes to judge on; null: none
    # source of the encoder: shipped; a folder; Meta's .pt; a Hugging Face folder; or
    # hf://owner/name[@revision]
    checkpoint: str = "shipped"
    # source whose trained parts are trained further (fine-tuning); null: start anew
    start_from: str | None = None
    # what to train: readout, predictor, subgoals, inverse_dynamics, decoder
    parts: tuple[str, ...] = PARTS
    predictor: PredictorConfig = field(default_factory=lambda: PREDICTORS["ac_tiny"])
    readout: ReadoutConfig = field(default_factory=lambda: ReadoutConfig(
        dim=192, num_heads=6, object=True
    ))
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    variants: int = 0  # augmented copies of every episode to train on as well
    # what the encoder sees of a picture: its centre square; or, as in the post-training of V-JEPA
    # 2-AC, its centre up to 1.35 times as wide as high, squeezed into a square
    crop: PictureCrop = "square"
    window: int = 5  # frames of a training window of the predictor
    # frames from one frame of a window, or of what a readout reads of imagined ones, to the next,
    # drawn from these
    strides: tuple[int, ...] = (1,)
    losses: LossConfig = field(default_factory=LossConfig)
    # sources whose readouts must read the predictor's imagined frames too, beside the readout of
    # out= or checkpoint=: of several, trained from different seeds, none is satisfied alone
    recover_with: tuple[str, ...] = ()
    # recompute activations in the predictor's backward pass, to save memory
    checkpoint_activations: bool = False
    frozen_blocks: int = 0  # first blocks of the predictor that are not trained
    validation_batches: int = 20  # batches of the validation figures
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(steps=1600, batch_size=24)
    )
    readout_train: TrainConfig = field(
        default_factory=lambda: TrainConfig(steps=4500, batch_size=96, warmup_steps=200)
    )
    # share of the readout's frames that the checkpoint's predictor imagines over recorded actions,
    # so that it reads them too; 0: real frames alone
    imagined_share: float = 0.0
    imagined_steps: int = 4  # steps that these are imagined ahead
    goal_hidden: int = 512  # width of the layers that join present and goal image
    goal_train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=5000, batch_size=96, learning_rate=4e-4, warmup_steps=200
        )
    )
    decoder_train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            steps=3000, batch_size=32, learning_rate=3e-3, warmup_steps=50
        )
    )

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        encoder = "it is the encoder's"
        found: dict[str, str] = dict.fromkeys(
            ("predictor.image_size", "predictor.patch_size", "predictor.embed_dim",
             "readout.embed_dim", "readout.tokens", "decoder.image_size", "decoder.patch_size",
             "decoder.embed_dim"), encoder,
        )
        found.update(dict.fromkeys(
            ("readout_train.parallel", "goal_train.parallel", "decoder_train.parallel"),
            "these small networks take ddp",
        ))
        if self.start_from is not None:
            found.update(dict.fromkeys(
                ("predictor", "readout", "goal_hidden", "decoder"), "start_from= has the sizes"
            ))
        if "readout" not in self.parts:
            found["imagined_share"] = "parts= leaves readout out"
        if not self.imagined_share:
            found["imagined_steps"] = "imagined_share=0"
        goals = {"subgoals", "inverse_dynamics"}
        for part, names in {
            "predictor": ("predictor", "train", "window", "strides", "losses", "recover_with",
                          "checkpoint_activations", "frozen_blocks"),
            "readout": ("readout", "readout_train"),
            "decoder": ("decoder", "decoder_train"),
        }.items():
            if part not in self.parts:
                found.update(dict.fromkeys(names, f"parts= leaves {part} out"))
        if "readout" in self.parts and self.imagined_share:
            found.pop("strides", None)
        if not self.losses.recovery_weight:
            found["recover_with"] = "losses.recovery_weight=0"
        if not goals & set(self.parts):
            found.update(dict.fromkeys(
                ("goal_hidden", "goal_train"), "parts= leaves subgoals and inverse_dynamics out"
            ))
        if set(self.parts) == {"decoder"}:
            found["variants"] = "the decoder learns from the images of the store as they are"
        if self.crop != "square":
            found["variants"] = "crop=wide is not augmented"
        if self.validation is None:
            found["validation_batches"] = "validation= is not given"
        elif not {"predictor", "decoder", *goals} & set(self.parts):
            found["validation_batches"] = "the readout is judged on 2,000 frames"
        return found


def run(settings: Settings) -> dict[str, Any]:
    """Returns the report of every part; resumes what ``out`` holds.  Raises ``DataError`` where
    that is of other data or other settings."""
    from arm_worldmodel.encoding import fill_cache, fill_caches, once
    from arm_worldmodel.report import write_report
    from arm_worldmodel.training import (
        last_losses,
        teachers,
        told,
        train_goal_network,
        train_picture_decoder,
        train_predictor,
        train_state_readout,
    )
    from arm_worldmodel.training_inputs import contents, require_same_inputs
    from robot_data.episodes import EpisodeStore
    from worldmodel.checkpoint import part_file, save_part
    from worldmodel.models import Models, find, parts_in

    began = time.monotonic()
    unknown = set(settings.parts) - set(PARTS)
    if unknown:
        raise ValueError(f"unknown parts {sorted(unknown)}; valid: {', '.join(PARTS)}")
    if "decoder" in settings.parts and settings.crop != "square":
        raise ValueError("the decoder learns square pictures: give crop=square, or leave it out of "
                         f"parts=[{','.join(p for p in settings.parts if p != 'decoder')}]")
    models = Models.load(settings.checkpoint, (), settings.device)
    encoder = models.encoder
    caches = fill_caches(settings.data, encoder, settings.variants, settings.crop)
    held_out = (
        fill_cache(settings.validation, encoder, crop=settings.crop) if settings.validation
        else None
    )
    given = asdict(settings)
    report: dict[str, Any] = {"encoder_hash": models.encoder_hash, "settings": given}
    episodes = contents(EpisodeStore(settings.data))

    def require_same(title: str, train: TrainConfig, *names: str, **more: Any) -> None:
        decisive = {**{name: given[name] for name in ("start_from", *names)}, **more}
        require_same_inputs(settings.out, title, episodes, {
            "encoder": models.encoder_hash, "batch_size": train.batch_size, "seed": train.seed,
            **decisive,
        })

    elsewhere = find(settings.checkpoint)[1].resolve() != Path(settings.out).resolve()
    if elsewhere:
        once(save_part, settings.out, encoder, encoder)
    if "readout" in settings.parts:
        require_same("readout", settings.readout_train, "readout", "variants", "imagined_share",
                     "imagined_steps", "strides")
        figures = train_state_readout(
            caches, held_out, encoder, settings.readout, settings.readout_train, settings.out,
            settings.start_from, settings.device, imagined_share=settings.imagined_share,
            imagined_steps=settings.imagined_steps, strides=settings.strides,
            predictor_source=settings.checkpoint,
        )
        if figures is not None:
            report["readout"] = figures
    if "predictor" in settings.parts:
        require_same("train", settings.train, "predictor", "variants", "window", "strides",
                     "losses", "recover_with", "frozen_blocks",
                     teachers=teachers(settings.recover_with))
        figures = train_predictor(
            caches, held_out, encoder, settings.predictor, settings.train, settings.out,
            device=settings.device,
            window=settings.window, strides=settings.strides,
            losses=settings.losses, readout_sources=(settings.out, settings.checkpoint),
            recover_with=settings.recover_with, start_from=settings.start_from,
            checkpoint_activations=settings.checkpoint_activations,
            frozen_blocks=settings.frozen_blocks, validation_batches=settings.validation_batches,
        )
        if figures is not None:
            report["validation"] = figures
    for part in ("subgoals", "inverse_dynamics"):
        if part in settings.parts:
            require_same(part, settings.goal_train, "variants", "goal_hidden")
            report[part] = train_goal_network(
                part, caches, held_out, encoder, settings.goal_train, settings.out,
                hidden=settings.goal_hidden, readout_sources=(settings.out, settings.checkpoint),
                start_from=settings.start_from, validation_batches=settings.validation_batches,
                device=settings.device,
            )
    if "decoder" in settings.parts:
        require_same("decoder", settings.decoder_train, "decoder")
        figures = train_picture_decoder(
            caches[0], held_out, encoder, settings.decoder, settings.decoder_train, settings.out,
            settings.start_from, settings.validation_batches, settings.device,
        )
        if figures is not None:
            report["decoder"] = figures
    kept = [
        part for part in parts_in(settings.checkpoint)
        if elsewhere and part not in settings.parts and not part_file(settings.out, part).is_file()
    ]
    if kept:
        once(Models.load(settings.checkpoint, kept, "cpu").save, settings.out)
        print(f"{settings.out} has from {settings.checkpoint}: {', '.join(kept)}")
    report["losses"] = {part: last_losses(settings.out, part) for part in settings.parts}
    report["seconds"] = time.monotonic() - began
    once(write_report, settings.out, report)
    held = {"predictor": report.get("validation", {}), "readout": report.get("readout", {})}
    for part in settings.parts:
        checked = held.get(part, report.get(part))
        once(print, f"{part}: {told(report['losses'][part])}"
                    + (f"; validation: {told(checked)}" if checked else ""))
    once(print, f"{len(settings.parts)} parts in {report['seconds'] / 60:.1f} min: "
                f"{settings.out}; report: {settings.out}/report.json")
    return report
