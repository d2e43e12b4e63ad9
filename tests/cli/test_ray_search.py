"""The search on a local Ray cluster: the same answer, also when a worker is killed half-way."""

import importlib.util
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cli.ray_search import ray_search
from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.search.search import search
from planner.search.space import Space, Target
from planner.timing.latency import Request
from presets.models import load_model_config
from presets.offers import offers
from presets.speed import reference, speed_of

HAS_RAY = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not HAS_RAY, reason="ray is not installed (requirements-ray.txt)")
TARGET = Target(request=Request(prompt_tokens=4096, output_tokens=512), concurrency=32, tpot_s=0.05)
SPACE = Space(max_gpus=8)
GPUS = ("h100-sxm5-80gb", "h200-sxm-141gb", "l40s")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster on this machine with two workers; its address."""
    from ray.cluster_utils import Cluster

    found = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
    )
    yield found.address
    found.shutdown()


def answer(address: str) -> Any:
    model = parse(load_model_config("llama-3.1-70b"))
    return ray_search(model, offers(GPUS), reference(), TARGET, SPACE, address=address)


def local() -> Any:
    model = parse(load_model_config("llama-3.1-70b"))
    return search(model, offers(GPUS), speed_of, TARGET, SPACE)


@needs_ray
@pytest.mark.slow
def test_the_cluster_finds_what_one_machine_finds(cluster: str) -> None:
    assert answer(cluster) == local()


@needs_ray
@pytest.mark.slow
def test_a_killed_worker_loses_nothing(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part sleeps a little, and a process that runs one is killed in the middle."""
    import cli.ray_search as module

    whole = module.part_of_search

    def slowly(shared: Any, part: Any) -> Any:
        time.sleep(0.4)
        return whole(shared, part)

    monkeypatch.setattr(module, "part_of_search", slowly)
    monkeypatch.setattr(module, "DEPLOYMENTS_PER_TASK", 8)
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
    found = answer(cluster)
    killer.join()
    assert killed
    assert found == local()


def workers_at_work() -> list[int]:
    """Processes of this test's cluster that run a task, told by the title Ray gives them."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    title = file.read()
            except OSError:
                continue
            if title.startswith(b"ray::slowly"):
                found.append(int(name))
    return found


@needs_ray
def test_no_cluster_is_one_sentence() -> None:
    with pytest.raises(PlanRefused, match="no Ray cluster answers"):
        answer("127.0.0.1:1")


@pytest.mark.skipif(HAS_RAY, reason="ray is installed")
def test_without_ray_the_sentence_says_how_to_get_it() -> None:
    with pytest.raises(PlanRefused, match="requirements-ray"):
        answer("auto")
