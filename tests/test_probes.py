"""Scores of probes."""

import pytest
import torch

from worldmodel.probes import TARGETS, scores


def test_a_target_that_never_changes_has_no_r2_and_the_others_have_theirs():
    target = torch.randn(50, len(TARGETS), generator=torch.Generator().manual_seed(0))
    target[:, 2] = 0.02  # an object that is never lifted
    found = scores(target + 0.1, target)
    assert found["object_z_m"]["r2"] is None
    assert found["object_z_m"]["median_error"] == pytest.approx(0.1, abs=1e-5)
    assert found["hand_x_m"]["r2"] == pytest.approx(
        1 - 50 * 0.01 / (target[:, 3] - target[:, 3].mean()).square().sum().item(), abs=1e-4
    )
