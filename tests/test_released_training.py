"""The recipes of the published training code do what that code does, number by number."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from arm_worldmodel.clips import CroppedClips
from arm_worldmodel.commands import pretrain, train
from arm_worldmodel.encoding import wide
from configs.overrides import load
from robot_data.episodes import EpisodeStore
from robot_data.schema import Episode
from worldmodel import train as training
from worldmodel.config import (
    EncoderConfig,
    PredictorConfig,
    PublishedMaskedConfig,
    TrainConfig,
)
from worldmodel.crops import WIDE, Crop, draw_box, resized
from worldmodel.encoder import IMAGE_MEAN, IMAGE_STD, Encoder, normalise_images
from worldmodel.losses import PostTraining, Window
from worldmodel.predictor import Predictor
from worldmodel.published_masked import PublishedPretraining, draw_masks
from worldmodel.run import TrainingError
from worldmodel.train import post_train, pretrain_published

DATA = Path(__file__).parent / "data"
SMALL = {"steps": 12, "warmup_steps": 3, "decay_steps": 4, "accumulate": 1, "batch_size": 2,
         "bf16": False, "checkpoint_every": 12}


def part(vectors, name):
    return {k.removeprefix(f"{name}."): v for k, v in vectors.items() if k.startswith(f"{name}.")}


class Watched:
    """What the optimiser and the losses of a training were in each step."""

    def __init__(self, model, named):
        self.figures, self.rates, self.decays, self.gradients, self.first = [], [], [], {}, {}
        self.named = named
        self.hooks = [
            model.register_forward_hook(self.loss), register_optimizer_step_pre_hook(self.before),
            register_optimizer_step_post_hook(self.after),
        ]

    def loss(self, module, given, result):
        self.figures.append([result[0].item(), *(v.item() for v in result[1].values())])

    def before(self, optimiser, *_):
        if not self.rates:
            self.gradients = {k: p.grad.clone() for k, p in self.named if p.grad is not None}

    def after(self, optimiser, *_):
        self.rates.append(optimiser.param_groups[0]["lr"])
        self.decays.append([group["weight_decay"] for group in optimiser.param_groups])
        if len(self.rates) == 1:
            self.first = {k: p.detach().clone() for k, p in self.named}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for hook in self.hooks:
            hook.remove()


def assert_equal(ours, theirs, atol):
    assert len(theirs) > 10
    for name, value in theirs.items():
        far = (ours[name] - value).abs().max().item()
        assert far <= atol, f"{name}: {far}"


def assert_first_step_equal(ours, theirs, gradients):
    """AdamW's first step divides a gradient by itself: where it is rounding alone, so is the
    step."""
    clear = 0
    for name, value in theirs.items():
        known = gradients[name].abs() > 1e-6 if name in gradients else torch.ones_like(value) > 0
        far = ((ours[name] - value) * known).abs().max().item()
        assert far <= 1e-5, f"{name}: {far}"
        clear += int(known.sum())
    assert clear > 0.99 * sum(value.numel() for value in theirs.values())


@pytest.fixture(scope="module")
def published():
    return load_file(DATA / "released_training_ac.safetensors")


def test_the_crop_of_the_post_training_is_the_published_one(published):
    ours = normalise_images(wide(published["images"][0].numpy(), 24)).transpose(0, 1)
    torch.testing.assert_close(ours, published["crops"], rtol=0, atol=1e-5)


def test_post_training_as_released_makes_the_published_steps(published, tmp_path):
    given = load(train.Settings, ["data=x", "out=x", "recipe=predictor_released"])
    losses = given.losses
    assert (given.crop, given.window, given.strides) == ("wide", 8, (4,))
    sizes = dict(image_size=24, patch_size=8, embed_dim=24, depth=2, num_heads=2)
    encoder = Encoder(EncoderConfig(**sizes))
    encoder.load_state_dict(part(published, "encoder"))
    predictor = Predictor(replace(given.predictor, **sizes, predictor_dim=24))
    predictor.load_state_dict(part(published, "predictor"))
    crops = torch.stack([wide(window.numpy(), 24) for window in published["images"]])
    with torch.no_grad():
        tokens = encoder.encode_frames(normalise_images(crops))
    window = Window(tokens, published["actions"], published["states"])
    assert not losses.recovery_weight  # no readout is needed
    model = PostTraining(
        predictor, losses.rollout_steps, teacher_forcing=losses.teacher_forcing,
    )
    with Watched(model, list(predictor.named_parameters())) as seen:
        post_train(model, lambda step: window, replace(given.train, **SMALL), tmp_path, "cpu")

    figures = published["figures"]
    np.testing.assert_allclose(seen.figures, figures[:, :3], rtol=0, atol=1e-5)
    np.testing.assert_allclose(seen.rates, figures[:, 3], rtol=1e-12, atol=1e-18)
    np.testing.assert_array_equal(seen.decays, published["weight_decays"][:, 1::2])
    assert_equal(seen.gradients, part(published, "gradient.predictor"), 1e-5)
    assert_first_step_equal(seen.first, part(published, "first.predictor"), seen.gradients)
    assert_equal(predictor.state_dict(), part(published, "last.predictor"), 1e-4)


def recorded_masks(vectors, step):
    return [(vectors[f"visible.{step}.{kind}"], vectors[f"hidden.{step}.{kind}"])
            for kind in range(2)]


def pictures(clips):
    """Normalised clips [B, 3, T, H, W] -> [B, T, H, W, 3] in 0..255."""
    mean, std = torch.tensor(IMAGE_MEAN), torch.tensor(IMAGE_STD)
    return 255 * (clips.movedim(1, -1) * std + mean)


@pytest.fixture(scope="module")
def published_masked():
    return load_file(DATA / "released_training_masked.safetensors")


def test_masks_are_drawn_as_the_published_code_draws_them(published_masked):
    given = load(pretrain.Settings, ["data=x", "out=x", "recipe=pretrain_released"]).published
    places = torch.Generator().manual_seed(3)
    for step in range(6):
        for kind, expected in enumerate(recorded_masks(published_masked, step)):
            ours = draw_masks(
                2, 2, 4, given.blocks[kind], given.areas[kind], given.block_aspect,
                torch.Generator().manual_seed(step), places,
            )
            assert torch.equal(ours[0], expected[0])
            assert torch.equal(ours[1], expected[1])


def masked_steps(vectors, given, encoder, predictor, batches, monkeypatch, out):
    """Our steps, by the settings of a recipe, on the weights of the vectors and on ``batches`` of
    clips and masks: what was seen of them, and the teacher."""
    depth, heads = predictor
    masked = replace(
        given.published, predictor_dim=encoder.embed_dim, predictor_depth=depth,
        predictor_heads=heads, visible_steps=(0, 0),
    )
    model = PublishedPretraining(Encoder(encoder), masked)
    model.student.load_state_dict(part(vectors, "encoder"))
    model.teacher.load_state_dict(part(vectors, "encoder"))
    model.predictor.load_state_dict(part(vectors, "predictor"))
    queue = [pair for _, masks in batches for pair in masks]
    monkeypatch.setattr(training, "draw_masks", lambda *_: queue.pop(0))
    monkeypatch.setattr(training, "PublishedPretraining", lambda *_: model)
    config = replace(given.train, steps=6, warmup_steps=2, accumulate=len(batches) // 6, bf16=False)
    named = [*((f"encoder.{k}", p) for k, p in model.student.named_parameters()),
             *((f"predictor.{k}", p) for k, p in model.predictor.named_parameters())]
    with Watched(model, named) as seen:
        teacher = pretrain_published(
            model.student, lambda number: batches[number][0], masked, config, out, "cpu"
        )
    assert not queue
    return seen, teacher


def assert_masked_steps(vectors, figures, seen, teacher):
    """``figures``: published losses, learning rates and weight decays of every batch."""
    every = len(figures) // 6
    np.testing.assert_allclose([f[0] for f in seen.figures], figures[:, 0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(seen.rates, figures[::every, 1], rtol=1e-12)
    np.testing.assert_array_equal(seen.decays, vectors["weight_decays"][:, 1:3])
    assert_equal(seen.gradients, part(vectors, "gradient"), 1e-5)
    assert_first_step_equal(seen.first, part(vectors, "first"), seen.gradients)
    assert_equal(teacher.state_dict(), part(vectors, "teacher"), 1e-5)


def test_pre_training_as_released_makes_the_published_steps(
    published_masked, monkeypatch, tmp_path
):
    given = load(pretrain.Settings, ["data=x", "out=x", "recipe=pretrain_released"])
    clips = pictures(published_masked["clips"])
    batches = [(clips, recorded_masks(published_masked, step)) for step in range(6)]
    seen, teacher = masked_steps(
        published_masked, given, EncoderConfig(32, 24, 2, 2, patch_size=8), (2, 2), batches,
        monkeypatch, tmp_path,
    )
    assert_masked_steps(published_masked, published_masked["figures"], seen, teacher)


@pytest.fixture(scope="module")
def published_dense():
    return load_file(DATA / "released_training_dense.safetensors")


def recorded_batches(vectors):
    """Single frames and clips in turn, with their masks."""
    return [
        (pictures(vectors[f"clips.{process}"].float()),
         [(vectors[f"visible.{step}.{kind}.{process}"], vectors[f"hidden.{step}.{kind}.{process}"])
          for kind in range(1 + process)])
        for step in range(6) for process in range(2)
    ]


def test_pre_training_of_2_1_as_released_makes_the_published_steps(
    published_dense, monkeypatch, tmp_path
):
    given = load(pretrain.Settings, ["data=x", "out=x", "recipe=pretrain_released_2_1"])
    seen, teacher = masked_steps(
        published_dense, given, EncoderConfig(64, 12, 12, 1, architecture="vjepa2.1"), (4, 1),
        recorded_batches(published_dense), monkeypatch, tmp_path,
    )
    figures = torch.stack([published_dense["figures.0"], published_dense["figures.1"]], dim=1)
    assert_masked_steps(published_dense, figures.flatten(0, 1), seen, teacher)


def test_masks_of_single_frames_are_the_published_ones(published_dense):
    given = load(pretrain.Settings, ["data=x", "out=x", "recipe=pretrain_released_2_1"]).published
    places = torch.Generator().manual_seed(3)
    for step in range(6):
        ((blocks, area),) = given.masks(image=True)
        sizes = torch.Generator().manual_seed(step)
        ours = draw_masks(2, 1, 4, blocks, area, given.block_aspect, sizes, places)
        for name, mask in zip(("visible", "hidden"), ours, strict=True):
            assert torch.equal(mask, published_dense[f"{name}.{step}.0.0"])


def test_a_box_is_drawn_as_asked_for_and_the_centre_is_taken_where_none_fits():
    rng = np.random.default_rng(0)
    crop = Crop((0.3, 1.0), (0.75, 1.35))
    boxes = [draw_box(180, 320, crop, rng) for _ in range(200)]
    for top, left, h, w in boxes:
        assert 0 <= top <= 180 - h
        assert 0 <= left <= 320 - w
        assert 0.74 < w / h < 1.36
    assert len(set(boxes)) > 100
    assert draw_box(180, 320, WIDE, rng) == (0, 38, 180, 243)
    assert draw_box(320, 180, WIDE, rng) == (40, 0, 240, 180)
    assert draw_box(96, 96, WIDE, rng) == (0, 0, 96, 96)
    picture = torch.arange(16, dtype=torch.uint8).reshape(1, 4, 4, 1).expand(-1, -1, -1, 3)
    assert torch.equal(resized(picture, (1, 2, 2, 2), 2)[0, ..., 0], torch.tensor([[6.0, 7.0],
                                                                                  [10.0, 11.0]]))


def test_a_schedule_longer_than_the_training_is_refused():
    with pytest.raises(ValueError, match="raise steps"):
        TrainConfig(steps=10, warmup_steps=6, schedule="wsd", decay_steps=5)


def test_the_predictor_of_the_recipe_is_the_released_one():
    from worldmodel.config import PREDICTORS

    given = load(train.Settings, ["data=x", "out=x", "recipe=predictor_released"]).predictor
    fitted = replace(given, image_size=256, embed_dim=1408)
    assert fitted == PREDICTORS["vjepa2_ac"] == PredictorConfig(256, 16, 1408, 1024, 24, 16,
                                                                max_steps=32)


def test_what_cannot_be_pre_trained_on_is_refused(tmp_path):
    given = load(pretrain.Settings, ["data=x", "out=x", "recipe=pretrain_released_2_1"])
    encoder = Encoder(EncoderConfig(32, 12, 4, 1, architecture="vjepa2.1"))
    with pytest.raises(TrainingError, match="an even"):
        pretrain_published(
            encoder, lambda number: torch.zeros(1), given.published,
            replace(given.train, accumulate=3), tmp_path,
        )
    with pytest.raises(ValueError, match="0 x 0 of 2 x 2 tokens"):
        draw_masks(2, 1, 2, 8, (0.15, 0.15), (0.75, 1.5), torch.Generator(), torch.Generator())
    with pytest.raises(ValueError, match="as many"):
        PublishedMaskedConfig(blocks=(8, 2, 1))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Pictures with a darker left half, brighter from frame to frame."""
    store = EpisodeStore(tmp_path_factory.mktemp("clips"))
    images = np.zeros((9, 48, 64, 3), np.uint8) + 20 * np.arange(1, 10)[:, None, None, None]
    images[:, :, :32] -= 15
    images = images.astype(np.uint8)
    store.write("e", Episode(images, np.zeros((9, 7)), np.zeros((9, 7)), np.zeros(9)))
    return store


