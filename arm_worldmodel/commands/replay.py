"""What would the agent do on recorded episodes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from arm_worldmodel.config import DiagnosisConfig
from configs.settings import idle_but
from planners.config import AgentConfig, PolicyConfig, ReleasedConfig


@dataclass(frozen=True)
class Settings(DiagnosisConfig):
    """What would the agent do, on recorded episodes?  In every window it plans towards a later
    frame and its action is compared with the recorded one; and all that ``diagnose`` measures on
    recordings.

    Meta's vjepa2-ac-vitg.pt has no readout: agent.objective.distance=l1 plans by tokens alone, and
    policy=released as published with it.
    """

    out: str = "outputs/replay"  # folder of the figures and the report
    # weights: shipped; a folder; Meta's .pt; a Hugging Face folder; or hf://owner/name[@revision]
    checkpoint: str = "shipped"
    # source of another readout, fine-tuned for another arm or camera; null: the checkpoint's
    readout: str | None = None
    device: str = "auto"  # where to compute: auto, cpu, cuda or cuda:1
    ahead: int = 1  # frames between a window's first frame and its goal
    shown: int = 2  # episodes written for rerun
    # points along each axis of the energy landscape of V-JEPA 2-AC's notebook, drawn of the first
    # window: there 5; 0: none
    notebook_side: int = 0
    policy: Literal["planner", "released"] = "planner"  # ours, or that published with V-JEPA 2-AC
    agent: AgentConfig = field(default_factory=AgentConfig)
    released: ReleasedConfig = field(default_factory=ReleasedConfig)

    def idle(self) -> dict[str, str]:
        """Settings without effect beside the others, and why (``configs.settings``)."""
        one = "every window is one decision towards one image"
        if self.policy == "released":
            why = "policy=released"
            idle = idle_but(self.agent, "agent", ("memory_mb",), why)
            return {**idle, "released.steps": one, "readout": why}
        return {"released": "policy=planner", "agent.subgoals": one, "agent.cem.warm_start": one}


def run(settings: Settings) -> dict[str, Any]:
    """Returns the agreement with what was recorded, and all that ``diagnose`` measures; raises
    ``ValueError`` for a landscape of one point."""
    if settings.notebook_side < 0 or settings.notebook_side == 1:
        raise ValueError(f"notebook_side={settings.notebook_side}; expected 0 (none), or 2 or more")
    import numpy as np
    from numpy.typing import NDArray

    from arm_worldmodel.diagnosis import Diagnosis, diagnose_episode
    from arm_worldmodel.encoding import fill_cache
    from arm_worldmodel.imagining import painter_of, write_roll_outs
    from arm_worldmodel.landscape import notebook_energies
    from arm_worldmodel.motion import measure_motion
    from arm_worldmodel.pictures.agreement import write_agreement
    from arm_worldmodel.pictures.landscape import write_landscape
    from arm_worldmodel.replaying import (
        Planned,
        agreement,
        agreement_table,
        plain,
        plan_windows,
        rerun_file,
        surprise,
    )
    from arm_worldmodel.report import write_report
    from planners.agent import PlanningAgent
    from planners.load import load_models, planning_parts
    from planners.released import released_parts
    from robot_data.episodes import EpisodeStore
    from robot_data.recording import viewer
    from robot_data.replay import ReplayEnv
    from worldmodel.device import computing_dtype, copied, device_of
    from worldmodel.progress import Progress

    policy, search = settings.policy, settings.agent
    models = load_models(PolicyConfig(
        policy, checkpoint=settings.checkpoint, readout=settings.readout, device=settings.device,
        agent=search, released=settings.released,
    ))
    readout = models.readout if models.has("readout") else None
    cache = fill_cache(settings.data, models.encoder)
    episodes = [e.before_parked() for e in cache.episodes()[: settings.episodes]]
    env = ReplayEnv(EpisodeStore(settings.data), settings.ahead)
    nets = models.encoder, models.predictor
    if policy == "released":
        agent = PlanningAgent(*released_parts(*nets, settings.released, search.memory_mb))
    else:
        whole = replace(search.subgoals, near_share=1.0)  # whole moves were recorded
        parts = planning_parts(*nets, readout, replace(search, subgoals=whole))
        agent = PlanningAgent(*parts)
    fast = copied(models.predictor, computing_dtype(None, device_of(models.predictor)))
    painter = painter_of(fast, settings.checkpoint)
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    diagnosis = Diagnosis(settings)
    windows: dict[str, list[Planned]] = {}
    surprises: dict[str, NDArray[np.float64]] = {}
    short: list[str] = []
    for number, episode in enumerate(Progress(episodes, desc="replay", unit="episode")):
        if len(episode.states) <= settings.ahead:
            short.append(episode.name)
            continue
        diagnosis.add(diagnose_episode(fast, episode, settings, number))
        surprises[episode.name] = surprise(fast, episode)
        planned = plan_windows(env, agent, episode, settings, number)
        if planned:
            windows[episode.name] = planned
        if number < settings.shown:
            path = out / f"{episode.name}.rrd"
            rerun_file(path, env, episode, planned, surprises[episode.name], painter)
    if readout is not None:
        diagnosis.motion = measure_motion(fast, readout, episodes, settings.seed)
    report: dict[str, Any] = {
        **diagnosis.report(),
        "agent": agreement(windows),
        "surprise": {name: row.tolist() for name, row in surprises.items()},
        "too_short": short, "settings": asdict(settings),
        "windows": {
            name: [{"frame": w.frame, "planned": w.planned.tolist(),
                    "recorded": w.recorded.tolist(), **plain(w.errors)} for w in found]
            for name, found in windows.items()
        },
    }
    if settings.notebook_side and windows:
        name, (window, *_) = next(iter(windows.items()))
        recording = env.store.read(name)
        energies = notebook_energies(
            models, recording.images[[window.frame, window.frame + settings.ahead]],
            recording.states[window.frame], settings.reach_m, settings.notebook_side,
        )
        report["notebook"] = {
            "episode": name, "frame": window.frame, "energies": energies.tolist()
        }
        write_landscape(
            out / "energy_landscape.png", energies, settings.reach_m, window.recorded,
            f"frame {window.frame} of {name}",
        )
    diagnosis.draw(out / "replay.png")
    if painter is not None:
        write_roll_outs(out, painter, settings.data, episodes, settings.horizon)
    every = [w for found in windows.values() for w in found]
    write_agreement(
        out / "agreement.png", np.array([w.planned for w in every]),
        np.array([w.recorded for w in every]), surprises,
    )
    write_report(out, report)
    print(diagnosis.table())
    print(agreement_table(report["agent"]))
    print(f"figures: {out}/*.png  report: {out}/report.json\n"
          f"view: {viewer(out / '*.rrd')}")
    return report
