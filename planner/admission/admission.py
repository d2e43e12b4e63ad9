"""What every engine's rule answers for one deployment: sequences admitted, bytes they take.

    asked = Asked(model, gpus, deployment, context=9216, sequences=users, chunk_tokens=CHUNKS)
    found = rule.admission(asked)
    found.over(asked.sequences)   # above 1 where memory says no

Arrays have the search's axes: GPU, chunk size, users.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from planner.deployment import Deployment
from planner.formats.quantization import Assignment
from planner.frozen import Frozen
from planner.hardware import Gpu
from planner.parallelism import count_in

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
BARELY = 1 + 1e-9


@dataclass(frozen=True, slots=True)
class Asked:
    """One deployment on several GPUs, for sequences of `context` tokens.

    sequences: per replica, ascending; the first is what is asked, the others are tried beyond.
    """

    gpus: tuple[Gpu, ...]
    deployment: Deployment
    context: int
    sequences: Ints
    chunk_tokens: tuple[int, ...]

    @property
    def least(self) -> int:
        """The sequences that a replica must run."""
        return int(self.sequences[0])


@dataclass(frozen=True, slots=True)
class Admission:
    """admitted [GPU, chunk size, 1]: sequences one replica runs at once. needed_bytes: of the
    fullest GPU, for every number of users. budget_bytes [GPU, chunk size, 1]: what the engine
    allows itself of it. refused [GPU, chunk size]: what the engine does not take at all, for the
    reasons given.
    """

    admitted: Ints
    needed_bytes: Ints
    budget_bytes: Ints
    refused: NDArray[np.bool_] | None = None
    reasons: tuple[str, ...] = ()

    def over(self, sequences: Ints) -> Floats:
        """How many times what is there is needed; above 1 exactly where it is not admitted, and
        infinite where that is refused whatever the memory."""
        ratio = self.needed_bytes / np.maximum(self.budget_bytes, 1)
        fits = self.admitted >= sequences
        found: Floats = np.where(fits, np.minimum(ratio, 1.0), np.maximum(ratio, BARELY))
        if self.refused is not None:
            found[self.refused] = np.inf
        return found

    def rows(self) -> list[int]:
        """GPUs that the engine takes with some chunk size."""
        if self.refused is None:
            return list(range(len(self.admitted)))
        taken: list[int] = np.flatnonzero(~self.refused.all(axis=1)).tolist()
        return taken


class Rule(Protocol):
    """One engine's rule for one model; keeps what does not depend on the GPU."""

    def admission(self, asked: Asked) -> Admission:
        """Raises PlanRefused where the engine takes the deployment on no GPU."""

    def options(self, gpu: Gpu, deployment: Deployment, context: int, sequences: int) -> Frozen:
        """The engine's options that the admission is computed with, chunk size from the
        deployment's max_num_batched_tokens: its figures with them are the same."""


def memory_of(gpus: Iterable[Gpu]) -> Ints:
    """Bytes of each GPU along the first axis."""
    return np.asarray([gpu.memory_bytes for gpu in gpus], dtype=np.int64)[:, None, None]


def distinct_stages(assignment: Assignment, stages: list[range]) -> list[int]:
    """One stage of every kind: first, last, and by its layers of each group and format."""
    kinds: dict[tuple[Any, ...], int] = {}
    for index, span in enumerate(stages):
        ends = (index == 0, index == len(stages) - 1)
        held = (count_in(part.layers, span) for part in assignment.layers)
        kinds.setdefault((*ends, *held), index)
    return list(kinds.values())
