"""Pictures of latents: the decoder learns them, and a missing one is named, never guessed."""

import numpy as np
import pytest
import torch

import arm_worldmodel as awm
from arm_worldmodel.batches import PictureBatches
from arm_worldmodel.imagining import Painter, painter_of, roll_out, step_painter, telling_start
from arm_worldmodel.model import Model
from planners.agent import PlanningAgent
from planners.baselines import RandomAgent
from planners.config import AgentConfig, CEMConfig
from planners.load import planning_parts
from robot_data.episodes import EpisodeStore
from robot_data.latents import LatentCache
from robot_data.loop import Step
from robot_data.schema import DataError, Episode
from worldmodel.config import (
    DecoderConfig,
    EncoderConfig,
    PredictorConfig,
    ReadoutConfig,
    TrainConfig,
)
from worldmodel.decoder import MOVING_WEIGHT, Decoder, decoder_loss
from worldmodel.encoder import Encoder
from worldmodel.models import MissingPart, Models
from worldmodel.predictor import Predictor
from worldmodel.readout import Readout
from worldmodel.train import train_decoder, validate_decoder

ENCODER = EncoderConfig(32, 48, 2, 4)
DECODER = DecoderConfig(32, 16, 48, 32, 1, 4, channels=16)
STATE = np.array([0.5, 0.0, 0.2, 3.1, 0.0, 0.0, 0.0])


def squares(count, seed):
    """Gray images with a white square of 8 pixels somewhere, uint8 [T, 32, 32, 3]."""
    rng = np.random.default_rng(seed)
    images = np.full((count, 32, 32, 3), 100, np.uint8)
    for image in images:
        y, x = rng.integers(0, 24, 2)
        image[y : y + 8, x : x + 8] = 255
    return images


def episode(seed, frames=12):
    states = np.tile(STATE, (frames, 1))
    states[:, 0] += 0.01 * np.arange(frames)
    return Episode(
        images=squares(frames, seed), states=states, actions=np.zeros((frames, 7)),
        commanded_closedness=np.zeros(frames),
    )


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    return {
        "encoder": Encoder(ENCODER).eval(), "decoder": Decoder(DECODER).eval(),
        "predictor": Predictor(PredictorConfig(32, 16, 48, 48, 2, 4)).eval(),
        "readout": Readout(ReadoutConfig(48, 4, 32, 1, 4, 2, object=True)).eval(),
    }


@pytest.fixture
def cache(tmp_path, parts):
    store = EpisodeStore(tmp_path / "store")
    for seed in range(6):
        store.write(f"e{seed}", episode(seed))
    latents = LatentCache(store, "hash")

    @torch.no_grad()
    def encode(images):
        return parts["encoder"].encode_frames(torch.from_numpy(images)).half().numpy()

    assert len(list(latents.fill(encode))) == 6
    return latents


def test_a_batch_pairs_latents_with_their_images_and_is_the_same_for_the_same_step(cache, parts):
    feed = PictureBatches(cache, 8, 0, 32)
    tokens, images, moving = feed(3)
    assert (tokens.shape, images.shape, moving.shape) == ((8, 4, 48), (8, 32, 32, 3), (8, 32, 32))
    with torch.no_grad():
        torch.testing.assert_close(
            parts["encoder"].encode_frames(images), tokens.float(), atol=0.01, rtol=0
        )
    for one, other in zip(feed(3), (tokens, images, moving), strict=True):
        assert torch.equal(one, other)
    assert moving[0][images[0, ..., 0] == 255].mean() > 0.3  # the square
    assert moving[0][images[0, ..., 0] == 100].mean() < 0.1
    fitted = PictureBatches(cache, 8, 0, 16)(0)[1]  # as for the encoder
    assert fitted.shape == (8, 16, 16, 3)


def test_the_decoder_learns_where_a_small_thing_is(cache, parts, tmp_path):
    torch.manual_seed(0)
    decoder = Decoder(DECODER)
    feed = PictureBatches(cache, 16, 0, 32)
    before = validate_decoder(decoder, feed, 2)
    train_decoder(
        decoder, feed, TrainConfig(steps=200, batch_size=16, learning_rate=3e-3, warmup_steps=5,
                                   bf16=False), tmp_path / "out",
    )
    after = validate_decoder(decoder, feed, 2)
    assert after["weighted_error"] < 0.5 * before["weighted_error"]
    tokens, images, _ = feed(1000)
    with torch.no_grad():
        painted = decoder.images(tokens.float()).float()
    inside = images[..., 0] == 255
    assert painted[inside].mean() > painted[~inside].mean() + 60


def test_pixels_that_move_count_more():
    images, painted = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    painted[..., 0, 0] = 1.0
    still, moving = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2)
    moving[:, 0, 0] = 1.0
    assert decoder_loss(painted, images, still) == pytest.approx(0.25)
    weight = 1 + MOVING_WEIGHT
    assert decoder_loss(painted, images, moving).item() == pytest.approx(weight / (weight + 3))


def test_a_patch_that_cells_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="patch_size 14 must be a multiple of 4"):
        Decoder(DecoderConfig(28, 14, 48, 32, 1, 4))


