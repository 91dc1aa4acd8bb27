"""Our models reproduce what Meta's released code computes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from arm_worldmodel.cli import main
from arm_worldmodel.parity import INPUTS, compute, load_golden

CLOSER = {"cem_action": 0.0, "cem_costs": 1e-6}


@pytest.mark.parametrize("which", [0, 1])
def test_reference_vectors_are_reproduced(golden, which):
    encoder, predictor, given = load_golden(golden[which])
    ours = compute(encoder, predictor, given)
    names = [k for k in given if k not in INPUTS]
    assert len(names) >= 10
    for name in names:
        difference = (ours[name].double() - given[name].double()).abs().max().item()
        assert difference <= CLOSER.get(name, 1e-5), f"{name}: {difference}"
    assert ("cem_action" in names) == (which == 0)


def test_parity_sees_a_changed_weight(golden, tmp_path):
    from safetensors.torch import load_file, save_file

    for part in ("config.json", "vectors.safetensors"):
        target = tmp_path / f"g_{part}"
        target.write_bytes(Path(f"{golden[0]}_{part}").read_bytes())
    weights = load_file(f"{golden[0]}_weights.safetensors")
    weights["encoder.blocks.0.mlp.fc1.weight"] *= 1.01
    save_file(weights, tmp_path / "g_weights.safetensors")
    encoder, predictor, given = load_golden(str(tmp_path / "g"))
    ours = compute(encoder, predictor, given)
    assert (ours["video_tokens"] - given["video_tokens"]).abs().max() > 1e-4


def test_parity_command_writes_the_difference(golden, tmp_path, capsys):
    import json

    assert main(["parity", f"golden={golden[0]}", f"out={tmp_path}"]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert 0 <= report["max_abs_diff"] <= 1e-5
    assert report["abs_diff"]["cem_action"] == 0.0
    assert "rollout_tokens" in capsys.readouterr().out


def test_rollout_poses_follow_the_convention(golden):
    from robot_data.pose import compose

    _, _, given = load_golden(golden[0])
    states = given["states"][:, 0].double().numpy()
    for t in range(given["actions"].shape[1]):
        states = compose(states, given["actions"][:, t].double().numpy())
        expected = given["rollout_states"][:, t + 1].double().numpy()
        np.testing.assert_allclose(states, expected, atol=1e-5)


def test_predictor_is_causal_over_frames(golden):
    _, predictor, given = load_golden(golden[0])
    tokens = given["frame_tokens_normalized"].clone()
    with torch.no_grad():
        before = predictor(tokens, given["actions"], given["states"])
        tokens[:, 2] += 1.0
        after = predictor(tokens, given["actions"], given["states"])
    assert torch.equal(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])