@pytest.mark.parametrize(
    ("architecture", "frames", "number", "shape"),
    [
        ("vjepa2", 4, 0, (3, 4, 32, 32, 3)),
        ("vjepa2", 1, 0, (3, 2, 32, 32, 3)),
        ("vjepa2.1", 4, 0, (5, 1, 32, 32, 3)),
        ("vjepa2.1", 4, 1, (3, 4, 32, 32, 3)),
    ],
)
def test_clips_are_cropped_and_mirrored_and_the_same_for_the_same_number(
    store, architecture, frames, number, shape
):
    masked = PublishedMaskedConfig(frames=frames, stride=2, image_batch_size=5)
    shape_of = EncoderConfig(32, 24, 4, 2, architecture=architecture)
    feed = CroppedClips(store, 3, 0, masked, shape_of)
    clips = feed(number)
    assert clips.shape == shape
    assert torch.equal(clips, feed(number))
    assert not torch.equal(clips, feed(number + 2))
    assert len({tuple(clip[0, 0, :, 0].tolist()) for clip in clips}) > 1  # a crop for each
    if frames > 1 and shape[1] > 1:
        bright = clips.amax((2, 3, 4))
        assert torch.allclose(bright.diff(dim=1), torch.tensor(40.0))  # every second frame
    rises = [(c[0, 0, -1, 0] - c[0, 0, 0, 0]).sign().item() for n in range(20)
             for c in feed(2 * n)]
    assert min(rises.count(1.0), rises.count(-1.0)) > 10  # some are mirrored
