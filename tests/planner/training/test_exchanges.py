"""Bytes of data parallelism against those that PyTorch and DeepSpeed handed to their collectives.

make_exchanges.py counted them on two ranks of one machine's processors.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from planner.hf_config import parse
from planner.training.exchanges import Exchange, exchanges
from planner.training.plan import TrainingPlan, plan_training
from planner.training.recipe import Lora, Recipe
from presets.gpus import load_gpu
from presets.models import load_model_config
from tests.planner.models import LLAMA_8B, SMALL

COUNTED = json.loads(
    (Path(__file__).parents[1] / "data" / "exchanges.json").read_text("utf-8")
)  # fmt: skip
LIVE = "stage3_max_live_parameters"
EXACT = [case for case in COUNTED if not case["recipe"].get(LIVE)]
PARTLY_KEPT = [case for case in COUNTED if case["recipe"].get(LIVE)]


def planned(config: dict[str, Any], **recipe: Any) -> TrainingPlan:
    return plan_training(parse(config), load_gpu("h100-sxm5-80gb"), Recipe(**recipe))


def by_kind(plan: TrainingPlan) -> dict[str, int]:
    """Bytes by collective: gradients that are reduced and gathered are all-reduced."""
    found: dict[str, int] = {}
    everything = exchanges(plan)
    whole = {each.what for each in everything} >= {"gradients reduced", "gradients gathered"}
    for each in everything:
        gradients = "gradients" in each.what
        kind = "gathered" if not gradients else "all_reduced" if whole else "scattered"
        if each.what != "gradients gathered":
            found[kind] = found.get(kind, 0) + each.times * each.bytes
    return found


def small(case: dict[str, Any]) -> TrainingPlan:
    config = {"model_type": "llama", "tie_word_embeddings": False, **SMALL, **case["model"]}
    return planned(config, data_parallel_size=2, **case["recipe"])


@pytest.mark.parametrize("case", EXACT, ids=lambda case: str(case["recipe"]))
def test_bytes_are_those_that_frameworks_sent(case: dict[str, Any]) -> None:
    plan = small(case)
    assert by_kind(plan) == case["stages"][plan.stage.index]


@pytest.mark.parametrize("case", PARTLY_KEPT, ids=lambda case: str(case["recipe"]))
def test_zero_3_gathers_what_it_kept_only_once(case: dict[str, Any]) -> None:
    """534,592 parameters of 16 layers, of which 100,000 or 200,000 may stay: 88 to 100 % did."""
    found, counted = by_kind(small(case)), case["stages"][0]
    batches, kept = case["recipe"]["gradient_accumulation_steps"], case["recipe"][LIVE]
    assert found["scattered"] == counted["scattered"]
    assert found["gathered"] == pytest.approx(2 * batches * (2 * 534_592 - kept), abs=64)
    more = counted["gathered"] - found["gathered"]
    assert 0 <= more <= 0.12 * 2 * batches * kept


def test_experts_are_exchanged_with_those_who_hold_the_same() -> None:
    """Mixtral on 8 GPUs: one of 8 experts each is sent to nobody; two each to one other GPU."""
    expert, config = 32 * 3 * 4096 * 14336, load_model_config("mixtral-8x7b-v0.1")
    recipe = {"sharding": "fsdp2", "data_parallel_size": 8}
    alone = exchanges(planned(config, expert_parallel_size=8, **recipe))
    assert {each.ranks for each in alone} == {8}
    layers = 46_702_792_704 - 8 * expert - (2 * 32000 + 1) * 4096
    assert Exchange("layers gathered", 2, 2 * layers, 8) in alone
    pairs = exchanges(planned(config, expert_parallel_size=4, **recipe))
    assert Exchange("expert layers gathered", 2, 2 * 2 * expert, 2) in pairs
    assert Exchange("expert gradients reduced", 1, 2 * 2 * expert, 2) in pairs
    assert set(alone) < set(pairs)


@pytest.mark.parametrize("sharding", ["zero3", "fsdp2"])
def test_four_bit_matrices_are_gathered_as_they_are_stored(sharding: str) -> None:
    """Half a byte of each, their scales are on every GPU; rank 16 has 41,943,040 parameters."""
    found = exchanges(
        planned(LLAMA_8B, sharding=sharding, data_parallel_size=8, lora=Lora(base="nf4"),
                stage3_max_live_parameters=0)
    )  # fmt: skip
    matrices = 32 * (2 * 4096**2 + 2 * 1024 * 4096 + 3 * 14336 * 4096)
    layers = next(each for each in found if each.what == "layers gathered")
    assert layers.bytes == matrices // 2 + 2 * (64 * 4096 + 41_943_040)


def test_zero_3_counts_four_bit_codes_as_what_they_are_stored_in() -> None:
    """10^9 live parameters of 2 B, of which layers and the rest are kept in equal parts."""
    found = exchanges(
        planned(LLAMA_8B, sharding="zero3", data_parallel_size=8, lora=Lora(base="nf4"))
    )
    kept = [each.bytes for each in found if each.what.endswith("for both passes")]
    assert sum(kept) == pytest.approx(2 * 10**9, abs=2)


def test_gradients_that_megatron_keeps_in_fp32_are_sent_in_it() -> None:
    """And not under ZeRO-2, whose communication_data_type is that of training."""
    each = {
        sharding: next(
            e for e in exchanges(planned(LLAMA_8B, sharding=sharding, data_parallel_size=2,
                                         gradient_dtype="fp32"))
            if e.what == "gradients reduced"
        ).bytes / 8_030_261_248
        for sharding in ("ddp", "zero1", "zero2")
    }  # fmt: skip
    assert each == {"ddp": 4, "zero1": 4, "zero2": 2}
