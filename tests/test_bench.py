"""The benchmark's other ways compute the same plan, and its report says what was measured."""

import json

import pytest
import torch

from arm_worldmodel.cli import main
from benchmarks import encoder as bench_encoder
from benchmarks import planner as bench_planner
from benchmarks import train as bench_train
from benchmarks.encoder_ways import encoder_of
from benchmarks.encoder_ways import flops as flops_of_encoder
from benchmarks.planner_ways import PEER, Problem, difference, flops, predictor_of
from planners.config import CEMConfig
from worldmodel.config import PredictorConfig
from worldmodel.quantised import multiplies_integers
from worldmodel.rollout import rollout

SMALL = CEMConfig(samples=12, iterations=2, elites=4, horizon=2)


def test_the_plain_way_is_the_released_models_rollout():
    problem = Problem(bench_planner.Settings(cem=SMALL), torch.device("cpu"))
    actions = 0.05 * torch.randn(3, 2, 7, generator=torch.Generator().manual_seed(0))
    found = problem.plain.imagine(problem.tokens, problem.state, actions)
    with torch.inference_mode():
        expected, _ = rollout(
            predictor_of(problem.settings), problem.tokens.expand(3, 1, -1, -1),
            problem.state.expand(3, 1, 7), actions,
        )
    torch.testing.assert_close(found, expected[:, -1], atol=3e-4, rtol=0)  # of about 1


def test_engine_and_plain_way_find_the_same_plan_from_the_same_seed():
    config = CEMConfig(samples=24, iterations=3, elites=6, horizon=2)
    problem = Problem(bench_planner.Settings(cem=config), torch.device("cpu"))
    assert difference(problem) < 1e-3


def test_floating_point_operations_are_counted_from_the_matrices():
    predictor = predictor_of(bench_planner.Settings())
    one = flops(predictor, 1, 1)
    rows = predictor.config.grid**2 + 2
    weights = sum(p.numel() for n, p in predictor.predictor_blocks.named_parameters()
                  if p.ndim == 2)
    assert one > 2 * weights * rows  # and attention, and the embeddings
    assert one < 1.15 * 2 * weights * rows
    assert flops(predictor, 10, 1) == pytest.approx(10 * one)
    assert 2 * one < flops(predictor, 1, 2) < 2.1 * one


def test_bench_planner_writes_a_table_and_a_report(tmp_path):
    peer = PEER.exists()
    report = bench_planner.run(bench_planner.Settings(
        out=str(tmp_path), cem=SMALL, repeats=1, threads=1, peer=peer, growth=False,
    ))
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["speedup_over_reference"] == report["speedup_over_reference"]
    ours, plain = written["rows"]["ours"], written["rows"]["reference"]
    assert written["speedup_over_reference"] == pytest.approx(plain["seconds"] / ours["seconds"])
    if multiplies_integers(torch.device("cpu")):
        integers = written["rows"]["ours, int8"]
        assert written["speedup_over_reference_int8"] == pytest.approx(
            plain["seconds"] / integers["seconds"]
        )
        assert integers["cost"] < 1.5 * plain["cost"]  # of a small search
    assert 0 < ours["share_of_peak"] < 1
    assert written["floor_seconds"] < ours["seconds"]
    assert "| ours |" in (tmp_path / "table.md").read_text()
    if peer:
        assert written["rows"]["stable-worldmodel"]["seconds"] > 0


def test_bench_train_compares_cached_latents_with_encoding(tmp_path):
    report = bench_train.run(bench_train.Settings(
        out=str(tmp_path), encoder="vit_tiny", steps=2, threads=1,
        predictor=PredictorConfig(predictor_dim=48, depth=1, num_heads=4),
    ))
    cached, encoded = report["rows"]["cached latents"], report["rows"]["with encoder"]
    assert encoded["encode_share"] > cached["encode_share"]
    assert report["speedup_of_cached_latents"] == pytest.approx(
        cached["windows_per_s"] / encoded["windows_per_s"]
    )
    assert report["processes"].keys() == {1, 2}
    assert "| with encoder |" in (tmp_path / "table.md").read_text()
    with pytest.raises(ValueError, match="vit_giant"):
        bench_train.run(bench_train.Settings(out=str(tmp_path), encoder="huge"))


def test_bench_encoder_measures_every_way_and_counts_its_operations(tmp_path):
    settings = bench_encoder.Settings(out=str(tmp_path), batches=(1, 2), repeats=1, threads=1)
    report = bench_encoder.run(settings)
    assert {(r["way"], r["batch"]) for r in report["rows"]} == {
        (way, batch) for way in ("ours", "plain", "transformers") for batch in (1, 2)
    }
    assert all(0 < r["share_of_peak"] < 1 for r in report["rows"])
    config = encoder_of(settings).config
    weights = sum(p.numel() for p in encoder_of(settings).blocks.parameters() if p.ndim == 2)
    assert 1 < flops_of_encoder(config) / (2 * weights * config.tokens_per_frame) < 1.2
    with pytest.raises(ValueError, match="vit_giant"):
        bench_encoder.run(bench_encoder.Settings(out=str(tmp_path), model="huge"))


def test_bench_data_and_sim_write_tables(tmp_path):
    assert main(["bench", "data", f"out={tmp_path / 'data'}", "seconds=0.1", "side=32",
                 "workers=[1]"]) == 0
    rows = json.loads((tmp_path / "data/report.json").read_text())["windows_per_s"]
    assert len(rows) == 5
    assert min(rows.values()) > 0
    assert main(["bench", "sim", f"out={tmp_path / 'sim'}", "steps=4", "sides=[32]"]) == 0
    row = json.loads((tmp_path / "sim/report.json").read_text())["image_steps_per_s"]["32"]
    assert row["ours"] > row["plain"]
    assert "| 32 px |" in (tmp_path / "sim/table.md").read_text()


def test_bench_refuses_an_unknown_model(tmp_path, capsys):
    assert main(["bench", "planner", "model=huge", f"out={tmp_path}"]) == 2
    assert "vjepa2_ac" in capsys.readouterr().err
