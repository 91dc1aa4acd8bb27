"""What planning takes in memory is known before; large files are mapped, not copied."""

import copy
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from planners.agent import PlanningAgent
from planners.config import (
    AgentConfig,
    CEMConfig,
    ObjectiveConfig,
    PolicyConfig,
    ReleasedConfig,
)
from planners.load import load_models, planning_parts
from planners.memory import planning_need, planning_operations, require_memory
from planners.released import released_agent, released_parts
from planners.search import ImaginedOutcomes
from worldmodel import memory
from worldmodel.config import ENCODERS, PREDICTORS, EncoderConfig, PredictorConfig
from worldmodel.device import copied
from worldmodel.encoder import Encoder
from worldmodel.models import Models
from worldmodel.predictor import Predictor

CPU = torch.device("cpu")
RELEASED = ReleasedConfig(samples=6, iterations=2, elites=2)
L1 = AgentConfig(CEMConfig(samples=20, elites=4, horizon=2), ObjectiveConfig("l1"))
SMALL = EncoderConfig(256, 64, 2, 1)
SMALL_AC = PredictorConfig(256, 16, 64, 64, 2, 1, max_steps=32)


def size(module):
    return sum(value.nbytes for value in module.parameters())


def saved(path):
    parts = {"encoder": Encoder(SMALL), "predictor": Predictor(SMALL_AC)}
    torch.save({name: part.state_dict() for name, part in parts.items()}, path)
    return path


@pytest.mark.parametrize("bf16", [True, False])
def test_what_planning_takes_is_what_was_predicted(bf16):
    encoder, predictor = Encoder(SMALL), Predictor(SMALL_AC)
    config = AgentConfig(L1.cem, L1.objective, bf16=bf16)
    need = planning_need(encoder, predictor, config)
    perception, _, search = planning_parts(encoder, predictor, None, config)
    assert isinstance(search.outcomes, ImaginedOutcomes)
    engine = search.outcomes.imagination
    queries = sum(value.nbytes for layer in engine._layers for value in layer.qkv)
    assert need.weights == size(perception.encoder) + size(engine.predictor) + queries
    assert need.imagined == engine.sample_bytes(2) * engine.chunk(20, 2)


def test_what_the_released_planner_takes_is_what_was_predicted():
    encoder, predictor = Encoder(SMALL), Predictor(SMALL_AC)
    need = planning_need(encoder, predictor, released_agent(RELEASED), published=True)
    perception, _, search = released_parts(encoder, predictor, RELEASED)
    assert isinstance(search.outcomes, ImaginedOutcomes)
    engine = search.outcomes.imagination
    assert need.weights == size(perception.encoder) + size(engine.predictor)
    assert need.imagined == engine.sample_bytes(2) * engine.chunk(6, 2) == 6 * need.one


