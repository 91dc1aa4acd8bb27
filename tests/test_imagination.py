"""The planner's engine computes what the plain rollout computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from arm_worldmodel.parity import load_golden
from worldmodel.config import PREDICTORS, PredictorConfig
from worldmodel.encoder import normalise_tokens
from worldmodel.imagination import Imagination
from worldmodel.predictor import Predictor
from worldmodel.rollout import rollout

TINY = PredictorConfig(64, 16, 24, 48, 3, 4, max_steps=5)


def make(config=TINY, seed=0):
    torch.manual_seed(seed)
    predictor = Predictor(config).eval()
    with torch.no_grad():  # far enough from the initial values that every part shows
        for p in predictor.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return predictor


def inputs(config, samples, context, horizon, seed=1):
    g = torch.Generator().manual_seed(seed)
    tokens = normalise_tokens(
        torch.randn(context, config.grid**2, config.embed_dim, generator=g)
    )
    states = 0.3 * torch.randn(context, 7, generator=g)
    known = 0.05 * torch.randn(context - 1, 7, generator=g)
    future = 0.05 * torch.randn(samples, horizon, 7, generator=g)
    return tokens, states, known, future


def plain(predictor, tokens, states, known, future, extrinsics=None):
    count, horizon = future.shape[:2]
    actions = torch.cat([known.expand(count, -1, -1), future], 1)
    outside = None
    if extrinsics is not None:
        outside = torch.cat([extrinsics, extrinsics[-1:].expand(horizon - 1, -1)])
        outside = outside.expand(count, -1, -1)
    with torch.inference_mode():
        imagined, _ = rollout(
            predictor, tokens.expand(count, -1, -1, -1), states.expand(count, -1, -1), actions,
            outside,
        )
    return imagined[:, -1]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("context", "horizon"), [(1, 1), (1, 2), (1, 4), (3, 1), (2, 3)])
def test_the_engine_agrees_with_the_plain_rollout(context, horizon, residual):
    config = replace(TINY, residual=residual, action_scale=20.0, state_scale=2.0)
    predictor = make(config)
    tokens, states, known, future = inputs(config, 5, context, horizon)
    engine = Imagination(predictor)
    found = engine.imagine(engine.context(tokens, states, known), future)
    expected = plain(predictor, tokens, states, known, future)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_the_engine_agrees_with_extrinsics():
    config = replace(TINY, use_extrinsics=True)
    predictor = make(config)
    tokens, states, known, future = inputs(config, 3, 2, 2)
    extrinsics = torch.randn(2, 6)
    engine = Imagination(predictor)
    found = engine.imagine(engine.context(tokens, states, known, extrinsics), future)
    expected = plain(predictor, tokens, states, known, future, extrinsics)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)
    with pytest.raises(ValueError, match="extrinsics"):
        engine.context(tokens, states, known)


def test_the_engine_agrees_with_the_released_code(golden):
    _, predictor, given = load_golden(golden[0])
    engine = Imagination(predictor)
    expected = given["rollout_tokens"]
    for row in range(len(expected)):
        tokens, states = given["frame_tokens_normalized"][row, :1], given["states"][row, :1]
        context = engine.context(tokens, states)
        found = engine.imagine(context, given["actions"][row : row + 1])
        assert (found[0] - expected[row, -1]).abs().max() <= 1e-4


def test_chunks_do_not_change_the_answer_and_fit_the_budget():
    predictor = make()
    tokens, states, known, future = inputs(TINY, 13, 2, 2)
    whole, small = Imagination(predictor), Imagination(predictor, memory_mb=0.5)
    assert whole.chunk(13, 3) == 13
    size = small.chunk(13, 3)
    assert 1 <= size < 13
    assert size * small.sample_bytes(3) <= 0.5 * 2**20
    args = tokens, states, known
    torch.testing.assert_close(
        small.imagine(small.context(*args), future), whole.imagine(whole.context(*args), future),
        atol=2e-6, rtol=0,
    )
    with pytest.raises(ValueError, match=r"one sample takes .* MiB"):
        Imagination(predictor, memory_mb=0.001).imagine(whole.context(*args), future)


def test_scores_are_those_of_the_imagined_frames():
    predictor = make()
    tokens, states, _, future = inputs(TINY, 7, 1, 2)
    engine = Imagination(predictor, memory_mb=0.5)
    context = engine.context(tokens, states)
    scores = engine.score(context, future, lambda z: z.square().mean((1, 2)) + z[:, 0, 0])
    imagined = engine.imagine(context, future)
    torch.testing.assert_close(scores, imagined.square().mean((1, 2)) + imagined[:, 0, 0])


def test_bfloat16_is_as_near_to_float32_as_the_plain_way():
    config = replace(PREDICTORS["ac_tiny"], depth=3)
    predictor = make(config)
    half = make(config).bfloat16()
    tokens, states, known, future = inputs(config, 8, 1, 2)
    exact = plain(predictor, tokens, states, known, future)
    rough = plain(half, tokens.bfloat16(), states, known, future).float()
    engine = Imagination(half)
    found = engine.imagine(engine.context(tokens, states), future).float()
    allowed = 1.3 * (rough - exact).abs().mean() + 1e-3
    assert (found - exact).abs().mean() < allowed


def test_too_many_frames_and_missing_actions_are_refused():
    predictor = make()
    tokens, states, known, future = inputs(TINY, 2, 3, 3)
    engine = Imagination(predictor)
    with pytest.raises(ValueError, match="8 frames; this predictor takes 5"):
        engine.imagine(engine.context(tokens, states, known), torch.cat([future, future], 1))
    with pytest.raises(ValueError, match="2 actions; got 3 and 0"):
        engine.context(tokens, states)
    with pytest.raises(ValueError, match="memory_mb"):
        Imagination(predictor, memory_mb=0)
    assert np.isfinite(engine.sample_bytes(3))
