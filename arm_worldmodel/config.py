"""Settings that several commands share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DiagnosisConfig:
    """What is measured on windows of recorded episodes."""

    data: str  # store of episodes
    episodes: int = 60  # most episodes, the first of the store
    windows: int = 4  # windows drawn from an episode
    # random actions, and as many shuffled ones, that the true action is ranked among
    candidates: int = 100
    horizon: int = 6  # steps that drift is followed over
    reach_m: float = 0.075  # half the side of the energy landscapes around the true action [m]
    side: int = 9  # points along the side of an energy landscape
    least_move_m: float = 0.02  # windows begin where the hand moves this far in a step [m]
    seed: int = 0  # draws the windows and the random actions
