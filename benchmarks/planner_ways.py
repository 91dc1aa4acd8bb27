"""The ways to compute one plan that ``bench planner`` times."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from arm_worldmodel.report import write_report
from benchmarks.measure import PeakMemory, device_of, matmul_rate, wait
from benchmarks.plain_planner import PlainPlanner
from benchmarks.settings import PlannerSettings as Settings
from planners.cem import CEM
from planners.config import CEMConfig
from planners.objective import l1
from planners.search import spread_actions
from worldmodel.config import PREDICTORS
from worldmodel.encoder import normalise_tokens
from worldmodel.imagination import Imagination
from worldmodel.models import Models
from worldmodel.predictor import Predictor
from worldmodel.progress import Progress
from worldmodel.quantised import QuantisedImagination, multiplies_integers

ROOT = Path(__file__).parents[1]
PEER = ROOT / ".bench"  # tools/bench/setup.sh


def predictor_of(settings: Settings) -> Predictor:
    """The shipped predictor, or random weights of the named size; raises ``ValueError`` for no
    such size."""
    if settings.model == "shipped":
        return Models.load(parts=["predictor"], device="cpu").predictor
    if settings.model not in PREDICTORS:
        raise ValueError(f"unknown model '{settings.model}'; valid: shipped, "
                         f"{', '.join(PREDICTORS)}")
    config = PREDICTORS[settings.model]
    torch.manual_seed(settings.seed)
    return Predictor(replace(config, depth=settings.depth or config.depth)).eval()


def flops(predictor: Predictor, samples: int, horizon: int) -> float:
    """Least floating-point operations of one evaluation of ``samples`` sequences: the matrix
    products of one frame a step, of attention to all frames so far, and of embedding."""
    c, total = predictor.config, 0.0
    rows, patches = c.grid**2 + predictor.conditioning_tokens, c.grid**2
    for step in range(1, horizon + 1):
        linear = c.depth * (4 + 2 * c.mlp_ratio) * c.predictor_dim**2 * rows
        attention = c.depth * 2 * rows * (step * rows) * c.predictor_dim
        ends = 2 * patches * c.embed_dim * c.predictor_dim
        total += 2 * (linear + attention + ends)
    return total * samples


class Problem:
    """A present frame, a goal frame and the ways of scoring action sequences."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        predictor = predictor_of(settings)
        c = predictor.config
        g = torch.Generator().manual_seed(settings.seed)
        self.state = torch.tensor([[0.5, 0.0, 0.2, 3.0, 0.0, 0.0, 0.0]])
        self.tokens = normalise_tokens(torch.randn(1, c.grid**2, c.embed_dim, generator=g))
        self.plain = PlainPlanner(predictor_of(settings))
        self.exact = Imagination(predictor_of(settings).to(device))  # float32, to judge with
        truth = torch.tensor([[[0.04, -0.03, 0.02, 0.05, 0.0, 0.08, 0.5]]])
        truth = truth.repeat(1, settings.cem.horizon, 1)
        self.goal = self.exact.imagine(self.context(self.exact), truth)[0]  # on the device
        self.plain.predictor.to(device)
        dtype = torch.bfloat16 if settings.bf16 else torch.float32
        self.engine = Imagination(
            predictor.to(device, dtype), settings.memory_mb, settings.compile
        )
        self._goal = self.goal.to(dtype)
        self._context = self.context(self.engine)
        self.integers = None
        if settings.int8 and multiplies_integers(device):
            self.integers = QuantisedImagination(
                predictor_of(settings).to(dtype), settings.memory_mb, settings.compile
            )
            # What the agent does at the start of an episode.
            self._prepared = self.context(self.integers)
            self.integers.prepare(self._prepared, spread_actions(settings.cem))

    def context(self, engine: Imagination) -> Any:
        """The present frame, as an engine keeps it."""
        return engine.context(self.tokens, self.state)

    def ours(self, actions: Tensor) -> Tensor:
        """Costs [S] of actions [S, H, 7] by our engine."""
        return self.engine.score(self._context, actions, lambda z: l1(z, self._goal)).cpu()

    def ours_int8(self, actions: Tensor) -> Tensor:
        """The same in 8-bit integers."""
        assert self.integers is not None
        return self.integers.score(self._prepared, actions, lambda z: l1(z, self._goal))

    def reference(self, actions: Tensor) -> Tensor:
        """The same the plain way, in float32."""
        tokens, state, actions = (t.to(self.device) for t in (self.tokens, self.state, actions))
        return l1(self.plain.imagine(tokens, state, actions), self.goal).cpu()

    def judge(self, actions: Tensor) -> float:
        """Cost of one sequence [H, 7] in float32."""
        context = self.context(self.exact)
        return self.exact.score(context, actions[None], lambda z: l1(z, self.goal)).item()


