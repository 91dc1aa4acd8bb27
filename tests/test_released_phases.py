"""Cool-down and distillation in pre-training as published."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from arm_worldmodel.commands.pretrain import Settings
from configs.overrides import load
from tests.test_released_training import part, pictures
from worldmodel import train as training
from worldmodel.config import EncoderConfig, PublishedMaskedConfig, TrainConfig
from worldmodel.encoder import Encoder
from worldmodel.published_masked import PublishedPretraining, draw_masks
from worldmodel.run import TrainingError, learning_rate
from worldmodel.train import pretrain_published

DATA = Path(__file__).parent / "data"
SMALL = EncoderConfig(32, 24, 2, 2, patch_size=8)
NEWER = EncoderConfig(64, 12, 12, 1, architecture="vjepa2.1")
MASKED = PublishedMaskedConfig(
    frames=4, predictor_dim=24, predictor_depth=2, predictor_heads=2, momentum=0.9
)
TRAIN = TrainConfig(
    steps=4, batch_size=2, warmup_steps=0, schedule="wsd", learning_rate=1e-3, clip_norm=None,
    bf16=False, checkpoint_every=2,
)


def recipe(name):
    return load(Settings, ["data=x", "out=x", f"recipe={name}"])


def masks(vectors, *where):
    kinds = (".".join(map(str, ("visible", *where[:1], kind, *where[1:]))) for kind in range(2))
    return [(vectors[k], vectors[k.replace("visible", "hidden")]) for k in kinds if k in vectors]


def clips(number, frames=4, side=32):
    return torch.randint(
        0, 256, (2, frames, side, side, 3), generator=torch.Generator().manual_seed(number)
    ).float()


def same(a, b, atol=0.0):
    a, b = (x if isinstance(x, dict) else x.state_dict() for x in (a, b))
    assert a.keys() == b.keys()
    return all((a[k] - b[k]).abs().max() <= atol for k in a)


def fresh():
    """Generators that draw the same again."""
    return torch.Generator(), torch.Generator()


def seen_of(model):
    """Losses of a model from now on."""
    losses = []
    model.register_forward_hook(lambda module, given, result: losses.append(result[0].item()))
    return losses


# -- Cool-down --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "highest"), [("cooldown_released", 5.25e-4), ("cooldown_released_2_1", 6e-4)]
)
def test_the_learning_rate_of_the_cool_down_is_the_published_line(name, highest):
    given = recipe(name)
    assert (given.published.frames, given.train.warmup_steps) == (64, 0)
    for step in (1, 6000, 12000):  # LinearDecaySchedule, over ipe_scale = 1.25 times the steps
        expected = highest + step / 15000 * (1e-6 - highest)
        assert learning_rate(given.train, step - 1) == pytest.approx(expected, rel=1e-9)


def test_the_cool_down_as_released_makes_the_published_steps(monkeypatch, tmp_path):
    before = load_file(DATA / "released_training_masked.safetensors")
    cool = load_file(DATA / "released_cooldown.safetensors")
    first, then = recipe("pretrain_released"), recipe("cooldown_released")
    sizes = dict(predictor_dim=24, predictor_depth=2, predictor_heads=2)

    def run(given, model, vectors, steps, out, **more):
        queue = [pair for step in range(steps) for pair in masks(vectors, step)]
        monkeypatch.setattr(training, "draw_masks", lambda *_: queue.pop(0))
        monkeypatch.setattr(training, "PublishedPretraining", lambda *_: model)
        config = replace(given.train, steps=steps, accumulate=1, bf16=False, **more)
        return pretrain_published(
            model.student, lambda _: pictures(vectors["clips"]), given.published, config, out,
            "cpu", go_on_from=None if given is first else tmp_path / "a" / "pretrain_state.pt",
        )

    model = PublishedPretraining(Encoder(SMALL), replace(first.published, **sizes))
    model.student.load_state_dict(part(before, "encoder"))
    model.teacher.load_state_dict(part(before, "encoder"))
    model.predictor.load_state_dict(part(before, "predictor"))
    run(first, model, before, 6, tmp_path / "a", warmup_steps=2)
    model = PublishedPretraining(Encoder(SMALL), replace(then.published, **sizes))
    losses = seen_of(model)
    teacher = run(then, model, cool, 4, tmp_path / "b", decay_steps=4)
    np.testing.assert_allclose(losses, cool["figures"][:, 0], rtol=0, atol=1e-5)
    rates = [learning_rate(replace(then.train, steps=4, decay_steps=4), step) for step in range(4)]
    np.testing.assert_allclose(rates, cool["figures"][:, 1], rtol=1e-9)
    assert same(teacher, part(cool, "teacher"), 1e-5)


def test_a_run_that_goes_on_from_another_has_its_weights_and_moments(tmp_path):
    torch.manual_seed(0)
    start = Encoder(SMALL)

    def run(out, steps, number=0, state=None, **more):
        encoder = Encoder(SMALL)
        encoder.load_state_dict(start.state_dict())
        torch.manual_seed(1)  # of the predictor
        config = replace(TRAIN, steps=steps, **more)
        pretrain_published(
            encoder, lambda n: clips(n + number), MASKED, config, tmp_path / out, "cpu",
            go_on_from=state and tmp_path / state / "pretrain_state.pt",
        )
        return torch.load(tmp_path / out / "pretrain_state.pt", weights_only=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "draw_masks", lambda *given: draw_masks(*given[:6], *fresh()))
        whole, half = run("whole", 4), run("half", 2)
        rest = run("rest", 2, 2, "half")
        other = run("other", 2, 2, "half", betas=(0.5, 0.6), weight_decay=0.3)
    assert (half["step"], rest["step"], whole["step"]) == (2, 2, 4)
    assert same(rest["module"], whole["module"])
    assert not same(rest["module"], half["module"])
    assert not same(other["module"], rest["module"], 1e-7)  # by its own settings
    assert {g["betas"] for g in other["optimiser"]["param_groups"]} == {(0.5, 0.6)}
    wider = replace(MASKED, predictor_dim=36)
    with pytest.raises(TrainingError, match="give the sizes that it was trained with"):
        pretrain_published(
            Encoder(SMALL), clips, wider, TRAIN, tmp_path / "x", "cpu",
            go_on_from=tmp_path / "half" / "pretrain_state.pt",
        )


@pytest.mark.parametrize("shape", [SMALL, NEWER], ids=["vjepa2", "vjepa2.1"])
def test_activations_that_are_recomputed_give_the_same_gradients(shape):
    torch.manual_seed(0)
    model = PublishedPretraining(Encoder(shape), MASKED)
    video, grid = torch.randn(2, 3, 4, shape.image_size, shape.image_size), shape.grid
    drawn = [draw_masks(2, 2, grid, 2, (0.3, 0.3), (1, 1), *fresh())]
    found = []
    for again in (False, True):
        model.checkpoint_activations = again
        model.zero_grad()
        loss, _ = model(video, drawn, 0.5)
        loss.backward()
        found.append({k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None})
    assert same(*found, 1e-7)


def test_visible_tokens_count_alike_in_the_cool_down_of_2_1():
    assert not recipe("cooldown_released_2_1").published.visible_by_distance
    torch.manual_seed(0)
    encoder = Encoder(NEWER)
    video = torch.randn(2, 3, 4, 64, 64)
    drawn = [draw_masks(2, 2, 4, 1, (0.2, 0.2), (1, 1), *fresh())]
    shown = []
    for divided in (True, False):
        torch.manual_seed(1)
        model = PublishedPretraining(encoder, replace(MASKED, visible_by_distance=divided))
        shown.append(model(video, drawn, 0.5)[1]["visible"])
    assert shown[0] < 0.99 * shown[1]  # some are more than one token away


# -- Distillation -----------------------------------------------------------------------------


def test_the_distillation_makes_the_steps_of_the_published_networks(monkeypatch, tmp_path):
    vectors = load_file(DATA / "released_distillation.safetensors")
    given = recipe("distil_released_2_1")
    assert (given.published.predictor_depth, given.published.momentum) == (12, 0.99925)
    masked = replace(
        given.published, predictor_dim=12, predictor_depth=4, predictor_heads=1,
        visible_steps=(0, 0), visible_weight_image=0.5,
    )
    teacher = Encoder(replace(NEWER, embed_dim=24, num_heads=2))
    teacher.load_state_dict(part(vectors, "teacher"))
    model = PublishedPretraining(Encoder(NEWER), masked, teacher)
    model.student.load_state_dict(part(vectors, "encoder"))
    model.average.load_state_dict(part(vectors, "encoder"))
    model.predictor.load_state_dict(part(vectors, "predictor"))
    losses, gradients, step = seen_of(model), {}, model.update_teacher
    named = [*((f"encoder.{k}", p) for k, p in model.student.named_parameters()),
             *((f"predictor.{k}", p) for k, p in model.predictor.named_parameters())]

    def update(momentum):
        if not gradients:
            gradients.update({k: p.grad.clone() for k, p in named if p.grad is not None})
        step(momentum)

    model.update_teacher = update
    queue = [m for n in range(4) for kind in range(2) for m in masks(vectors, n, kind)]
    monkeypatch.setattr(training, "draw_masks", lambda *_: queue.pop(0))
    monkeypatch.setattr(training, "PublishedPretraining", lambda *_: model)
    config = replace(
        given.train, steps=4, accumulate=2, warmup_steps=0, learning_rate=6e-4, bf16=False
    )
    batches = [pictures(vectors[f"clips.{kind}"].float()) for kind in range(2)]
    average = pretrain_published(
        model.student, lambda n: batches[n % 2], masked, config, tmp_path, "cpu", teacher=teacher
    )
    assert not queue
    np.testing.assert_allclose(losses, vectors["figures"], rtol=0, atol=1e-5)
    assert same(gradients, part(vectors, "gradient"), 1e-5)
    assert same(teacher, part(vectors, "teacher"))
    assert average is model.average
    assert not same(average, model.student)


def test_a_distillation_that_was_ended_goes_on_as_if_it_had_not(tmp_path):
    torch.manual_seed(0)
    teacher, start = Encoder(replace(SMALL, embed_dim=48, num_heads=4)), Encoder(SMALL)

    def run(out, steps):
        encoder = Encoder(SMALL)
        encoder.load_state_dict(start.state_dict())
        torch.manual_seed(1)
        return pretrain_published(
            encoder, clips, MASKED, replace(TRAIN, steps=steps), tmp_path / out, "cpu",
            teacher=teacher,
        )

    whole = run("whole", 4)
    run("ended", 2)
    assert same(run("ended", 4), whole)
    assert not same(whole, start)
    state = torch.load(tmp_path / "whole" / "pretrain_state.pt", weights_only=True)
    parts = {key.split(".")[0] for key in state["module"]}
    assert parts == {"student", "average", "predictor"}  # the teacher is in its own file


@pytest.mark.parametrize(
    "other", [dict(architecture="vjepa2.1"), dict(patch_size=16), dict(tubelet_size=4)]
)
def test_a_teacher_whose_tokens_are_others_is_refused(other):
    (name, value), = other.items()
    with pytest.raises(ValueError, match=f"the teacher has {name}={value}"):
        PublishedPretraining(Encoder(SMALL), MASKED, Encoder(replace(SMALL, depth=4, **other)))
