"""FLOPs and bytes of a pass against counts by hand; efficiencies at their limits."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from planner.calibration import KernelPoint, Roofs
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.hardware import custom_gpu
from planner.hf_config import parse
from planner.timing.roofline import Costs, Efficiencies, Work, ideal_s, roofs_of, time_s
from planner.timing.step_costs import step_costs
from tests.planner.models import DEEPSEEK_V3, GEMMA_3_27B, JAMBA, LLAMA_8B, model

ROOFS = Roofs(read_bytes_per_s=4e12, copy_bytes_per_s=2e12, bf16_flops_per_s=8e14)
MATRICES_8B = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336) + 128256 * 4096
ONE = Deployment()
COUNTED = Path(__file__).parents[1] / "hf_config" / "data" / "counted_sparse.json"


def named(costs: Costs, part: str) -> list[Work]:
    return [work for work in costs.work if work.part == part]


def test_a_decode_step_of_llama_8b_by_hand() -> None:
    costs = step_costs(model(LLAMA_8B), ONE, "decode", 1, [8192] * 4)
    attention = 32 * 4 * (4 * 8192 * 32 * 128)
    assert costs.flops == 4 * 2 * MATRICES_8B + attention
    assert costs.weight_bytes == 2 * MATRICES_8B
    assert costs.kv_bytes == 4 * 8192 * 131_072


def test_a_prefill_of_llama_8b_by_hand() -> None:
    """The head works on the last token only; a causal prompt of n has n (n + 1) / 2 pairs."""
    n, head = 2048, 128256 * 4096
    costs = step_costs(model(LLAMA_8B), ONE, "prefill", n, [n])
    pairs = n * (n + 1) // 2
    assert costs.flops == 2 * n * (MATRICES_8B - head) + 2 * head + 32 * 4 * 32 * 128 * pairs


def test_32_bit_weights_are_multiplied_and_moved_in_32_bits() -> None:
    """Twice the bytes; FLOPs at the 32-bit roof, and no time where that is unknown."""
    n, fp32 = 2048, ROOFS.model_copy(update={"fp32_flops_per_s": 6e13})
    plain, wide = (
        step_costs(model(LLAMA_8B), Deployment(weights_dtype=name), "prefill", n, [n])
        for name in ("bf16", "float32")
    )
    assert wide.flops == plain.flops
    assert wide.activation_bytes == 2 * plain.activation_bytes
    assert wide.weight_bytes == 2 * plain.weight_bytes
    assert time_s(wide, fp32) >= wide.flops / 6e13
    with pytest.raises(PlanRefused, match="32-bit"):
        time_s(wide, ROOFS)


def test_chunks_of_a_prompt_add_up_to_its_pairs() -> None:
    llama = model(LLAMA_8B)
    whole = named(step_costs(llama, ONE, "prefill", 4096, [4096]), "attention")[0].flops
    parts = [
        named(step_costs(llama, ONE, "prefill", 1024, [end]), "attention")[0].flops
        for end in (1024, 2048, 3072, 4096)
    ]
    assert sum(parts) == whole


def test_windows_are_read_to_their_length_and_no_further() -> None:
    """Gemma-3-27B: 10 full layers and 52 of 1,024 tokens; 16 heads of 128, K and V, bf16."""
    costs = step_costs(model(GEMMA_3_27B), ONE, "decode", 1, [32768])
    assert costs.kv_bytes == 2 * 16 * 128 * 2 * (10 * 32768 + 52 * 1024)


def test_tensor_parallel_ranks_share_the_work() -> None:
    llama = model(LLAMA_8B)
    one = step_costs(llama, ONE, "decode", 1, [4096] * 8)
    four = step_costs(llama, Deployment(tensor_parallel_size=4), "decode", 1, [4096] * 8)
    assert four.flops * 4 == one.flops
    assert four.weight_bytes * 4 == one.weight_bytes
    assert four.kv_bytes * 4 == one.kv_bytes


def test_stages_add_up_to_the_model() -> None:
    llama = model(LLAMA_8B)
    whole = step_costs(llama, ONE, "decode", 1, [4096] * 8)
    stages = [
        step_costs(llama, ONE, "decode", 1, [4096] * 8, span)
        for span in (range(11), range(11, 22), range(22, 32))
    ]
    for figure in ("flops", "weight_bytes", "kv_bytes", "activation_bytes", "launches"):
        assert sum(getattr(stage, figure) for stage in stages) == getattr(whole, figure)


def test_distinct_experts_are_the_mean_over_all_draws() -> None:
    """E (1 - (1 - k/E)^n), against every way n tokens can draw k of E experts."""
    small = model(
        DEEPSEEK_V3, n_routed_experts=4, num_experts_per_tok=1, num_hidden_layers=4, n_group=1
    )
    for tokens in (1, 2, 3, 5):
        draws = [len(set(draw)) for draw in product(range(4), repeat=tokens)]
        expected = sum(draws) / len(draws)
        costs = step_costs(small, ONE, "decode", 1, [128] * tokens)
        up = next(w for w in costs.work if w.part == "experts.gate_proj")
        assert up.weight_bytes == pytest.approx(expected * 2 * 7168 * 2048 * 2, rel=1e-6)


def test_experts_shared_by_replicas_get_the_tokens_of_all() -> None:
    deepseek = model(DEEPSEEK_V3)

    def arithmetic(**sizes: int) -> int:
        deployment = Deployment(enable_expert_parallel=True, **sizes)
        work = step_costs(deepseek, deployment, "decode", 1, [1024] * 64)
        return next(w.flops for w in work.work if w.part == "experts.gate_proj")

    assert arithmetic(data_parallel_size=8) == arithmetic()
    assert arithmetic(tensor_parallel_size=8) * 8 == arithmetic()


@pytest.mark.parametrize("config", [LLAMA_8B, GEMMA_3_27B, DEEPSEEK_V3, JAMBA])
def test_an_array_of_batches_costs_what_each_of_them_does(config: dict[str, object]) -> None:
    found = model(config)
    batches = np.array([1, 3, 64], dtype=np.int64)
    together = step_costs(found, ONE, "decode", 1, {5000: batches})
    for i, batch in enumerate(batches):
        alone = step_costs(found, ONE, "decode", 1, [5000] * int(batch))
        for both, one in zip(together.work, alone.work, strict=True):
            for figure in ("flops", "weight_bytes", "kv_bytes", "activation_bytes"):
                value = np.broadcast_to(getattr(both, figure), batches.shape)[i]
                assert int(value) == getattr(one, figure), (one.part, figure)


def test_the_larger_roof_binds() -> None:
    reads = Work("matmul", "bf16", "x", 1, "bf16", flops=8, weight_bytes=4 * 10**6)
    assert ideal_s(reads, ROOFS) == (1e-6, "memory")
    counts = Work("matmul", "bf16", "x", 1, "bf16", flops=8 * 10**9, weight_bytes=4)
    assert ideal_s(counts, ROOFS) == (1e-5, "compute")


def test_efficiencies_between_and_beyond_their_points() -> None:
    def at(ideal: float, measured: float) -> KernelPoint:
        return KernelPoint(
            kernel="matmul", variant="bf16", bound="memory", ideal_s=ideal, measured_s=measured
        )

    table = Efficiencies([at(1e-5, 1.4e-5), at(3e-5, 3.6e-5)])

    def expected(ideal: float) -> float:
        size = round(ideal * ROOFS.read_bytes_per_s)
        return table.expected_s(Work("matmul", "bf16", "x", 1, "bf16", weight_bytes=size), ROOFS)

    assert expected(2e-5) == pytest.approx(2.5e-5)
    assert expected(1e-6) == pytest.approx(1e-6 + 4e-6)
    assert expected(3e-4) == pytest.approx(3.6e-4)
    unknown = Work("elementwise", "bf16", "x", 1, "bf16", activation_bytes=2 * 10**6)
    assert table.expected_s(unknown, ROOFS) == pytest.approx(1e-6)


def test_time_is_the_sum_over_launches() -> None:
    work = Work("matmul", "bf16", "x", 3, "bf16", weight_bytes=4 * 10**6)
    assert time_s(Costs((work, work)), ROOFS) == pytest.approx(6e-6)


def test_a_gpu_without_bandwidth_is_refused() -> None:
    with pytest.raises(PlanRefused, match="memory bandwidth"):
        roofs_of(custom_gpu(2**34))


def test_decode_kernels_of_wide_groups_are_told_apart() -> None:
    """Four query heads to a KV head in Llama; 16 in MQA of as many."""
    (narrow,) = named(step_costs(model(LLAMA_8B), ONE, "decode", 1, [64]), "attention")
    wide = {**LLAMA_8B, "num_key_value_heads": 2}
    (grouped,) = named(step_costs(model(wide), ONE, "decode", 1, [64]), "attention")
    assert (narrow.variant, grouped.variant) == ("d128 bf16", "d128 bf16 wide")
    points = [
        KernelPoint(
            kernel="paged_decode", variant=variant, bound="memory", ideal_s=1, measured_s=s
        )
        for variant, s in (("d128 bf16", 1.1), ("d128 bf16 wide", 1.3), ("d128 fp8", 2))
    ]  # fmt: skip
    table = Efficiencies(points)
    assert table.points_for("paged_decode", "d128 bf16 wide", "memory")[0].measured_s == 1.3
    assert Efficiencies(points[::2]).points_for(
        "paged_decode", "d128 bf16 wide window", "memory"
    )[0].measured_s == 1.1  # fmt: skip


def test_layers_that_read_anothers_latents_store_none() -> None:
    """Layers 0, 2 and 5 of six are sources, and as many choose keys: six stores of 96 numbers a
    token (32 of the latent and 64 that turn, or an indexer's key). All six attend to 16 of them.
    """
    configs = [case["config"] for case in json.loads(COUNTED.read_text())["cases"]]
    config = next(c for c in configs if c.get("kv_source_layers") == [0, 0, 2, 2, 2, 5])
    costs = step_costs(parse(config), ONE, "decode", 1, [100] * 4)
    stores = [w for w in costs.work if w.variant == "store cache"]
    assert {w.activation_bytes for w in stores} == {2 * 2 * 4 * 96}
    assert sum(w.launches for w in stores) == 6
    decodes = [w for w in costs.work if w.kernel == "sparse_decode"]
    assert sum(w.launches for w in decodes) == 6
    assert {w.kv_bytes for w in decodes} == {4 * 16 * 96 * 2}


def test_positions_turn_queries_and_keys_by_hand() -> None:
    """Each of 32 + 8 heads of 128 is read and written in 16 bits, for four new tokens."""
    (work,) = named(step_costs(model(LLAMA_8B), ONE, "decode", 1, [8192] * 4), "rope")
    assert (work.launches, work.activation_bytes) == (32, 2 * 4 * 40 * 128 * 2)
