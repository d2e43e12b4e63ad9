"""Recurrent states against what transformers' own classes hold after a forward pass."""

from typing import Any

import pytest

from planner.hf_config import parse
from planner.kv_cache import state_tensor_bytes
from tests.planner.hf_config.counts import cases

CASES = cases("states")


def name(case: dict[str, Any]) -> str:
    return f"{case['config']['model_type']}-{case['dtype']}"


@pytest.mark.parametrize("case", CASES, ids=name)
def test_every_layers_states_are_those_of_its_class(case: dict[str, Any]) -> None:
    """Whatever is kept: conv and recurrent states, running sums, DeepSeek-V4's open windows. The
    latter's prompt fills its windows but for one token, so that they are at their most."""
    element = {"bfloat16": 2, "float32": 4}[case["dtype"]]
    grows = case["config"]["model_type"] == "deepseek_v4"
    found = {}
    for group in parse(case["config"]).groups:
        size = sum(state_tensor_bytes(state, case["dtype"]) for state in group.state())
        for kept in group.cache() if grows else ():
            entry = element * (kept.width - kept.fp32_width) + 4 * kept.fp32_width
            size += entry * kept.entries(case["tokens"])
        found |= {str(layer): size for layer in group.layers if size}
    assert found == case["state_bytes"]


def test_every_kind_of_state_was_counted() -> None:
    kinds = {
        mixer.kind
        for case in CASES
        for group in parse(case["config"]).groups
        for mixer in group.mixers
        if mixer.state()
    }
    assert kinds == {
        "gated_deltanet", "mamba1", "mamba2", "kda", "lightning", "mlstm", "rwkv4", "conv",
        "rg_lru", "csa", "hca",
    }  # fmt: skip
