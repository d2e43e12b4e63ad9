"""The tensors of a pass: as the real layers make them, and what the allocator keeps for them."""

from typing import Any

import pytest
import torch

from planner.deployment import Deployment
from planner.hardware import custom_gpu
from planner.hf_config import parse
from planner.plan import make_plan
from planner.units import GIB, MIB
from planner.workload import Workload
from presets.gpus import load_gpu
from tests.validate.configs import GEMMA, LLAMA, MLA
from validate.bench import Bench
from validate.built_model import BuiltModel
from validate.inputs import model_of
from validate.memory_meter import meter
from validate.pass_tensors import prefill_held, weights_held

TOKENS = 24
"""More than a window of GEMMA has."""


@pytest.mark.parametrize(
    "config", [LLAMA, GEMMA, {**MLA, "first_k_dense_replace": 2}], ids=["gqa", "window", "mla"]
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="watches storages of the processor")
def test_real_layers_hold_what_is_listed_at_their_peak(config: dict[str, Any]) -> None:
    plan = make_plan(
        parse(config), custom_gpu(8 * GIB), Deployment(enforce_eager=True),
        Workload(context=TOKENS, concurrency=1),
    )  # fmt: skip
    built = BuiltModel(Bench(torch.device("cpu")), plan)
    built.build_pools()
    ids, step = built.random_ids(TOKENS), built.step(TOKENS, decode=False)
    with torch.no_grad(), meter(built.bench) as found:
        built.forward(ids, step)
    tables = sum(t.nbytes for pair in built.rope().values() for t in pair)
    listed = prefill_held(plan, TOKENS).allocated_bytes - weights_held(plan).allocated_bytes
    assert found.peak_bytes == pytest.approx(listed - tables, rel=0.01)


def test_what_lies_idle_beside_llama_by_hand() -> None:
    """Segments of 64 (three), 96, 448 and 224 MiB; at the peak one of 64, 448 and 224 is full.

    The rotary tables' 4 MiB lie in a segment of 20.
    """
    plan = make_plan(
        model_of("llama-3.1-8b"), load_gpu("h200-sxm-141gb"), Deployment(enforce_eager=True),
        Workload(context=8192, concurrency=64),
    )  # fmt: skip
    held = prefill_held(plan, 8192)
    before = weights_held(plan)
    passes = held.reserved_bytes - before.reserved_bytes
    assert passes == (3 * 64 + 96 + 448 + 224) * MIB + 20 * MIB
    assert held.allocated_bytes - before.allocated_bytes == (64 + 448 + 224 + 4) * MIB
