"""Settings that several commands share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DiagnosisConfig:
    """Windows of recorded episodes that move at least ``least_move_m`` in a step; energies of
    ``candidates`` random and shuffled actions, energy landscapes ``reach_m`` around the true
    action, drift over ``horizon`` steps."""

    data: str
    episodes: int = 60
    windows: int = 4
    candidates: int = 100
    horizon: int = 6
    reach_m: float = 0.075
    side: int = 9
    least_move_m: float = 0.02
    seed: int = 0
