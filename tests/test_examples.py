"""Every example runs as it stands, and the script of twenty lines on weights of every kind."""

import ast
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from worldmodel.config import EncoderConfig, PredictorConfig
from worldmodel.encoder import Encoder
from worldmodel.models import Models
from worldmodel.predictor import Predictor

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SCRIPT = EXAMPLES / "00_script.py"
TOLD = {  # what an example prints when it did what it says
    "00_script.py": "torch.Size([2, 64, 192])", "01_plan.py": "plan.mp4",
    "02_own_cost.py": "reach: ", "03_own_agent.py": "3 of 3 episodes reached the goal",
    "04_own_environment.py": "Square: 1 of 1 episodes reached the goal",
    "05_own_arm.py": "moved 6.0 cm across", "06_replay_recordings.py": "frame 2: ",
    "07_train_tiny.py": "Model('outputs/examples/tiny/weights'",
    "08_see_imagination.py": "imagination.png",
}


def python(folder, *arguments):
    """Run an example in ``folder``, warnings as errors."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)], cwd=folder, text=True,
        capture_output=True, timeout=400, env={**os.environ, "PYTHONPATH": path},
    )


def runs(folder, *arguments):
    done = python(folder, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.realtime) if n == "05_own_arm.py" else n
     for n in sorted(p.name for p in EXAMPLES.glob("[0-9]*.py"))],
)
def test_an_example_runs(name, tmp_path):
    assert TOLD[name] in runs(tmp_path, EXAMPLES / name)


def test_the_script_has_at_most_twenty_lines():
    tree = ast.parse(SCRIPT.read_text())
    told = {node.lineno for node in ast.walk(tree) if hasattr(node, "lineno")}
    assert len(told - {1}) <= 20  # the first says what it is


def test_the_script_runs_on_metas_file_at_256_px(tmp_path):
    torch.manual_seed(0)
    parts = {
        "encoder": Encoder(EncoderConfig(256, 192, 2, 3)),
        "predictor": Predictor(PredictorConfig(256, 16, 192, 128, 2, 2, max_steps=32)),
    }
    torch.save({
        name: {f"module.backbone.{k}": v for k, v in part.state_dict().items()}
        for name, part in parts.items()
    }, tmp_path / "vjepa2-ac.pt")
    told = runs(tmp_path, SCRIPT, "vjepa2-ac.pt")
    assert "256 px" in told
    assert "torch.Size([2, 256, 192])\ntorch.Size([2, 256, 192])" in told
    assert "reach: " in told


def test_the_script_runs_on_a_hugging_face_folder_once_it_has_a_predictor(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import VJEPA2Config, VJEPA2Model

        torch.manual_seed(0)
        VJEPA2Model(VJEPA2Config(
            crop_size=256, frames_per_clip=2, hidden_size=96, num_attention_heads=4,
            num_hidden_layers=2, mlp_ratio=4.0, pred_hidden_size=48, pred_num_attention_heads=4,
            pred_num_hidden_layers=1,
        )).save_pretrained(tmp_path / "hf")
    alone = python(tmp_path, SCRIPT, "hf")
    assert alone.returncode == 1
    assert "hf has no predictor weights; train them: `worldmodel train checkpoint=hf" in (
        alone.stderr
    )
    encoder = Models.load(tmp_path / "hf", device="cpu").encoder
    predictor = Predictor(PredictorConfig(256, 16, 96, 64, 2, 2))
    Models(tmp_path / "hf", {"encoder": encoder, "predictor": predictor}).save(tmp_path / "ours")
    told = runs(tmp_path, SCRIPT, "ours")
    assert "torch.Size([2, 256, 96])" in told
    assert "reach: " in told


def test_the_notebook_runs_and_keeps_no_output():
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(EXAMPLES / "quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in book.cells)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the notebook's machinery
        NotebookClient(book, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = [
        kind for cell in book.cells for output in cell.get("outputs", [])
        for kind in output.get("data", {})
    ]
    assert shown.count("image/png") == 3  # the pair, the candidates, the recording
    assert "text/html" in shown  # the table and the film
