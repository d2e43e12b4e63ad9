"""A trace study on a local Ray cluster: the same answer, also when a worker is killed half-way."""

import importlib.util
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import main
from tests.cli.test_ray_search import workers_at_work
from tests.cli.test_serve_study import TRACE

HAS_RAY = importlib.util.find_spec("ray") is not None
pytestmark = [
    pytest.mark.skipif(not HAS_RAY, reason="ray is not installed (requirements-ray.txt)"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster on this machine with two workers; its address."""
    from ray.cluster_utils import Cluster

    found = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
    )
    yield found.address
    found.shutdown()


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "t.csv"
    path.write_text(TRACE)
    return str(path)


def study(capsys: pytest.CaptureFixture[str], trace: str, *more: str) -> Any:
    status = main([
        "serve", "--model", "llama-3.1-8b", "--gpu", "l40s", "--trace", trace, "--format", "json",
        "--try", "replicas=1,2,3", "--try", "speedup=1,2,4", "--try", "kv-cache-dtype=auto,fp8",
        *more,
    ])  # fmt: skip
    assert status == 0
    return json.loads(capsys.readouterr().out)


def test_the_cluster_answers_as_one_machine(
    cluster: str, trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    local = study(capsys, trace)
    assert len(local["cases"]) == 18
    assert study(capsys, trace, "--ray", cluster) == local


def test_a_killed_worker_loses_nothing(
    cluster: str, trace: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every case sleeps a little, and a process that runs one is killed in the middle."""
    import planner.serving.study as module

    local = study(capsys, trace)
    whole = module.run_case

    def slowly(setup: Any, case: Any) -> Any:
        time.sleep(0.4)
        return whole(setup, case)

    monkeypatch.setattr(module, "run_case", slowly)
    killed: list[int] = []

    def kill_one() -> None:
        for _ in range(200):
            time.sleep(0.1)
            for pid in workers_at_work():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return

    killer = threading.Thread(target=kill_one)
    killer.start()
    found = study(capsys, trace, "--ray", cluster)
    killer.join()
    assert killed
    assert found == local
