"""The NumPy grid equals the plan everywhere."""

import numpy as np
import pytest

from planner.sweep import total_bytes_grid
from planner.workload import Workload
from tests.planner.test_plan import MODELS, plan

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("sizes", "prefix", "beams", "prompt"),
    [
        ({}, 0, 1, None),
        ({"tensor_parallel_size": 4, "data_parallel_size": 2}, 0, 1, None),
        ({"pipeline_parallel_size": 3, "kv_cache_dtype": "fp8"}, 500, 1, None),
        ({"tensor_parallel_size": 2, "context_parallel_size": 2}, 64, 3, 900),
    ],
)
def test_grid_equals_plan(
    name: str, sizes: dict[str, int], prefix: int, beams: int, prompt: int | None
) -> None:
    contexts = np.sort(RNG.integers(1000, 200_000, 9))
    users = np.sort(RNG.integers(1, 3000, 7))
    base = {"prefix": prefix, "beams": beams, "prompt": prompt, **sizes}
    compiled = plan(MODELS[name], context=4000, **base).footprint
    work = Workload(
        context=4000, shared_prefix_tokens=prefix, beam_width=beams, prompt_tokens=prompt
    )
    grid = total_bytes_grid(compiled, contexts, users, work)
    for row, concurrency in enumerate(users):
        for column, context in enumerate(contexts):
            one = plan(MODELS[name], context=int(context), concurrency=int(concurrency), **base)
            assert grid[row, column] == one.total_bytes_per_gpu
