"""Every family of counted_sparse.json in every engine: figures, or a refusal, and no traceback."""

from contextlib import suppress
from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.registry import ENGINES
from planner.errors import PlanRefused
from planner.hardware import custom_gpu
from planner.hf_config import parse
from tests.planner.hf_config.counts import cases

GPU = custom_gpu(1 << 44)


@pytest.mark.parametrize(
    "config", [c["config"] for c in cases("sparse")], ids=lambda c: c["model_type"]
)
def test_an_engine_answers_for_every_family(config: dict[str, Any]) -> None:
    model = parse(config)
    for engine in ENGINES.values():
        for ranks in (1, 2):
            deployment = Deployment(tensor_parallel_size=ranks)
            with suppress(PlanRefused):
                found = engine.figures(model, GPU, deployment, engine.options())
                assert found.budget_bytes > 0
