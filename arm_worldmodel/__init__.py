"""Goal-image planning for robot arms with a latent world model.

    import arm_worldmodel as awm

    model = awm.load("shipped")
    agent = awm.Agent(model, planner=awm.CEM(samples=200))
    result = awm.run(awm.make("reach", object="cup"), agent, episodes=5)

A name is imported when it is first used: ``import arm_worldmodel`` loads neither torch nor a
simulator.  ``worldmodel`` is the command line.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arm_worldmodel.agent import Agent as Agent
    from arm_worldmodel.dataset import Dataset as Dataset
    from arm_worldmodel.model import Model as Model
    from arm_worldmodel.model import load as load
    from arm_worldmodel.running import Result as Result
    from arm_worldmodel.running import run as run
    from planners.config import CEMConfig as CEM
    from planners.config import ReleasedConfig as ReleasedCEM
    from planners.own_cost import token_distance as token_distance
    from robot_data.loop import Decision as Decision
    from robot_data.schema import Episode as Episode
    from robots.connect import connect as connect
    from robots.limits import Limits as Limits
    from robots.local.camera import CameraConfig as CameraConfig
    from sims.make import make as make

# name: where it is, and what it is called there
_PLACES = {
    "Agent": ("arm_worldmodel.agent", "Agent"),
    "CEM": ("planners.config", "CEMConfig"),
    "CameraConfig": ("robots.local.camera", "CameraConfig"),
    "Dataset": ("arm_worldmodel.dataset", "Dataset"),
    "Decision": ("robot_data.loop", "Decision"),
    "Episode": ("robot_data.schema", "Episode"),
    "Limits": ("robots.limits", "Limits"),
    "Model": ("arm_worldmodel.model", "Model"),
    "ReleasedCEM": ("planners.config", "ReleasedConfig"),
    "Result": ("arm_worldmodel.running", "Result"),
    "connect": ("robots.connect", "connect"),
    "load": ("arm_worldmodel.model", "load"),
    "make": ("sims.make", "make"),
    "run": ("arm_worldmodel.running", "run"),
    "token_distance": ("planners.own_cost", "token_distance"),
}

__all__ = [
    "CEM", "Agent", "CameraConfig", "Dataset", "Decision", "Episode", "Limits", "Model",
    "ReleasedCEM", "Result", "connect", "load", "make", "run", "token_distance",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("arm-worldmodel")
    if name not in _PLACES:
        raise AttributeError(f"module 'arm_worldmodel' has no attribute '{name}'")
    module, there = _PLACES[name]
    value = getattr(import_module(module), there)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
