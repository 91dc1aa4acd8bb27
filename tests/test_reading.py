import torch
from hypothesis import given
from hypothesis import strategies as st

from worldmodel.adaptation import LabelledFrames, adapted, shifted
from worldmodel.config import ReadoutConfig
from worldmodel.readout import Readout, object_place

WIDTH, TOKENS = 12, 4


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


def frames(count, seed, code):
    """Frames whose tokens show hand and object by a linear ``code`` [WIDTH - 2, 6], and a cell."""
    draw = torch.Generator().manual_seed(seed)
    hand = torch.rand(count, 3, generator=draw) * 0.2 + torch.tensor([0.4, -0.1, 0.05])
    place = torch.rand(count, 3, generator=draw) * 0.2 + torch.tensor([0.4, -0.1, 0.05])
    shown = (torch.cat([hand, place], 1) - 0.3) * 5 @ code.T
    tokens = torch.cat([shown[:, None].expand(-1, TOKENS, -1), torch.zeros(count, TOKENS, 2)], -1)
    tokens = tokens + 0.02 * torch.randn(tokens.shape, generator=draw)
    turned = torch.tensor([torch.pi, 0.0, 0.0]).expand(count, -1)
    states = torch.cat([hand, turned, torch.ones(count, 1)], 1)
    return LabelledFrames(tokens, states, place)


def error_m(readout, seen):
    """Median errors of hand and object [m]."""
    output = readout(seen.tokens)
    hand = (readout.state(seen.tokens)[:, :3] - seen.states[:, :3]).norm(dim=1).median()
    return hand, (object_place(output) - seen.places).norm(dim=1).median()


def code(seed):
    return torch.randn(WIDTH - 2, 6, generator=torch.Generator().manual_seed(seed))


def small():
    torch.manual_seed(0)
    return Readout(ReadoutConfig(WIDTH, TOKENS, 32, 1, 2, 2, object=True)).eval()


def test_a_readout_learns_a_scene_from_its_frames_and_stays_what_it_was_elsewhere():
    readout = small()
    before = {name: weight.clone() for name, weight in readout.state_dict().items()}
    seen = frames(300, 1, code(1))
    told = torch.arange(300) % 2 > 0  # of the others the gripper does not tell the place
    seen.places[~told] = torch.nan
    fitted = adapted(readout, seen, None)
    for name, weight in readout.state_dict().items():
        assert torch.equal(weight, before[name])
    new = frames(200, 2, code(1))
    for was, now in zip(error_m(readout, new), error_m(fitted, new), strict=True):
        assert now < 0.6 * was
    assert not any(p.requires_grad for p in fitted.parameters())


def test_what_is_imagined_is_learned_beside_what_is_seen():
    readout, seen, imagined = small(), frames(300, 1, code(1)), frames(300, 2, code(5))
    both, alone = adapted(readout, seen, imagined), adapted(readout, seen, None)
    new = frames(200, 3, code(5))
    assert error_m(both, new)[0] < 0.7 * error_m(alone, new)[0]


def test_the_same_frames_give_the_same_readout():
    seen = frames(50, 1, code(1))
    one, two = (adapted(small(), seen, seen) for _ in range(2))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