def test_the_released_planner_is_refused_where_it_does_not_fit(monkeypatch):
    encoder, predictor = Encoder(SMALL), Predictor(SMALL_AC)
    need = planning_need(encoder, predictor, released_agent(RELEASED), published=True)
    monkeypatch.setattr(memory, "free_bytes", lambda device: need.weights + need.imagined // 2)
    with pytest.raises(ValueError, match=r"needs .*: use agent\.memory_mb=\d+ .*; or a") as told:
        released_parts(encoder, predictor, RELEASED)
    assert "bf16" not in str(told.value)  # it computes in float32
    megabytes = re.findall(r"memory_mb=(\d+)", str(told.value))
    PolicyConfig("released", agent=AgentConfig(memory_mb=int(*megabytes)))
    released_parts(encoder, predictor, RELEASED, int(*megabytes))
    monkeypatch.setattr(memory, "free_bytes", lambda device: need.weights + need.one // 2)
    with pytest.raises(ValueError, match=r"needs .*: use a smaller model, checkpoint="):
        released_parts(encoder, predictor, RELEASED)


def test_the_released_model_needs_less_than_four_gigabytes():
    with torch.device("meta"):
        encoder, predictor = Encoder(ENCODERS["vit_giant"]), Predictor(PREDICTORS["vjepa2_ac"])
    need = planning_need(encoder, predictor, AgentConfig())
    assert 2.7e9 < need.weights < 2.9e9
    assert need.bytes < 12e9


def test_too_little_memory_is_told_with_what_needs_less(monkeypatch):
    encoder, predictor = Encoder(SMALL), Predictor(SMALL_AC)
    exact = AgentConfig(L1.cem, L1.objective, bf16=False)
    need = planning_need(encoder, predictor, exact)
    monkeypatch.setattr(memory, "free_bytes", lambda device: need.bytes)
    assert require_memory(encoder, predictor, exact).free == need.bytes
    monkeypatch.setattr(memory, "free_bytes", lambda device: need.bytes - 1)
    told = r"needs 0\.0 GB of memory, you have 0\.0 GB: use agent\.bf16=true, which needs 0\.0 GB; "
    with pytest.raises(ValueError, match=told + r"or agent\.memory_mb=\d+ .*checkpoint="):
        planning_parts(encoder, predictor, None, exact)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1)
    with pytest.raises(ValueError, match=r"you have 0\.0 GB: use a smaller model, checkpoint="):
        require_memory(encoder, predictor, replace(exact, bf16=True))
    monkeypatch.setattr(memory, "free_bytes", lambda device: None)
    assert require_memory(encoder, predictor, L1).free is None


def test_less_memory_for_what_is_imagined_is_enough(monkeypatch):
    encoder, predictor = Encoder(SMALL), Predictor(SMALL_AC)
    need = planning_need(encoder, predictor, L1)
    monkeypatch.setattr(memory, "free_bytes", lambda device: need.weights + need.imagined // 2)
    with pytest.raises(ValueError, match=r"agent\.memory_mb=") as caught:
        require_memory(encoder, predictor, L1)
    megabytes = int(str(caught.value).partition("memory_mb=")[2].split()[0])
    require_memory(encoder, predictor, AgentConfig(L1.cem, L1.objective, memory_mb=megabytes))


def test_weights_that_do_not_fit_are_refused_before_they_are_read(tmp_path, monkeypatch):
    config = PolicyConfig(checkpoint=str(saved(tmp_path / "vjepa2-ac-vitg.pt")), agent=L1)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    with pytest.raises(ValueError, match=r"planning needs .* of memory"):
        load_models(config)


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("horizon", [1, 3])
def test_operations_of_a_decision_are_those_that_are_done(horizon, published):
    encoder, predictor = Encoder(SMALL), Predictor(SMALL_AC)
    if published:
        released = replace(RELEASED, horizon=horizon)
        config, parts = released_agent(released), released_parts(encoder, predictor, released)
    else:
        config = AgentConfig(CEMConfig(6, 2, 2, horizon), ObjectiveConfig("l1"), bf16=False)
        parts = planning_parts(encoder, predictor, None, config)
    perception, goals, search = parts
    agent = PlanningAgent(perception, goals, search)
    picture = np.zeros((256, 256, 3), np.uint8)
    agent.reset([picture], 0)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:
        agent.act({"image": picture, "state": np.array([0.4, 0, 0.3, 3.1, 0, 0, 0])})
    predicted = planning_operations(encoder, predictor, config, published)
    assert 0.85 < predicted / counted.get_total_flops() < 1.15


@pytest.mark.parametrize("policy", ["planner", "released"])
def test_large_needs_are_printed(tmp_path, monkeypatch, capsys, policy):
    file = str(saved(tmp_path / "vjepa2-ac-vitg.pt"))
    config = PolicyConfig(policy, checkpoint=file, agent=L1)
    load_models(config)
    assert capsys.readouterr().out == ""
    monkeypatch.setattr("planners.load.WORTH_TELLING", 1000)
    load_models(config)
    told = capsys.readouterr().out
    assert re.search(r"vjepa2-ac-vitg.pt takes [\d.]+ GB of memory: weights 0\.0 GB", told)
    assert re.search(r"a decision takes at least \d+ s here", told)


def test_what_is_told_of_the_released_planner_is_of_its_own_search(tmp_path, monkeypatch, capsys):
    file = str(saved(tmp_path / "vjepa2-ac-vitg.pt"))
    monkeypatch.setattr("planners.load.WORTH_TELLING", 1000)
    imagined = []
    for samples in (400, 1600):
        load_models(PolicyConfig(
            "released", checkpoint=file, released=ReleasedConfig(samples=samples)
        ))
        told = capsys.readouterr().out
        imagined += re.findall(r"imagined at once ([\d.]+) GB", told)
    few, many = map(float, imagined)
    assert few > 0.5  # all of them at once
    assert many == pytest.approx(4 * few, abs=0.3)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_meta_file_is_mapped_and_not_copied(tmp_path):
    path = saved(tmp_path / "vjepa2-ac-vitg.pt")
    models = Models.load(path, device="cpu")
    with open("/proc/self/maps") as maps:
        spans = [line.split()[0] for line in maps if line.rstrip().endswith(str(path))]
    ranges = [tuple(int(end, 16) for end in span.split("-")) for span in spans]
    for part in models.parts.values():
        for value in part.parameters():
            assert any(low <= value.data_ptr() < high for low, high in ranges)
    with torch.no_grad():  # a change stays in this process
        models.encoder.norm.weight += 1
    assert not torch.equal(
        models.encoder.norm.weight, Models.load(path, device="cpu").encoder.norm.weight
    )


def test_a_copy_in_another_precision_is_that_of_deepcopy():
    encoder = Encoder(SMALL).requires_grad_(False)
    expected = copy.deepcopy(encoder).to(torch.bfloat16)
    made = copied(encoder, torch.bfloat16)
    assert all(map(torch.equal, made.parameters(), expected.parameters()))
    assert [n for n, _ in made.named_parameters()] == [n for n, _ in encoder.named_parameters()]
    assert not any(value.requires_grad for value in made.parameters())
    same = copied(encoder, torch.float32)
    assert same.norm.weight.data_ptr() != encoder.norm.weight.data_ptr()


def test_free_memory_is_the_machines_or_what_the_container_leaves(tmp_path, monkeypatch):
    machine = memory.free_bytes(CPU)
    assert machine is None or machine > 1 << 20
    limit, used = tmp_path / "memory.max", tmp_path / "memory.current"
    monkeypatch.setattr(memory, "LIMITS", ((str(limit), str(used)),))
    used.write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\nactive_file 100000\ninactive_file 50000\n")
    limit.write_text("1000000\n")
    assert memory.free_bytes(CPU) == 450_000
    limit.write_text("max\n")
    assert memory.free_bytes(CPU) != 450_000
