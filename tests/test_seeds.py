"""What is trained, and what is chosen, never meets the seeds of the published table."""

import pytest

from arm_worldmodel.cli import main
from arm_worldmodel.commands import evaluate
from arm_worldmodel.running import FIRST_SEED
from sims.seeds import DEVELOPMENT, TEST, require_choosable, require_recordable


def test_each_set_of_seeds_is_apart():
    assert evaluate.Settings().first_seed in TEST
    assert FIRST_SEED in DEVELOPMENT
    assert not set(TEST) & set(DEVELOPMENT)


@pytest.mark.parametrize("first", [0, 99_990, 1_000_000, 2_000_000, 60_000_000])
def test_recordings_to_train_on_and_to_validate_with_may_be_made(first):
    require_recordable(range(first, first + 10))


@pytest.mark.parametrize("first", [99_991, 100_000, 199_999, 49_999_999, 50_000_000, 59_999_999])
def test_recordings_never_hold_an_episode_that_judges(first):
    with pytest.raises(ValueError, match="cannot be judged by them"):
        require_recordable(range(first, first + 10))


def test_collect_refuses_them_before_it_writes(tmp_path, capsys):
    out = tmp_path / "data"
    assert main(["collect", f"out={out}", "episodes=2", "first_seed=99999"]) == 2
    assert "100000 to 199999 are the published table's" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("suite", ["search", "weights"])
def test_nothing_is_chosen_on_the_published_tables_seeds(tmp_path, capsys, suite):
    weights = ["checkpoints=[a,b]"] if suite == "weights" else []
    assert main(["evaluate", f"suite={suite}", *weights, f"out={tmp_path}"]) == 2
    assert "add first_seed=50000000" in capsys.readouterr().err
    require_choosable(range(DEVELOPMENT.start, DEVELOPMENT.start + 100))
