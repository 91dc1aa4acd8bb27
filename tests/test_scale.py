"""Collection and evaluation on a Ray cluster of two nodes, and into S3-like object storage."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import psutil
import pytest
from slow_jobs import Slow, slowly

from arm_worldmodel.evaluation import Cell, jobs_of, run_jobs
from planners.config import PolicyConfig
from robot_data.episodes import EpisodeStore
from sims.collect import collect, episode_name
from sims.config import ArmConfig
from sims.experts import CollectConfig
from sims.parallel import run_parallel

ray = pytest.importorskip("ray", reason="Ray is an optional extra")
CELL = Cell("quick", "reach", policy=PolicyConfig(policy="random"), episodes=6, max_steps=8)
SMALL = ArmConfig(image_size=32)


@pytest.fixture(scope="module")
def head():
    """A cluster of one node."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where slow_jobs is
        made = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
        )
        yield made
        made.shutdown()


@pytest.fixture
def cluster(head, monkeypatch):
    """The cluster, with a second node for as long as a test takes."""
    monkeypatch.setenv("RAY_ADDRESS", head.address)
    second = head.add_node(num_cpus=1)
    yield head
    ray.shutdown()
    if second in head.worker_nodes:
        head.remove_node(second)


def busy(folder):
    """Process ids in the middle of a job."""
    names = [p.name.split("-") for p in folder.iterdir()]
    done = {number for number, who in names if who == "done"}
    return [int(who) for number, who in names if who != "done" and number not in done]


@pytest.mark.slow
def test_killed_workers_and_a_lost_machine_lose_no_job(cluster, tmp_path):
    (second,) = cluster.worker_nodes
    results = run_parallel(slowly, [Slow(tmp_path, n) for n in range(14)], pool="ray")
    done = [next(results)]
    until = time.monotonic() + 60
    while len(working := busy(tmp_path)) < 2:  # one on each node
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(working[0], signal.SIGKILL)
    done += [next(results) for _ in range(4)]
    cluster.remove_node(second, allow_graceful=False)
    done += list(results)
    assert sorted(done) == list(range(14))
    assert not psutil.pid_exists(working[0])
    begun = [p for p in tmp_path.iterdir() if not p.name.endswith("-done")]
    assert len(begun) > 14  # what was killed ran again


@pytest.mark.slow
def test_a_cluster_of_two_nodes_gives_the_outcomes_of_processes(cluster, tmp_path):
    jobs = jobs_of(CELL, 0, 3)
    here, there = (
        sorted(run_jobs(jobs, 2, pool), key=lambda o: o.seed) for pool in ("processes", "ray")
    )
    assert len(here) == CELL.episodes
    for a, b in zip(here, there, strict=True):
        assert replace(a, plan_seconds=0.0) == replace(b, plan_seconds=0.0)
    list(collect(SMALL, CollectConfig(), str(tmp_path / "ray"), range(2), pool="ray"))
    list(collect(SMALL, CollectConfig(), str(tmp_path / "here"), range(2), workers=1))
    for seed in range(2):
        a, b = (EpisodeStore(tmp_path / w).read(episode_name(seed)) for w in ("ray", "here"))
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.states, b.states)


@pytest.mark.slow
def test_without_a_cluster_ray_runs_here(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert sorted(run_parallel(abs, [-1, -2, -3], workers=2, pool="ray")) == [1, 2, 3]
    assert not ray.is_initialized()


@pytest.fixture
def bucket(monkeypatch):
    """URL of an empty bucket on an S3 server in this process, on loopback."""
    pytest.importorskip("s3fs", reason="s3fs is an optional extra")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    files.mkdir("lab")
    yield "s3://lab/robot"
    server.stop()


COMMANDS = """
import json, sys
from arm_worldmodel.cli import main
for command in json.loads(sys.argv[1]):
    assert main(command) == 0, command
"""


def worldmodel(*commands):
    """In a process of its own: workers inherit its environment, where the server is named."""
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands)], capture_output=True, text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_collection_and_evaluation_write_into_object_storage_from_all_processes(bucket, tmp_path):
    collected = ["collect", f"out={bucket}", "workers=2", "arm.image_size=32"]
    evaluated = ["evaluate", "task=reach", "policy=random", "episodes=2", "workers=2",
                 "max_steps=3", f"record={bucket}-runs", f"out={tmp_path / 'report'}"]
    # the second goes on where the first stopped
    worldmodel([*collected, "episodes=2"], [*collected, "episodes=3"], evaluated)
    store = EpisodeStore(bucket)
    assert store.names() == [episode_name(number) for number in range(3)]
    report = json.loads(fsspec.filesystem("s3").cat(f"{bucket}/report.json"))
    assert report["episodes_recorded"] == 1
    assert report["episodes_held_before"] == 2
    here = tmp_path / "here"
    list(collect(SMALL, CollectConfig(), str(here), range(1), workers=1))
    a, b = store.read(episode_name(0)), EpisodeStore(here).read(episode_name(0))
    np.testing.assert_array_equal(a.images, b.images)
    assert len(EpisodeStore(f"{bucket}-runs").names()) == 2
