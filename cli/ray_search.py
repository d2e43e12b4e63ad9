"""A search spread over a Ray cluster that is already running; Ray is needed for nothing else.

Each task tries a few deployments on all GPUs. Tasks of a worker that dies are run again elsewhere,
and the parts are ranked together at the end, so the answer is that of a search on one machine.
"""

import socket
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import cli
import planner
from planner.candidates import Found
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.model import Model
from planner.search import checked, merged, search_part
from planner.search_space import Offer, Space, Target, deployments
from planner.timing import speed
from planner.timing.speed import Reference

DEPLOYMENTS_PER_TASK = 16
RETRIES = 20
CONNECT_S = 5.0


def ray_search(
    model: Model,
    offers: Sequence[Offer],
    reference: Reference,
    target: Target,
    space: Space,
    *,
    address: str,
    config: Mapping[str, Any] | None = None,
) -> Found:
    """search() on the cluster at `address` ("auto" finds one on this machine).

    The code goes along; NumPy and pydantic must be there.

    Raises PlanRefused as checked() does, or where Ray is not installed or no cluster answers.
    """
    note = checked(model, offers, target)
    ray = _ray()
    _check_answers(address)
    try:
        ray.init(
            address=address,
            ignore_reinit_error=True,
            log_to_driver=False,
            runtime_env={"py_modules": [planner, cli]},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise PlanRefused(f"no Ray cluster answers at {address}: {error}") from None
    try:
        task = ray.remote(max_retries=RETRIES)(part_of_search)
        shared = ray.put((model, tuple(offers), reference, target, space, config))
        everything = list(deployments(model, space))
        parts = [
            everything[i : i + DEPLOYMENTS_PER_TASK]
            for i in range(0, len(everything), DEPLOYMENTS_PER_TASK)
        ]
        found: list[Found] = ray.get([task.remote(shared, part) for part in parts])
        return merged(found, note)
    finally:
        ray.shutdown()


def part_of_search(
    shared: tuple[Model, Sequence[Offer], Reference, Target, Space, Mapping[str, Any] | None],
    part: list[Deployment],
) -> Found:
    """What one task does."""
    model, offers, reference, target, space, config = shared
    speeds = partial(speed.speed_of, reference=reference)
    return search_part(model, offers, speeds, target, space, part, config=config)


def _check_answers(address: str) -> None:
    """Refuse an address that nothing listens on at once: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        with socket.create_connection((host, int(port)), timeout=CONNECT_S):
            pass
    except OSError as error:
        raise PlanRefused(f"no Ray cluster answers at {address}: {error.strerror}") from None


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise PlanRefused(
            "--ray needs the package ray: pip install -r requirements-ray.txt, or leave --ray out"
        ) from None
    return ray
