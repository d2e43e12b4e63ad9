"""A Ray cluster that is already running, and tasks on it; Ray is needed for nothing else.

Tasks of a worker that dies are run again elsewhere, so that nothing is lost.
"""

import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from types import ModuleType
from typing import Any, TypeVar

import cli
import planner
from planner.errors import PlanRefused

RETRIES = 20
CONNECT_S = 5.0
Part = TypeVar("Part")
Answer = TypeVar("Answer")


def spread(
    task: Callable[[Any, Part], Answer],
    shared: Any,
    parts: Iterable[Part],
    *,
    address: str,
    modules: Sequence[ModuleType] = (planner, cli),
) -> list[Answer]:
    """task(shared, part) of every part on the cluster at `address`, answers in order.

    "auto" finds a cluster on this machine. The modules' code goes along; NumPy and pydantic must
    be there. What Ray prints goes to stderr, as stdout is for the answer. Raises PlanRefused where
    Ray is not installed or no cluster answers.
    """
    ray = _ray()
    _check_answers(address)
    with redirect_stdout(sys.stderr):
        return _spread(ray, task, shared, parts, address, modules)


def _spread(
    ray: Any,
    task: Callable[[Any, Part], Answer],
    shared: Any,
    parts: Iterable[Part],
    address: str,
    modules: Sequence[ModuleType],
) -> list[Answer]:
    try:
        ray.init(
            address=address,
            ignore_reinit_error=True,
            log_to_driver=False,
            runtime_env={"py_modules": list(modules)},
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise PlanRefused(f"no Ray cluster answers at {address}: {error}") from None
    try:
        remote = ray.remote(max_retries=RETRIES)(task)
        stored = ray.put(shared)
        found: list[Answer] = ray.get([remote.remote(stored, part) for part in parts])
        return found
    finally:
        ray.shutdown()


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
