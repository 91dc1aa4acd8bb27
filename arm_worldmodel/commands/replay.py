"""What would the agent do on recorded episodes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arm_worldmodel.config import DiagnosisConfig
from planners.config import AgentConfig
from robot_data.schema import DataError

if TYPE_CHECKING:
    from planners.agent import PlanningAgent
    from worldmodel.encoder import Encoder
    from worldmodel.predictor import Predictor
    from worldmodel.readout import Readout


@dataclass(frozen=True)
class Settings(DiagnosisConfig):
    """What would the agent do, on recorded episodes?  In every window it plans towards the frame
    ``ahead`` and its action is compared with the recorded one; and all that ``diagnose`` measures.

    model: a checkpoint folder (empty: the shipped one), or vjepa2-ac with weights=PATH of Meta's
    vjepa2-ac-vitg.pt; meta_encoder, meta_predictor: the sizes in that file.  shown: episodes
    written for rerun.
    """

    out: str = "outputs/replay"
    model: str = ""
    weights: str = ""
    meta_encoder: str = "vit_giant"
    meta_predictor: str = "vjepa2_ac"
    ahead: int = 1
    shown: int = 2
    agent: AgentConfig = field(default_factory=AgentConfig)


def run(settings: Settings) -> dict[str, Any]:
    import copy

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from tqdm import tqdm

    from arm_worldmodel.diagnosis import Heard, listen
    from arm_worldmodel.encoding import fill_cache
    from arm_worldmodel.replaying import (
        Planned,
        agreement,
        agreement_figure,
        agreement_table,
        plain,
        plan_windows,
        rerun_file,
        surprise,
    )
    from arm_worldmodel.report import write_report
    from robot_data.episodes import EpisodeStore
    from robot_data.replay import ReplayEnv

    encoder, predictor, readout = load_model(settings)
    cache = fill_cache(settings.data, encoder)
    episodes = cache.episodes()[: settings.episodes]
    env = ReplayEnv(EpisodeStore(settings.data), settings.ahead)
    agent = _agent(settings, encoder, predictor, readout)
    fast = copy.deepcopy(predictor).to(torch.bfloat16)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    heard = Heard(settings)
    windows: dict[str, list[Planned]] = {}
    surprises: dict[str, NDArray[np.float64]] = {}
    short: list[str] = []
    for number, episode in enumerate(tqdm(episodes, desc="replay", unit="episode")):
        if len(episode.states) <= settings.ahead:
            short.append(episode.name)
            continue
        heard.add(listen(fast, episode, settings, number))
        surprises[episode.name] = surprise(fast, episode)
        planned = plan_windows(env, agent, episode, settings, number)
        if planned:
            windows[episode.name] = planned
        if number < settings.shown:
            rerun_file(out / f"{episode.name}.rrd", env, episode, planned, surprises[episode.name])
    report: dict[str, Any] = {
        **heard.report(),
        "agent": agreement(windows),
        "surprise": {name: row.tolist() for name, row in surprises.items()},
        "too_short": short, "settings": asdict(settings),
        "windows": {
            name: [{"frame": w.frame, "planned": w.planned.tolist(),
                    "recorded": w.recorded.tolist(), **plain(w.errors)} for w in found]
            for name, found in windows.items()
        },
    }
    heard.draw(out / "replay.png")
    agreement_figure(out / "agreement.png", windows, surprises)
    write_report(out, report)
    print(heard.table())
    print(agreement_table(report["agent"]))
    print(f"figures: {out}/replay.png, {out}/agreement.png  report: {out}/report.json  "
          f"rerun: {out}/*.rrd")
    return report


def load_model(settings: Settings) -> tuple[Encoder, Predictor, Readout | None]:
    """The model to replay with; a readout only where the checkpoint has one."""
    from worldmodel import checkpoint

    if settings.model == "vjepa2-ac":
        if not settings.weights:
            raise DataError(
                "model=vjepa2-ac needs weights=PATH of the released vjepa2-ac-vitg.pt"
            )
        return (
            checkpoint.load_meta_encoder(settings.weights, settings.meta_encoder),
            checkpoint.load_meta_predictor(settings.weights, settings.meta_predictor), None,
        )
    folder = Path(settings.model or checkpoint.SHIPPED)
    encoder = checkpoint.load_encoder(folder)
    has_readout = (folder / "readout.safetensors").exists()
    return (
        encoder, checkpoint.load_predictor(folder, encoder),
        checkpoint.load_readout(folder, encoder) if has_readout else None,
    )


def _agent(
    settings: Settings, encoder: Encoder, predictor: Predictor, readout: Readout | None
) -> PlanningAgent:
    from planners.agent import PlanningAgent

    config = settings.agent
    if readout is None:  # tokens alone, as V-JEPA 2-AC plans
        tokens_only = replace(
            config.objective, position_weight=0.0, rotation_weight=0.0, grip_weight=0.0
        )
        config = replace(config, objective=tokens_only)
    return PlanningAgent(encoder, predictor, readout, config)