def peer_solver() -> Any:
    """stable-worldmodel's CEMSolver, without the rest of that package and what it needs."""
    if not PEER.exists():
        raise OSError("stable-worldmodel is not installed: sh tools/bench/setup.sh, or peer=false")
    sys.path.insert(0, str(PEER))
    package = ModuleType("stable_worldmodel")
    package.__path__ = [str(PEER / "stable_worldmodel")]
    sys.modules.setdefault("stable_worldmodel", package)
    return import_module("stable_worldmodel.solver.cem").CEMSolver


class Costable:
    """A cost as stable-worldmodel's solvers call it; they search in -1..1-ish units."""

    def __init__(self, cost: Callable[[Tensor], Tensor], search: CEM) -> None:
        self.cost, self.search = cost, search

    def get_cost(self, infos: dict[str, Any], candidates: Tensor) -> Tensor:
        """Costs [1, S] of normalised candidates [1, S, H, 7], as the peer's solver asks."""
        return self.cost(self.search.bounded(candidates[0] * self.search.limit))[None]


def peer_plan(cost: Callable[[Tensor], Tensor], cem: CEMConfig, seed: int) -> Tensor:
    """The actions [H, 7] their solver returns, with our bounds, samples and iterations."""
    search = CEM(cem)
    solver = peer_solver()(
        Costable(cost, search), num_samples=cem.samples, n_steps=cem.iterations,
        topk=cem.elites, seed=seed,
    )

    @dataclass(frozen=True)
    class Shape:
        horizon: int = cem.horizon
        action_block: int = 1

    space = gymnasium.spaces.Box(-1, 1, (1, 7), np.float32)
    solver.configure(action_space=space, n_envs=1, config=Shape())
    with contextlib.redirect_stdout(io.StringIO()):
        found = solver.solve({"start": torch.zeros(1, 1)})
    return search.bounded(found["actions"][0] * search.limit)


