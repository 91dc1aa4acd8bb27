import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worldmodel.config import EncoderConfig, ReadoutConfig
from worldmodel.encoder import Encoder
from worldmodel.readout import Readout, decode, read_views, shifted


@given(st.integers(1, 7), st.integers(0, 2**16))
def test_views_are_the_picture_moved_both_ways_along_both_axes(shift, seed):
    images = torch.randint(
        0, 256, (2, 24, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    views = shifted(images, shift)
    assert len(views) == 9
    assert {v.shape for v in views} == {images.shape}
    assert {v.dtype for v in views} == {torch.uint8}
    assert torch.equal(views[4], images)
    inner = images[:, shift:-shift, shift:-shift]
    height, width = inner.shape[1:3]
    for number, view in enumerate(views):
        y, x = 2 * shift - number // 3 * shift, 2 * shift - number % 3 * shift
        assert torch.equal(view[:, y : y + height, x : x + width], inner)
    top = images[:, :1, :-shift].expand(-1, shift, -1, -1)  # repeated
    assert torch.equal(views[0][:, :shift, shift:], top)


@pytest.fixture(scope="module")
def eyes():
    torch.manual_seed(0)
    config = EncoderConfig(image_size=32, embed_dim=24, depth=1, num_heads=2)
    return Encoder(config).eval(), Readout(ReadoutConfig(24, 4, 16, 1, 2, 2)).eval()


def test_without_a_shift_what_is_read_is_the_readouts(eyes):
    encoder, readout = eyes
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        outputs, features = read_views(encoder, readout, images, 0)
        assert torch.equal(decode(outputs[0]), readout.state(encoder.encode_frames(images)))
        assert features.shape == (1, 3, 2 * 16)


def test_every_shift_is_read_by_itself(eyes):
    encoder, readout = eyes
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        outputs, features = read_views(encoder, readout, images, 4)
        each = [read_views(encoder, readout, view, 0)[1][0] for view in shifted(images, 4)]
        torch.testing.assert_close(features, torch.stack(each))
        torch.testing.assert_close(outputs.mean(0), readout.head(features.mean(0)))
    closedness = decode(outputs.mean(0))[:, 6]
    assert (closedness > 0).all()
    assert (closedness < 1).all()
