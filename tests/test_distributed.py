"""Two processes learn what one with twice the accumulation would, whole or sharded."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from arm_worldmodel.cli import main
from robot_data.episodes import EpisodeStore
from worldmodel import distributed
from worldmodel.config import LeWMConfig, LeWMLossConfig, PredictorConfig, TrainConfig
from worldmodel.lewm import LeWorldModel
from worldmodel.lewm_training import LeWMTraining, train_lewm
from worldmodel.losses import PostTraining
from worldmodel.models import Models
from worldmodel.predictor import Predictor
from worldmodel.run import TrainingError
from worldmodel.train import post_train

TESTS = Path(__file__).parent
AC = PredictorConfig(64, 16, 24, 48, 2, 4, residual=True, action_scale=20.0)
CONFIG = TrainConfig(
    steps=6, batch_size=4, learning_rate=3e-3, warmup_steps=2, bf16=False, checkpoint_every=2,
    log_every=1,
)


def batch(number):
    g = torch.Generator().manual_seed(number)
    tokens = torch.nn.functional.layer_norm(torch.randn(4, 3, 16, 24, generator=g), (24,))
    return tokens, torch.randn(4, 2, 7, generator=g), torch.randn(4, 3, 7, generator=g)


def train(out, depth=AC.depth, **changes):
    torch.manual_seed(0)
    predictor = Predictor(replace(AC, depth=depth))
    return post_train(PostTraining(predictor), batch, replace(CONFIG, **changes), out)


def small_lewm(out, **changes):
    def windows(number):
        g = torch.Generator().manual_seed(number)
        images = torch.randint(0, 256, (8, 4, 16, 16, 3), generator=g, dtype=torch.uint8)
        return images, torch.randn(8, 3, 2, generator=g)

    torch.manual_seed(0)
    config = LeWMConfig(16, 8, 16, 1, 2, 8, 16, 1, 2, 4, 16, action_size=2)
    model = LeWMTraining(LeWorldModel(config), LeWMLossConfig(directions=16))
    return train_lewm(model, windows, replace(CONFIG, **changes), out)


def small_command(data, out, parallel):
    code = main([
        "train", f"data={data}", f"out={out}",
        "parts=[predictor,readout]", "train.steps=2", "train.batch_size=2",
        f"train.parallel={parallel}", "readout_train.steps=2", "readout_train.batch_size=4",
        "predictor.predictor_dim=32", "predictor.depth=2", "predictor.num_heads=2",
        "readout.dim=32", "readout.depth=1", "readout.num_heads=2",
    ])
    assert code == 0


def worker():
    """What each process of torchrun runs: tests/test_distributed.py ROOT, with a store in
    ROOT/data.  One start for all: the processes take far longer to begin than to learn."""
    root = Path(sys.argv[1])
    torch.set_num_threads(1)
    rank, _ = distributed.world()

    def keep(trained, folder):
        torch.save(trained.state_dict(), folder / f"trained-{rank}.pt")

    for parallel in ("ddp", "fsdp"):
        whole, two, one = (root / f"{parallel}-{name}" for name in ("whole", "two", "one"))
        keep(train(whole, parallel=parallel), whole)
        train(two, parallel=parallel, steps=4)
        with distributed.first_alone() as first:
            if first:
                one.mkdir()
                shutil.copy(two / "train_state.pt", one)
        keep(train(two, parallel=parallel), two)
        small_command(root / "data", root / f"{parallel}-command", parallel)
    keep(small_lewm(root / "lewm"), root / "lewm")


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """The folder of what two processes learnt."""
    from conftest import make_episode  # which the two processes do without

    root = tmp_path_factory.mktemp("two-processes")
    store = EpisodeStore(root / "data")
    for seed in range(2):
        store.write(f"episode-{seed}", make_episode(12, seed, side=128))
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         __file__, str(root)],
        capture_output=True, text=True, timeout=600, cwd=TESTS.parent,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return root


def learnt(folder):
    """The weights that each of the two processes has."""
    return [torch.load(folder / f"trained-{rank}.pt", weights_only=True) for rank in (0, 1)]


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        torch.testing.assert_close(a[key], b[key], atol=2e-5, rtol=1e-4, msg=key)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(tmp_path_factory.mktemp("alone"), accumulate=2).state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_with_twice_the_accumulation_does(
    tmp_path, parallel, alone, two_processes
):
    first, second = learnt(two_processes / f"{parallel}-whole")
    assert_same(first, second)
    assert_same(first, alone)
    untrained = train(tmp_path / "short", steps=1).state_dict()
    assert not torch.allclose(first["predictor_proj.weight"], untrained["predictor_proj.weight"],
                              atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_run_of_two_processes_is_resumed_and_by_another_number_too(parallel, two_processes):
    # Four steps by two processes; the rest by two again, and by one with twice the accumulation.
    resumed, _ = learnt(two_processes / f"{parallel}-two")
    one = two_processes / f"{parallel}-one"
    assert torch.load(one / "train_state.pt", weights_only=True)["step"] == 4
    by_one = train(one, accumulate=2).state_dict()
    # The cosine of four steps and of six differ: compare the two ways of going on.
    assert_same(resumed, by_one)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_the_train_command_runs_in_two_processes(parallel, two_processes):
    Models.load(two_processes / f"{parallel}-command", ["predictor", "readout"], "cpu")


@pytest.mark.slow
def test_a_leworldmodel_is_trained_in_two_processes_as_with_twice_the_accumulation(
    tmp_path, two_processes
):
    alone = small_lewm(tmp_path / "one", accumulate=2)
    own = dict(alone.named_parameters())  # the running means of BatchNorm are a process's own
    for trained in learnt(two_processes / "lewm"):
        assert_same({name: trained[name] for name in own}, own)


def test_accumulated_batches_are_one_large_batch(tmp_path):
    def large(step):
        parts = [batch(2 * step), batch(2 * step + 1)]
        return tuple(torch.cat(p) for p in zip(*parts, strict=True))

    torch.manual_seed(0)
    config = replace(CONFIG, batch_size=8)
    one = post_train(PostTraining(Predictor(AC)), large, config, tmp_path / "large")
    two = train(tmp_path / "two", accumulate=2)
    assert_same(one.state_dict(), two.state_dict())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch.compile's own imports
def test_a_compiled_run_learns_the_same(tmp_path, monkeypatch):
    # Traced and differentiated as always; what torch's own code generator makes of it takes a
    # minute in a fresh clone and is torch's to test.
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda module: compile_module(module, backend="aot_eager")
    )
    plain, compiled = (
        train(tmp_path / str(c), depth=1, steps=3, compile=c) for c in (False, True)
    )
    assert_same(plain.state_dict(), compiled.state_dict())


def test_parts_without_a_gradient_are_not_trained():
    model = PostTraining(Predictor(AC))
    assert not any(p.requires_grad for p in model.predictor.extrinsics_encoder.parameters())
    with pytest.raises(ValueError, match="accumulate"):
        TrainConfig(accumulate=0)


def test_sharded_pre_training_is_refused(tmp_path):
    from worldmodel.config import EncoderConfig
    from worldmodel.encoder import Encoder
    from worldmodel.train import pretrain

    encoder = Encoder(EncoderConfig(32, 24, 2, 2))
    with pytest.raises(TrainingError, match="parallel=ddp"):
        pretrain(encoder, lambda step: torch.zeros(1), replace(CONFIG, parallel="fsdp"), tmp_path)


if __name__ == "__main__":
    worker()
