"""What GPUs send each other in a pass, and what decode context parallelism shares out, by hand."""

from typing import Any

import pytest

from planner.deployment import Deployment
from planner.timing.messages import messages
from planner.timing.passes import decode_pass
from tests.planner.models import DEEPSEEK_V3, LLAMA_8B, model

LLAMA_SPAN, V3_SPAN = range(32), range(61)


def sent(
    config: dict[str, Any], phase: Any, rows: int, sequences: int, span: range, **split: int
) -> list[tuple[str, Any, int, int]]:
    found = messages(model(config), Deployment(**split), phase, rows, sequences, span)
    return [(m.what, m.size_bytes, m.ranks, m.times) for m in found]


def test_a_tensor_parallel_layer_sums_twice_and_logits_are_gathered() -> None:
    """2,000 tokens of 4,096 entries in 2 B; one row of 128,256 logits for each sequence."""
    assert sent(LLAMA_8B, "prefill", 2000, 2, LLAMA_SPAN, tensor_parallel_size=4) == [
        ("all_reduce", 2000 * 4096 * 2, 4, 64),
        ("all_gather", 2 * 128256 * 2, 4, 1),
    ]
    assert sent(LLAMA_8B, "prefill", 2000, 2, LLAMA_SPAN) == []


def test_a_stage_hands_on_its_part_of_the_activations() -> None:
    split = {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}
    assert sent(LLAMA_8B, "decode", 7, 7, range(16), **split) == [
        ("all_reduce", 7 * 4096 * 2, 2, 32),
        ("send", 7 * 4096 * 2 / 2, 4, 1),
    ]


def test_decode_context_parallelism_gathers_queries_and_merges_outputs() -> None:
    """Llama-3.1-8B at TP 16 over its 8 KV heads: each rank of a pair has 2 query heads."""
    split = {"tensor_parallel_size": 16, "decode_context_parallel_size": 2}
    assert sent(LLAMA_8B, "decode", 10, 10, LLAMA_SPAN, **split)[1:4] == [
        ("all_gather", 10 * 4 * 128 * 2, 2, 32),
        ("all_gather", 10 * 4 * 4, 2, 32),
        ("all_gather", 10 * 4 * 128 * 2, 2, 32),
    ]
    assert len(sent(LLAMA_8B, "prefill", 10, 10, LLAMA_SPAN, **split)) == 2


def test_latents_are_attended_to_as_they_are() -> None:
    """DeepSeek-V3: queries of 512 + 64 entries, outputs of 512, of all 128 heads."""
    split = {"tensor_parallel_size": 8, "decode_context_parallel_size": 8}
    found = sent(DEEPSEEK_V3, "decode", 10, 10, V3_SPAN, **split)
    sizes = [size for what, size, _, _ in found[:-1] if what == "all_gather"]
    assert sizes == 2 * [10 * 128 * 576 * 2, 10 * 128 * 4, 10 * 128 * 512 * 2]
    assert [times for what, _, _, times in found[:-1] if what == "all_gather"] == 3 * [3] + 3 * [58]


def test_tokens_go_to_their_experts_and_back() -> None:
    """8 of 256 experts a token, spread over 8 replicas: 58 layers of 7,168 entries in 2 B."""
    split = {"data_parallel_size": 8, "enable_expert_parallel": 1}
    assert sent(DEEPSEEK_V3, "decode", 10, 10, V3_SPAN, **split) == [
        ("all_to_all", 10 * 7168 * 2 * 8, 8, 2 * 58)
    ]
    assert sent(DEEPSEEK_V3, "decode", 10, 10, V3_SPAN, data_parallel_size=8) == [
        ("all_gather", 10 * 7168 * 2 * 8, 8, 2 * 58)
    ]


@pytest.mark.parametrize(
    ("config", "heads"),
    [(DEEPSEEK_V3, {1: "h16", 8: "h128"}), (LLAMA_8B, {1: "d128", 2: "d128"})],
)
def test_ranks_share_out_keys_and_not_arithmetic(
    config: dict[str, Any], heads: dict[int, str]
) -> None:
    """Each attends with the heads of all to its part of the keys."""
    one, parts = heads
    tp = 8 if config is DEEPSEEK_V3 else 16
    work = {
        n: [
            w
            for stage in decode_pass(
                model(config),
                Deployment(tensor_parallel_size=tp, decode_context_parallel_size=n), 3, 65536,
            ).stages
            for w in stage.attention.work
            if "decode" in w.kernel
        ]
        for n in (one, parts)
    }  # fmt: skip
    for alone, shared in zip(work[one], work[parts], strict=True):
        assert shared.flops == alone.flops
        assert shared.kv_bytes == alone.kv_bytes / parts
        assert alone.variant.startswith(heads[one])
        assert shared.variant.startswith(heads[parts])


def test_a_pipeline_decodes_as_many_batches_as_stages() -> None:
    """10 sequences over 4 stages: 3 of them a batch."""
    (_, *_, last) = decode_pass(model(LLAMA_8B), Deployment(pipeline_parallel_size=4), 10, 1).stages
    attention = next(w for w in last.attention.work if "decode" in w.kernel)
    assert attention.kv_bytes == 3 * 2 * 8 * 128 * 2