def test_the_model_decodes_latents_of_any_leading_shape(parts, tmp_path):
    model = Model(Models("here", parts))
    latents = model.encode(list(squares(3, 0)))
    pictures = model.decode(latents)
    assert (pictures.shape, pictures.dtype) == ((3, 32, 32, 3), np.uint8)
    future = model.imagine(squares(1, 0)[0], STATE, np.zeros((20, 2, 7)))
    many = model.decode(future.latents)
    assert many.shape == (20, 2, 32, 32, 3)
    np.testing.assert_array_equal(many[7, 1], model.decode(future.latents[7, 1:])[0])
    assert model.decode(latents[0]).shape == (32, 32, 3)
    with pytest.raises(DataError, match=r"\[3, 4, 47\]; expected \[\.\.\., 4, 48\]"):
        model.decode(latents[..., :47])
    model.save(tmp_path)
    again = awm.load(tmp_path, device="cpu")
    assert np.abs(again.decode(latents).astype(int) - pictures).max() <= 1  # half precision


def test_without_a_decoder_the_command_that_trains_one_is_named(parts, tmp_path, capsys):
    bare = {name: part for name, part in parts.items() if name != "decoder"}
    model = Model(Models("bare", bare))
    told = r"no decoder weights.*worldmodel train checkpoint=\S+ parts=\[decoder\]"
    with pytest.raises(MissingPart, match=told):
        model.decode(torch.zeros(1, 4, 48))
    model.save(tmp_path)
    assert painter_of(parts["predictor"], str(tmp_path)) is None
    said = capsys.readouterr().err
    assert "no pictures of what is imagined" in said
    assert "parts=[decoder]" in said


def test_a_roll_out_shows_what_was_recorded_decoded_and_imagined(cache, parts):
    painter = Painter(parts["predictor"], parts["decoder"])
    chosen = cache.episodes()[2]
    rolled = roll_out(painter, cache.store, chosen, start=4, horizon=3)
    np.testing.assert_array_equal(rolled.recorded, cache.store.read(chosen.name).images[4:8])
    latents = torch.from_numpy(np.array(chosen.latents[4:8])).float()
    np.testing.assert_array_equal(rolled.decoded, painter.paint(latents))
    for imagined in (rolled.imagined, rolled.reversed):
        np.testing.assert_array_equal(imagined[0], rolled.decoded[0])  # the same first frame
    future = Model(Models("", parts)).imagine(
        latents[:1], chosen.states[4], np.tile([0.01, 0, 0, 0, 0, 0, 0], (3, 1))
    )
    expected = painter.paint(future.latents)
    assert np.abs(rolled.imagined[1:].astype(int) - expected).max() <= 1
    assert (rolled.reversed[1:] != rolled.imagined[1:]).any()
    with pytest.raises(ValueError, match=r"horizon=9 from frame 4 of e2; 1 to 7 fit"):
        roll_out(painter, cache.store, chosen, start=4, horizon=9)


def test_roll_outs_begin_where_something_is_carried_far(cache):
    found = cache.episodes()[0]
    states, told = found.states.copy(), found.commanded_closedness.copy()
    states[8, 1] += 0.3  # the longest way, with an empty hand
    assert telling_start(type(found)("a", found.latents, states, told, states[:, :3]), 2) == 6
    states[1:5, 6], told[1:5] = 0.5, 1.0  # fingers stopped by an object
    assert telling_start(type(found)("a", found.latents, states, told, states[:, :3]), 2) in (1, 2)


def test_an_agents_step_is_imagined_for_the_action_taken_and_a_rejected_one(parts, tmp_path):
    Models("", parts).save(tmp_path)
    config = AgentConfig(cem=CEMConfig(samples=8, iterations=2, elites=3))
    made = planning_parts(parts["encoder"], parts["predictor"], parts["readout"], config)
    agent, images = PlanningAgent(*made), squares(3, 0)
    agent.reset([images[2]], seed=0)
    seen = {"image": images[0], "state": STATE}
    step = Step(0, seen, agent.act(seen), {"image": images[1], "state": STATE}, {})
    imagine = step_painter(agent, str(tmp_path))
    shown = imagine(step)
    assert set(shown) == {"chosen", "rejected"}
    assert shown["chosen"].shape == (32, 32, 3)
    model = Model(Models("", parts))
    for name, action in (("chosen", step.decision.action),
                         ("rejected", step.decision.candidates.rejected[0])):
        expected = model.decode(model.imagine(images[0], STATE, action[None]).latents)[0]
        assert np.abs(shown[name].astype(int) - expected).max() <= 6, name  # bfloat16
    assert imagine(step) is shown  # film and rerun file share one imagining
    assert step_painter(RandomAgent(config.cem), str(tmp_path)) is None


def test_a_run_films_what_its_agent_imagined(parts):
    model = Model(Models("here", parts))
    agent = awm.Agent(model, planner=CEMConfig(samples=8, iterations=1, elites=3), distance="l1")
    env = awm.make("reach", image_size=32, max_episode_steps=2)
    result = awm.run(env, agent, episodes=1, imagine=agent.pictures)
    (trace,) = result.traces
    assert [set(shown) for shown in trace.imagined] == [{"chosen", "rejected"}] * 2
    bare = awm.Agent(
        Model(Models("here", {k: v for k, v in parts.items() if k != "decoder"})),
        planner=CEMConfig(samples=8, iterations=1, elites=3), distance="l1",
    )
    with pytest.raises(MissingPart, match="no decoder weights"):
        awm.run(env, bare, episodes=1, imagine=bare.pictures)
    env.close()
