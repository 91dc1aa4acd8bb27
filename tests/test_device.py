"""Every tensor is on the model's device: on ``meta``, where only shapes are computed, an operation
that mixes it with a tensor left on the CPU raises.  What is read back goes through ``to_host``."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import arm_worldmodel as awm
from arm_worldmodel import batches as feeds
from planners import agent as planning_agent
from planners import (
    baselines,
    embedding,
    goals,
    hand_offset,
    hierarchy,
    perception,
    search,
    stages,
)
from planners import released as released_planner
from planners import servo as servoing
from planners.agent import PlanningAgent
from planners.baselines import InverseDynamicsAgent
from planners.calibration import Calibration
from planners.config import (
    AgentConfig,
    CEMConfig,
    HierarchyConfig,
    ObjectiveConfig,
    ReleasedConfig,
)
from planners.goals import GoalImages
from planners.hierarchy import HierarchicalAgent
from planners.lewm import lewm_parts
from planners.load import planning_parts
from planners.objective import l1
from planners.perception import Perception
from planners.released import released_parts
from planners.servo import ServoAgent
from worldmodel import adaptation, device, diagnostics, lewm_training, probes, run, train
from worldmodel.adaptation import LabelledFrames
from worldmodel.config import (
    DecoderConfig,
    EncoderConfig,
    GoalConditionedConfig,
    LeWMConfig,
    LeWMLossConfig,
    PredictorConfig,
    PublishedMaskedConfig,
    ReadoutConfig,
    TrainConfig,
)
from worldmodel.decoder import Decoder
from worldmodel.device import computing_dtype, device_named
from worldmodel.encoder import Encoder
from worldmodel.goal_conditioned import InverseDynamics, SubgoalPredictor
from worldmodel.imagination import Imagination
from worldmodel.lewm import LeWorldModel
from worldmodel.losses import PostTraining, Window
from worldmodel.models import Models
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout

META = torch.device("meta")
ENCODER = EncoderConfig(32, 48, 2, 4)
READOUT = ReadoutConfig(48, 4, 32, 1, 4, 2, object=True)
PREDICTOR = PredictorConfig(32, 16, 48, 48, 2, 4, residual=True)
TRAIN = TrainConfig(
    steps=9, batch_size=2, warmup_steps=1, bf16=False, checkpoint_every=100
)


class Enough(Exception):
    """Two optimiser steps were made."""


def batches(make):
    """A feed of the same shapes that ends a training loop at its third batch."""
    def batch(step):
        if step == 2:
            raise Enough
        return make()
    return batch


@pytest.fixture
def read_back(monkeypatch):
    """Values on ``meta`` have no numbers: zeros of their shape come back; counts the reads."""
    reads = []

    def zeros(values):
        reads.append(values.device.type)
        return torch.zeros(values.shape, dtype=values.dtype)

    for module in (
        device, run, train, diagnostics, probes, planning_agent, baselines, goals,
        embedding, hand_offset, hierarchy, lewm_training, perception, search, stages,
        released_planner, servoing,
    ):
        monkeypatch.setattr(module, "to_host", zeros)
    return reads


def test_mixing_devices_is_noticed_here():
    with pytest.raises(RuntimeError):
        torch.zeros(2, device=META) + torch.zeros(2)


def test_frames_are_encoded_where_the_encoder_is():
    tokens = Encoder(ENCODER).to(META).encode_frames(
        torch.zeros(3, 32, 32, 3, dtype=torch.uint8, device=META)
    )
    assert (tokens.device, tokens.shape) == (META, (3, 4, 48))


def test_a_readout_is_fitted_to_a_scene_where_it_is(monkeypatch):
    monkeypatch.setattr(adaptation, "STEPS", 1)
    host = LabelledFrames(torch.zeros(5, 4, 48), torch.zeros(5, 7), torch.zeros(5, 3))
    fitted = adaptation.adapted(Readout(READOUT).to(META), host, host)
    assert {weight.device for weight in fitted.parameters()} == {META}


@pytest.mark.parametrize("outside", [False, True])
@pytest.mark.parametrize("horizon", [1, 3])
def test_actions_from_the_host_are_imagined_and_scored_where_the_predictor_is(horizon, outside):
    config = PredictorConfig(32, 16, 48, 48, 2, 4, use_extrinsics=outside)
    imagination = Imagination(Predictor(config).to(META))
    context = imagination.context(
        torch.zeros(2, 4, 48), torch.zeros(2, 7), torch.zeros(1, 7),
        torch.zeros(2, 6) if outside else None,
    )
    goal = torch.zeros(4, 48, device=META)
    actions = torch.zeros(5, horizon, 7)
    cost = imagination.score(context, actions, partial(l1, goal=goal))
    assert (cost.device, cost.shape) == (META, (5,))
    assert imagination.imagine(context, actions).device == META


def test_energies_and_drift_are_computed_where_the_predictor_is(read_back):
    predictor = Predictor(PREDICTOR).to(META)
    energy = diagnostics.energies(
        predictor, torch.zeros(4, 48), torch.zeros(7), torch.zeros(6, 7), torch.zeros(4, 48)
    )
    error, copied = diagnostics.drift(
        predictor, torch.zeros(4, 4, 48), torch.zeros(4, 7), torch.zeros(3, 7)
    )
    assert read_back == ["meta"] * 3
    assert (energy.shape, error.shape, copied.shape) == ((6,), (3,), (3,))


def test_a_step_of_pretraining(tmp_path, read_back):
    clips = batches(lambda: torch.zeros(2, 4, 32, 32, 3, dtype=torch.uint8))
    with pytest.raises(Enough):
        train.pretrain(Encoder(ENCODER), clips, TRAIN, tmp_path, "meta")
    assert set(read_back) == {"meta"}


@pytest.mark.parametrize("architecture", ["vjepa2", "vjepa2.1"])
def test_a_step_of_pretraining_as_published(tmp_path, read_back, architecture):
    clips = batches(lambda: torch.zeros(2, 4, 64, 64, 3))
    encoder = Encoder(replace(ENCODER, image_size=64, depth=4, architecture=architecture))
    masked = PublishedMaskedConfig(predictor_dim=48, predictor_depth=1, predictor_heads=4)
    with pytest.raises(Enough):
        train.pretrain_published(
            encoder, clips, masked, replace(TRAIN, accumulate=2), tmp_path, "meta"
        )
    assert set(read_back) == {"meta"}


def test_a_step_of_post_training_and_its_validation(tmp_path, read_back):
    def window():
        return torch.zeros(2, 3, 4, 48).half(), torch.zeros(2, 2, 7), torch.zeros(2, 3, 7)

    predictor = Predictor(PREDICTOR)
    with pytest.raises(Enough):
        train.post_train(PostTraining(predictor), batches(window), TRAIN, tmp_path, device="meta")
    train.validate(predictor, lambda step: window(), 2)
    assert set(read_back) == {"meta"}


def test_a_step_of_a_leworldmodel_and_its_validation(tmp_path, read_back):
    def window():
        return torch.zeros(2, 4, 32, 32, 3, dtype=torch.uint8), torch.zeros(2, 3, 7)

    model = LeWorldModel(LeWMConfig(32, 16, action_mean=(0.0,) * 7, action_std=(1.0,) * 7))
    losses = lewm_training.LeWMTraining(model, LeWMLossConfig(recovery_weight=1.0))
    with pytest.raises(Enough):
        lewm_training.train_lewm(losses, batches(window), TRAIN, tmp_path, "meta")
    lewm_training.validate_lewm(model.eval(), lambda number: window(), 2)
    assert set(read_back) == {"meta"}


def test_a_step_of_the_readout_and_its_validation(tmp_path, read_back):
    readout = Readout(READOUT)
    with pytest.raises(Enough):
        train.train_readout(
            readout, batches(lambda: (
                torch.zeros(2, 4, 48).half(), torch.zeros(2, 7), torch.zeros(2, 3)
            )), TRAIN, tmp_path, "meta",
        )
    assert set(read_back) == {"meta"}
    figures = probes.readout_error(readout, torch.zeros(3, 4, 48), torch.zeros(3, 7))
    assert np.isfinite(list(figures.values())).all()


def test_frames_for_the_readout_are_imagined_where_the_predictor_is(monkeypatch):
    window = Window(
        torch.zeros(2, 3, 4, 48).half(), torch.zeros(2, 2, 7), torch.zeros(2, 3, 7),
        torch.zeros(2, 3), torch.zeros(2, 3, 3),
    )
    feed = SimpleNamespace(batch_size=4, frames=lambda step: (
        torch.zeros(4, 4, 48).half(), torch.zeros(4, 7), torch.zeros(4, 3)
    ))
    windows = SimpleNamespace(length=3, windows=lambda step: window)
    reads = []
    monkeypatch.setattr(
        feeds, "to_host", lambda x: (reads.append(x.device.type), torch.ones(x.shape))[1]
    )
    tokens, states, places = feeds.ImaginedFrames(
        feed, windows, Predictor(PREDICTOR).to(META), 0.5
    )(0)
    assert reads == ["meta"]
    assert (tokens[:2].sum(), tokens[2:].mean()) == (0, 1)  # half of them
    assert (states.shape, places.shape) == ((4, 7), (4, 3))


def test_a_step_of_the_decoder_its_validation_and_its_pictures(tmp_path, read_back):
    def pictures():
        images = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
        return torch.zeros(2, 4, 48).half(), images, torch.zeros(2, 32, 32)

    decoder = Decoder(DecoderConfig(32, 16, 48, 32, 1, 4, channels=8))
    with pytest.raises(Enough):
        train.train_decoder(decoder, batches(pictures), TRAIN, tmp_path, "meta")
    train.validate_decoder(decoder, lambda step: pictures(), 2)
    assert set(read_back) == {"meta"}
    painted = decoder.images(torch.zeros(3, 4, 48, device=META))
    assert (painted.device, painted.shape, painted.dtype) == (META, (3, 32, 32, 3), torch.uint8)


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        (SubgoalPredictor, lambda b: (b.kind, b.pose)),
        (InverseDynamics, lambda b: (b.moved,)),
    ],
)
def test_a_step_of_goal_conditioned_training_and_its_validation(
    kind, targets, tmp_path, read_back
):
    def pairs():
        return SimpleNamespace(
            tokens=torch.zeros(4, 4, 48), states=torch.zeros(4, 7), present=torch.tensor([0, 1]),
            goal=torch.tensor([2, 3]), kind=torch.tensor([0, 1]), pose=torch.zeros(2, 7),
            moved=torch.zeros(2, 7),
        )

    network = kind(GoalConditionedConfig(image=READOUT, hidden=16))
    with pytest.raises(Enough):
        train.train_goal_conditioned(
            network, batches(pairs), targets, TRAIN, tmp_path, "goal", "meta"
        )
    train.validate_goal_conditioned(network, lambda step: pairs(), targets, 2)
    assert set(read_back) == {"meta"}


def test_a_device_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match=r"no device 'cuda:7'.*auto, cpu"):
        device_named("cuda:7")


@pytest.mark.parametrize("energy", [0.0, 0.2746])
def test_a_model_that_does_not_listen_ranks_the_true_action_in_the_middle(energy):
    assert diagnostics.rank_among(energy, torch.full((100,), energy)) == 0.5


# -- an agent's whole step ------------------------------------------------------------------------


def planning(objective, single=False, calibration=None, deadline_s=None):
    """An agent whose models are on ``meta``."""
    config = AgentConfig(
        cem=CEMConfig(samples=20, iterations=2, elites=4, horizon=2, deadline_s=deadline_s),
        objective=objective,
    )
    encoder, predictor, readout = (
        module.to(META) for module in (Encoder(ENCODER), Predictor(PREDICTOR), Readout(READOUT))
    )
    parts = planning_parts(encoder, predictor, readout, config, calibration)
    if not single:
        return PlanningAgent(*parts)
    events = SubgoalPredictor(GoalConditionedConfig(image=READOUT, hidden=16)).to(META)
    return HierarchicalAgent(*parts, events, HierarchyConfig())


TURNED = Calibration(np.eye(3), np.zeros(3), np.eye(3), 12, 0.02, 0.01)


@pytest.mark.parametrize(
    "options",
    [
        {"objective": ObjectiveConfig()},
        {"objective": ObjectiveConfig(distance="l1")},
        {"objective": ObjectiveConfig(), "single": True},
        {"objective": ObjectiveConfig(), "calibration": TURNED},
        {"objective": ObjectiveConfig(), "single": True, "calibration": TURNED},
        {"objective": ObjectiveConfig(), "deadline_s": 5.0},
    ],
    ids=["planner", "tokens", "single goal", "calibrated", "single, calibrated", "deadline"],
)
def test_an_agent_plans_where_its_models_are(options, read_back):
    agent = planning(**options)
    images = np.zeros((3, 40, 32, 3), np.uint8)
    agent.reset(list(images[:2]), seed=0)
    state = np.array([0.5, 0, 0.2, 3.1, 0, 0, 0.0])
    for _ in range(3):
        decision = agent.act({"image": images[2], "state": state})
    assert decision.action.shape == (7,)
    assert set(read_back) == {"meta"}


def test_the_policy_that_does_not_plan_acts_where_its_models_are(read_back):
    readout, network = Readout(READOUT), InverseDynamics(
        GoalConditionedConfig(image=READOUT, hidden=16)
    )
    perception = Perception(Encoder(ENCODER).to(META), readout.to(META))
    agent = InverseDynamicsAgent(
        perception, GoalImages(perception, AgentConfig()), network.to(META), CEMConfig()
    )
    image = np.zeros((32, 32, 3), np.uint8)
    agent.reset([image], seed=0)
    assert agent.act({"image": image, "state": np.zeros(7)}).action.shape == (7,)
    assert set(read_back) == {"meta"}


def servo():
    perception = Perception(Encoder(ENCODER).to(META), Readout(READOUT).to(META))
    return ServoAgent(perception, CEMConfig())


def released():
    parts = released_parts(
        Encoder(ENCODER).to(META), Predictor(PREDICTOR).to(META),
        ReleasedConfig(samples=20, iterations=2, elites=4, horizon=2),
    )
    return PlanningAgent(*parts)


def latent():
    shape = LeWMConfig(32, 16, action_mean=(0.0,) * 7, action_std=(1.0,) * 7)
    config = AgentConfig(cem=CEMConfig(samples=20, iterations=2, elites=4, horizon=2))
    return PlanningAgent(*lewm_parts(LeWorldModel(shape).to(META).eval(), config))


@pytest.mark.parametrize("make", [servo, released, latent])
def test_the_other_agents_act_where_their_models_are(make, read_back, monkeypatch):
    generator, drawn = torch.Generator, torch.zeros  # there are no random numbers on meta
    monkeypatch.setattr(torch, "Generator", lambda device=None: generator())
    monkeypatch.setattr(
        torch, "randn", lambda *shape, generator=None, device=None: drawn(shape, device=device)
    )
    agent = make()
    images = np.zeros((3, 40, 32, 3), np.uint8)
    agent.reset(list(images[:2]), seed=0)
    for _ in range(2):
        decision = agent.act({"image": images[2], "state": np.zeros(7)})
    assert decision.action.shape == (7,)
    assert set(read_back) == {"meta"}


def test_a_model_in_python_imagines_where_it_is():
    parts = {"encoder": Encoder(ENCODER).to(META), "predictor": Predictor(PREDICTOR).to(META)}
    model = awm.Model(Models("meta", parts))
    found = model.imagine(np.zeros((40, 32, 3), np.uint8), np.zeros(7), np.zeros((3, 2, 7)))
    assert (found.latents.device, found.latents.shape) == (META, (3, 2, 4, 48))
    assert (found.states.device, found.states.shape) == (META, (3, 2, 7))


@pytest.mark.parametrize(("slow", "fast"), [
    (torch.float32, torch.bfloat16), (torch.bfloat16, torch.float32),
])
def test_the_precision_is_what_was_asked_for_or_what_the_processor_is_faster_in(
    monkeypatch, slow, fast
):
    measured = {slow: 2.0, fast: 1.0}
    monkeypatch.setattr(device, "seconds_of_product", measured.__getitem__)
    device.multiplies_faster_in_bf16.cache_clear()
    cpu = torch.device("cpu")
    assert computing_dtype(None, cpu) == fast
    device.multiplies_faster_in_bf16.cache_clear()
    assert computing_dtype(True, cpu) == torch.bfloat16
    assert computing_dtype(False, META) == torch.float32
    assert computing_dtype(None, META) == torch.bfloat16
