"""``worldmodel <command> key=value ...``"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import fields
from importlib import import_module
from typing import Any

from robots.limits import SafetyError
from sims.rendering import RenderingUnavailable

# name: (settings, function, what it does); modules are imported when their command runs
COMMANDS = {
    "collect": ("configs.collecting:Collect", "configs.collecting:run_collect",
                "record episodes in the simulator"),
    "import": ("configs.importing:Import", "configs.importing:run_import",
               "bring recordings of other formats into a store"),
    "export": ("configs.importing:Export", "configs.importing:run_export",
               "write a store in another format"),
    "data info": ("configs.datasets:DataInfo", "configs.datasets:run_info",
                  "what a store holds: hours, rates, ranges, sources, licences"),
    "data check": ("configs.datasets:DataCheck", "configs.datasets:run_check",
                   "damage, duplicates, gaps, jumps and suspicious units"),
    "data repair": ("configs.datasets:DataRepair", "configs.datasets:run_repair",
                    "move unusable episodes aside"),
    "data split": ("configs.datasets:DataSplit", "configs.datasets:run_split",
                   "hold out a share of the episodes"),
    "pretrain": ("configs.commands:Pretrain", "configs.training:run_pretrain",
                 "masked latent pre-training of the encoder"),
    "encode": ("configs.commands:Encode", "configs.training:run_encode",
               "cache the frozen encoder's latents"),
    "train": ("configs.commands:Train", "configs.training:run_train",
              "post-train the predictor and the state readout"),
    "probe": ("configs.commands:Probe", "configs.training:run_probe",
              "what the frozen features hold"),
    "plan": ("configs.commands:Plan", "configs.planning:run_plan",
             "one episode towards a goal image, with pictures"),
    "evaluate": ("configs.commands:Evaluate", "configs.evaluating:run_evaluate",
                 "success rate over many seeds; suite=table: the success table"),
    "calibrate": ("configs.calibrating:Calibrate", "configs.calibrating:run_calibrate",
                  "map the model's idea of space to the robot's by moves of its own"),
    "diagnose": ("configs.commands:Diagnose", "configs.diagnosing:run_diagnose",
                 "does the model listen to actions: energies, ranks, drift"),
    "replay": ("configs.commands:Replay", "configs.replaying:run_replay",
               "what would the agent do on recorded episodes"),
    "robot serve": ("configs.robot_serving:RobotServe", "configs.robot_serving:run_serve",
                    "the bridge between planners and an arm, over ROS 2"),
    "robot sim": ("configs.robot_serving:RobotSim", "configs.robot_serving:run_sim",
                  "a simulated arm on the topics of a real one"),
    "robot arm": ("configs.robot_serving:RobotArm", "configs.robot_serving:run_robot_arm",
                  "an FR3 over FCI on those topics, for labs without a controller of their own"),
    "robot hil": ("configs.robot_hil:RobotHil", "configs.robot_hil:run_hil",
                  "a simulated FR3 behind the real FCI protocol, with camera, driver and bridge"),
    "robot trials": ("configs.robot_trials:HilTrials", "configs.robot_trials:run_trials",
                     "reach and grasp on that FR3, judged"),
    "robot check": ("configs.robot_checking:RobotCheck", "configs.robot_checking:run_check",
                    "is the cell ready: topics, rates, frames, camera, limits"),
    "robot goal": ("configs.robot_checking:RobotGoal", "configs.robot_checking:run_goal",
                   "take goal pictures with the arm's camera"),
    "robot collect": ("configs.robot_collecting:RobotCollect",
                      "configs.robot_collecting:run_robot_collect",
                      "record random moves of the arm"),
    "robot run": ("configs.robot_running:RobotRun", "configs.robot_running:run_robot",
                  "plan towards goal images on the arm; moves only with execute=true"),
    "bench planner": ("configs.bench_planner:BenchPlanner",
                      "configs.bench_planner:run_bench_planner",
                      "seconds per plan: ours, the plain way, another library, the floor"),
    "bench encoder": ("configs.bench_encoder:BenchEncoder",
                      "configs.bench_encoder:run_bench_encoder",
                      "frames per second: ours, the plain way, transformers, the floor"),
    "bench data": ("configs.bench_data:BenchData", "configs.bench_data:run_bench_data",
                   "training windows per second from our store and from other formats"),
    "bench sim": ("configs.bench_sim:BenchSim", "configs.bench_sim:run_bench_sim",
                  "steps with a picture per second of the simulators"),
    "bench train": ("configs.bench_train:BenchTrain", "configs.bench_train:run_bench_train",
                    "windows per second with cached latents and with the encoder in the loop"),
    "parity": ("configs.commands:Parity", "configs.parity:run_parity",
               "compare our models with vectors of the released code"),
    "info": ("configs.commands:Info", "configs.info:run_info",
             "what a checkpoint holds and whether this machine renders"),
}


def find(target: str) -> Any:
    """The object that ``module:name`` names."""
    module, name = target.split(":")
    return getattr(import_module(module), name)


def usage() -> str:
    lines = ["usage: worldmodel <command> [key=value ...]", ""]
    lines += [f"  {name:13}{text}" for name, (_, _, text) in COMMANDS.items()]
    return "\n".join([*lines, "", "worldmodel <command> --help lists its settings"])


def command_help(name: str) -> str:
    kind = find(COMMANDS[name][0])
    lines = [(kind.__doc__ or "").strip(), ""]
    lines += [f"  {f.name}: {f.type}" for f in fields(kind)]
    file = f"configs/{yaml_name(name)}.yaml"
    return "\n".join([*lines, "", f"defaults: {file}; nested keys with dots"])


def yaml_name(name: str) -> str:
    """The file of a command's defaults, without its suffix."""
    return name.replace(" ", "_")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 2 on a bad setting or bad input (one line, no traceback)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    words = 2 if " ".join(arguments[:2]) in COMMANDS else 1
    name, overrides = " ".join(arguments[:words]), arguments[words:]
    if name not in COMMANDS:
        print(f"worldmodel: unknown command '{name}'; valid: {', '.join(COMMANDS)}",
              file=sys.stderr)
        return 2
    if overrides and overrides[0] in ("-h", "--help"):
        print(command_help(name))
        return 0
    kind, function, _ = COMMANDS[name]
    # Errors a user can mend are ValueErrors, missing parts ImportErrors, and the like.
    try:
        from configs.settings import load

        settings = load(find(kind), yaml_name(name), overrides)
        find(function)(settings)
    except (ValueError, ImportError, OSError, RenderingUnavailable, BrokenExecutor,
            SafetyError) as error:
        if os.environ.get("WORLDMODEL_TRACEBACK"):
            raise
        message = " ".join(str(error).split())
        print(f"worldmodel {name}: error: {message}", file=sys.stderr)
        return 2
    return 0

if __name__ == "__main__":
    sys.exit(main())
