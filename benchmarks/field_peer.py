"""LeWorldModel and PLDM (Sobal et al. 2025, 2502.14819) of stable-worldmodel: its own modules and
losses, trained on the same batches, and planned with by its own policy and solver.

Their training scripts (scripts/train/lewm.py and pldm.py of their repository) are no part of the
package and need stable-pretraining and Lightning; so the loop is ours, and the same for all: what
it computes of a batch is theirs.  Letters: B batch, T frames, K numbers of an action block, A of an
action, D of a latent.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.peer import stable_worldmodel
from planners.config import CEMConfig
from worldmodel.config import LeWMConfig, LeWMLossConfig
from worldmodel.encoder import normalise_images
from worldmodel.lewm_training import LeWMTraining

PeerName = Literal["LeWM", "PLDM"]
# What PLDM minimises beside the prediction's squared error (scripts/train/config/pldm.yaml; the
# weights of its other terms, inverse dynamics among them, are 0 there)
PLDM_WEIGHTS = {"std_loss": 18.0, "std_t_loss": 0.7, "cov_loss": 12.0, "temp_align_loss": 0.2}


def peer_model(name: PeerName, config: LeWMConfig) -> nn.Module:
    """Their model with the sizes of ``config``, initialised as they do
    (scripts/train/config/lewm.yaml and pldm.yaml)."""
    stable_worldmodel()
    place = f"stable_worldmodel.wm.{name.lower()}"
    model = import_module(f"{place}.{name.lower()}")
    parts = import_module(f"{place}.module")
    vit = import_module("transformers.models.vit")
    c, norm = config, nn.BatchNorm1d
    shape = vit.ViTConfig(
        hidden_size=c.encoder_dim, num_hidden_layers=c.encoder_depth,
        num_attention_heads=c.encoder_heads, intermediate_size=4 * c.encoder_dim,
        image_size=c.image_size, patch_size=c.patch_size,
    )
    return getattr(model, name)(
        encoder=vit.ViTModel(shape, add_pooling_layer=False, use_mask_token=False),
        predictor=parts.Predictor(
            num_frames=c.history, input_dim=c.embed_dim, hidden_dim=c.embed_dim,
            output_dim=c.embed_dim, depth=c.predictor_depth, heads=c.predictor_heads,
            mlp_dim=c.predictor_mlp, dim_head=c.predictor_head_dim, dropout=c.dropout,
        ),
        action_encoder=parts.Embedder(input_dim=c.block_size, emb_dim=c.embed_dim),
        projector=parts.MLP(c.encoder_dim, c.projector_dim, c.embed_dim, norm_fn=norm),
        pred_proj=parts.MLP(c.embed_dim, c.projector_dim, c.embed_dim, norm_fn=norm),
    )


class PeerTraining(LeWMTraining):
    """Their model with their losses, as ``train_lewm`` takes it; of ``losses`` only LeWM has the
    weight and the directions of SIGReg."""

    def __init__(self, name: PeerName, config: LeWMConfig, losses: LeWMLossConfig) -> None:
        nn.Module.__init__(self)
        self.name, self.config, self.losses, self.recovery = name, config, losses, None
        self.model: Any = peer_model(name, config)
        loss = import_module("stable_worldmodel.wm.loss")
        self.sigreg = loss.SIGReg(knots=17, num_proj=losses.directions)
        self.pldm = loss.PLDMLoss()

    def forward(self, images: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, None]:
        """images uint8 [B, T, H, W, 3], action blocks [B, T - 1, K] -> latents [B, T, D], those
        predicted of all but the first [B, T - 1, D], and None."""
        pixels = normalise_images(images)
        skip = self.config.frame_skip
        mean, std = (
            actions.new_tensor(x).repeat(skip)
            for x in (self.config.action_mean, self.config.action_std)
        )
        found = self.model.encode({"pixels": pixels, "action": (actions - mean) / std})
        predicted = self.model.predict(found["emb"][:, :-1], found["act_emb"])
        return found["emb"], predicted, None

    def loss(
        self, latents: Tensor, predicted: Tensor, told: Tensor | None, actions: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Their terms, and their sum."""
        latents, predicted = latents.float(), predicted.float()
        figures = {"prediction": F.mse_loss(predicted, latents[:, 1:])}
        if self.name == "LeWM":
            figures["sigreg"] = self.sigreg(latents.transpose(0, 1))
            weights = {"sigreg": self.losses.sigreg_weight}
        else:
            figures |= self.pldm(latents)
            weights = PLDM_WEIGHTS
        loss = figures["prediction"] + sum(w * figures[term] for term, w in weights.items())
        return loss, {name: value.detach() for name, value in figures.items()}


class Scaler:
    """Actions in units of their spread, as their policies call it."""

    def __init__(self, config: LeWMConfig) -> None:
        self.mean, self.std = np.array(config.action_mean), np.array(config.action_std)

    def transform(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Actions [..., A] in these units."""
        return ((actions - self.mean) / self.std).astype(np.float32)

    def inverse_transform(self, actions: NDArray[Any]) -> NDArray[Any]:
        """Back."""
        return (actions * self.std + self.mean).astype(np.float32)


def peer_policy(model: nn.Module, config: LeWMConfig, cem: CEMConfig, seed: int) -> Any:
    """Their ``WorldModelPolicy`` with their ``CEMSolver``, of ``cem``'s samples, iterations, elites
    and horizon in action blocks; every plan is carried out whole."""
    swm = stable_worldmodel()
    solver = swm.solver.CEMSolver(
        model.eval(), num_samples=cem.samples, n_steps=cem.iterations, topk=cem.elites, seed=seed
    )
    plan = swm.PlanConfig(
        horizon=cem.horizon, receding_horizon=cem.horizon, action_block=config.frame_skip
    )
    see = {name: _normalised for name in ("pixels", "goal")}
    return swm.policy.WorldModelPolicy(
        solver=solver, config=plan, process={"action": Scaler(config)}, transform=see
    )


def _normalised(image: Tensor) -> Tensor:
    """uint8 [3, H, W] -> as the encoder was trained on, float32."""
    return normalise_images(image.as_subclass(Tensor).permute(1, 2, 0))
