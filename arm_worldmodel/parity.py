"""``worldmodel parity``: our models against reference vectors of the released code."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from planners.config import ReleasedConfig
from planners.released import ReleasedCEM, distance
from robot_data.pose import diff
from worldmodel.checkpoint import CheckpointError
from worldmodel.config import EncoderConfig, PredictorConfig
from worldmodel.encoder import Encoder, normalise_tokens
from worldmodel.losses import post_training_losses
from worldmodel.predictor import Predictor
from worldmodel.published_order import PublishedImagination
from worldmodel.rollout import rollout

CEM = ReleasedConfig(samples=64, iterations=6, max_move_m=0.075)  # of cem_action
CEM_SEED = 123
INPUTS = ("video", "actions", "states", "extrinsics")


def load_golden(prefix: str) -> tuple[Encoder, Predictor | None, dict[str, Tensor]]:
    """Models with the reference weights, and the reference vectors; those of V-JEPA 2.1 have no
    action-conditioned predictor."""
    files = {part: Path(f"{prefix}_{part}") for part in ("config.json", "weights.safetensors",
                                                         "vectors.safetensors")}
    for path in files.values():
        if not path.is_file():
            raise CheckpointError(
                f"no file {path}; golden= takes the common prefix of <prefix>_config.json, "
                "<prefix>_weights.safetensors and <prefix>_vectors.safetensors"
            )
    try:
        config = json.loads(files["config.json"].read_text())
        weights = load_file(files["weights.safetensors"])
        vectors = load_file(files["vectors.safetensors"])
        shared = {
            "image_size": config["image_size"], "patch_size": config["patch_size"],
            "layer_norm_eps": config.get("layer_norm_eps", 1e-6),
        }
        tubelet = config["tubelet_size"]
        encoder = Encoder(EncoderConfig(**shared, **config["encoder"], tubelet_size=tubelet))
        parts: dict[str, nn.Module] = {"encoder": encoder}
        if "predictor" in config:
            sizes = dict(config["predictor"])
            parts["predictor"] = Predictor(
                PredictorConfig(
                    **shared, embed_dim=config["encoder"]["embed_dim"],
                    predictor_dim=sizes.pop("embed_dim"),
                    max_steps=sizes.pop("num_frames") // tubelet, **sizes,
                )
            )
    except (SafetensorError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{prefix}_* is not in the reference format: {error!r}") from error
    for name, module in parts.items():
        state = {
            k.removeprefix(f"{name}."): v for k, v in weights.items() if k.startswith(f"{name}.")
        }
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(
                f"{prefix}_weights.safetensors does not fit its config: {error}"
            ) from error
        module.eval()
    predictor = parts.get("predictor")
    assert predictor is None or isinstance(predictor, Predictor)
    return encoder, predictor, vectors


@torch.no_grad()
def compute(
    encoder: Encoder, predictor: Predictor | None, given: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Everything the reference has, from its inputs, with our code."""
    return features(encoder, given) if predictor is None else whole(encoder, predictor, given)


def features(encoder: Encoder, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tokens and levels of V-JEPA 2.1: of a video, and of its first frame as an image."""
    video, image = given["video"], given["video"][:, :, :1]
    return {
        "video_tokens": encoder(video).flatten(1, 2),
        "video_levels": encoder.normalised_levels(video).flatten(1, 2),
        "image_tokens": encoder(image).flatten(1, 2),
        "image_levels": encoder.normalised_levels(image).flatten(1, 2),
    }


def whole(encoder: Encoder, predictor: Predictor, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tokens, predictions, roll-outs and losses of V-JEPA 2-AC."""
    actions, states = given["actions"], given["states"]
    extrinsics = given["extrinsics"] if predictor.config.use_extrinsics else None
    steps = actions.shape[1]
    frames = given["video"][:, :, :steps].transpose(1, 2)  # [B, T, 3, H, W]
    twice = frames.flatten(0, 1)[:, :, None].expand(-1, -1, encoder.config.tubelet_size, -1, -1)
    raw = encoder(twice).reshape(*frames.shape[:2], -1, encoder.config.embed_dim)
    tokens = encoder.encode_frames(frames)
    predicted = predictor(tokens, actions, states, extrinsics)
    rolled, rolled_states = rollout(predictor, tokens[:, :1], states[:, :1], actions, extrinsics)
    forced, rolled_loss = post_training_losses(predictor, tokens, actions, states, extrinsics)
    found = {
        "video_tokens": encoder(given["video"]).flatten(1, 2),
        "frame_tokens": raw,
        "frame_tokens_normalized": tokens,
        "predictor_out": predicted,
        "predictor_out_normalized": normalise_tokens(predicted),
        "rollout_tokens": rolled,
        "rollout_states": rolled_states,
        "rollout_energy": (rolled[:, -1] - tokens[:, -1]).abs().mean((1, 2)),
        "loss_teacher_forcing": forced.reshape(1),
        "loss_rollout": rolled_loss.reshape(1),
        "pose_diff": torch.from_numpy(diff(states[0, 0].double(), states[0, 1].double()))[None],
    }
    if "cem_costs" in given:  # the published planner has no extrinsics
        tokens = given["frame_tokens_normalized"][0]
        found["cem_costs"] = sample_costs(predictor, tokens, states[0, 0], given["cem_costs"])
        found["cem_action"] = plan_of(given["cem_costs"])
    return found


def plan_of(costs: Tensor, config: ReleasedConfig = CEM, seed: int = CEM_SEED) -> Tensor:
    """The plan [H, 7] of the released planner whose samples cost ``costs`` [iterations, S]: the
    published ones, so that no rounding of the network changes the places of nearly equal ones."""
    given = iter(costs)
    return ReleasedCEM(config, seed=seed).plan(lambda actions: next(given)).actions


def sample_costs(
    predictor: Predictor, tokens: Tensor, state: Tensor, costs: Tensor,
    config: ReleasedConfig = CEM, seed: int = CEM_SEED,
) -> Tensor:
    """What our network says that the samples of that search cost [iterations, S]: of going from the
    first of ``tokens`` [T, N, D], seen in ``state`` [7], to the last."""
    imagination = PublishedImagination(predictor)
    context = imagination.context(tokens[:1], state[None])
    goal = partial(distance, goal=tokens[-1])
    given, ours = iter(costs), []

    def cost(actions: Tensor) -> Tensor:
        ours.append(imagination.score(context, actions, goal))
        return next(given)

    ReleasedCEM(config, seed=seed).plan(cost)
    return torch.stack(ours)