def measure(settings: Settings) -> dict[str, Any]:
    """Seconds, memory and cost of every way, and the floor set by the matmul rate."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = device_of(settings.device)
    problem, cem = Problem(settings, device), settings.cem
    ways: dict[str, Callable[[int], Tensor]] = {
        "ours": lambda seed: CEM(cem, seed).plan(problem.ours).actions,
    }
    if problem.integers is not None:
        ways["ours, int8"] = lambda seed: CEM(cem, seed).plan(problem.ours_int8).actions
    if settings.reference:
        ways["reference"] = lambda seed: CEM(cem, seed).plan(problem.reference).actions
    if settings.peer:
        ways["stable-worldmodel"] = lambda seed: peer_plan(problem.reference, cem, seed)
        ways["stable-worldmodel, our engine"] = lambda seed: peer_plan(problem.ours, cem, seed)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    plans: dict[str, list[Tensor]] = {way: [] for way in ways}
    memory = {}
    for way, plan in ways.items():  # once for the caches, and for the memory
        with PeakMemory(device) as peak:
            plan(settings.seed)
            wait(device)
        memory[way] = peak.mib
    dtype = torch.bfloat16 if settings.bf16 else torch.float32
    rates = [matmul_rate(dtype, device)]
    # In turn, so that what else the machine does falls on all of them.
    for repeat in Progress(range(settings.repeats), desc="planner", unit="round"):
        for way, plan in ways.items():
            began = time.perf_counter()
            plans[way].append(plan(settings.seed + repeat))
            wait(device)
            seconds[way].append(time.perf_counter() - began)
        rates.append(matmul_rate(dtype, device))
    work = flops(problem.engine.predictor, cem.samples, cem.horizon) * cem.iterations
    rows = {}
    for way in ways:
        median = float(np.median(seconds[way]))
        rows[way] = {
            "seconds": median, "least_seconds": min(seconds[way]),
            "share_of_peak": work / median / float(np.median(rates)),
            "peak_memory_mib": memory[way],
            "cost": float(np.mean([problem.judge(p) for p in plans[way]])),
        }
    floor = work / float(np.median(rates))
    report: dict[str, Any] = {
        "rows": rows, "floor_seconds": floor, "gflop": work / 1e9,
        "matmul_gflop_s": float(np.median(rates)) / 1e9, "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "settings": asdict(settings),
    }
    ours = rows["ours"]["seconds"]
    if settings.reference:
        report["speedup_over_reference"] = rows["reference"]["seconds"] / ours
        if "ours, int8" in rows:
            report["speedup_over_reference_int8"] = (
                rows["reference"]["seconds"] / rows["ours, int8"]["seconds"]
            )
        report["largest_difference_in_float32"] = difference(problem)
    if settings.peer:
        report["speedup_over_stable_worldmodel"] = rows["stable-worldmodel"]["seconds"] / ours
    if settings.growth:
        report["growth"] = growth(problem)
    write_report(settings.out, report)
    text = table(report)
    (Path(settings.out) / "table.md").write_text(text)
    print(text)
    return report


def difference(problem: Problem) -> float:
    """Largest difference of the actions planned with our engine in float32 and the plain way,
    from the same seed, in shares of the limits."""
    context, cem = problem.context(problem.exact), problem.settings.cem

    def exact(actions: Tensor) -> Tensor:
        return problem.exact.score(context, actions, lambda z: l1(z, problem.goal)).cpu()

    seed = problem.settings.seed
    ours = CEM(cem, seed).plan(exact).actions
    plain = CEM(cem, seed).plan(problem.reference).actions
    return ((ours - plain).abs() / torch.tensor(cem.limit).clamp(min=1e-9)).max().item()


def growth(problem: Problem) -> list[dict[str, float]]:
    """Seconds of one evaluation by samples and horizon."""
    rows = []
    cem = problem.settings.cem
    most = problem.engine.config.max_steps
    for samples in (cem.samples // 4, cem.samples, 4 * cem.samples):
        for horizon in (h for h in (1, 2, 3, 4) if h <= most):
            actions = 0.05 * torch.randn(samples, horizon, 7)
            problem.ours(actions)
            wait(problem.device)
            began = time.perf_counter()
            problem.ours(actions)
            wait(problem.device)
            rows.append({"samples": samples, "horizon": horizon,
                         "seconds": time.perf_counter() - began})
    return rows


def table(report: dict[str, Any]) -> str:
    """The rows as Markdown."""
    lines = ["| planner | s per plan | times ours | share of peak | memory MiB | cost found |",
             "| --- | --- | --- | --- | --- | --- |"]
    ours = report["rows"]["ours"]["seconds"]
    for way, row in report["rows"].items():
        lines.append(
            f"| {way} | {row['seconds']:.3f} | {row['seconds'] / ours:.1f} | "
            f"{row['share_of_peak']:.0%} | {row['peak_memory_mib']:.0f} | {row['cost']:.4f} |"
        )
    floor = report["floor_seconds"]
    lines.append(f"| floor: {report['gflop']:.0f} GFLOP at {report['matmul_gflop_s']:.0f} GFLOP/s "
                 f"| {floor:.3f} | {floor / ours:.2f} | 100% | | |")
    if "growth" in report:
        lines += ["", *_growth_table(report["growth"])]
    return "\n".join(lines) + "\n"


def _growth_table(rows: Sequence[dict[str, float]]) -> list[str]:
    horizons = sorted({row["horizon"] for row in rows})
    lines = ["| samples | " + " | ".join(f"horizon {h}" for h in horizons) + " |",
             "| --- " * (len(horizons) + 1) + "|"]
    for samples in sorted({row["samples"] for row in rows}):
        cells = [f"{r['seconds']:.3f} s" for r in rows if r["samples"] == samples]
        lines.append(f"| {samples} | " + " | ".join(cells) + " |")
    return lines
