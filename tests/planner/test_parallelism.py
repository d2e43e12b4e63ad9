"""What a rank holds, against vLLM's rules and against the whole."""

import pytest

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.formats.dtypes import kv_format
from planner.kv_cache import cache_terms, whole
from planner.parallelism import check, ring, shard, stage_sizes
from planner.tensors import Weight
from tests.planner.models import DEEPSEEK_V3, LLAMA_8B, model


@pytest.mark.parametrize(
    ("layers", "stages", "sizes"),
    [
        (32, 4, [8, 8, 8, 8]),
        (61, 4, [15, 15, 16, 15]),
        (62, 4, [15, 16, 16, 15]),
        (63, 4, [16, 16, 16, 15]),
        (5, 2, [3, 2]),
    ],
)
def test_stages_are_dealt_as_vllm_deals_them(layers: int, stages: int, sizes: list[int]) -> None:
    assert stage_sizes(layers, stages) == sizes


def per_token(config: dict[str, object], tp: int) -> int:
    terms = cache_terms(whole(model(config)), kv_format("bf16"), tensor_parallel_size=tp)
    return sum(term.bytes_per_entry for term in terms)


def test_kv_heads_replicate_past_their_number() -> None:
    assert [per_token(LLAMA_8B, tp) for tp in (1, 2, 8, 16, 32)] == [
        131072,
        65536,
        16384,
        16384,
        16384,
    ]


def test_a_latent_is_replicated_on_every_rank() -> None:
    assert {per_token(DEEPSEEK_V3, tp) for tp in (1, 2, 8, 16)} == {61 * 576 * 2}


def test_decode_context_parallel_divides_the_tokens() -> None:
    terms = cache_terms(whole(model(DEEPSEEK_V3)), kv_format("bf16"), token_split=8)
    assert sum(t.bytes(8000) for t in terms) == 61 * 576 * 2 * 1000


def test_experts_spread_whole_or_in_slices() -> None:
    experts = Weight("experts.up_proj", (2048, 7168), "expert", "column", copies=256, active=8)
    eight = Deployment(tensor_parallel_size=8)
    assert shard(experts, eight).shape == (256, 7168)
    assert shard(experts, eight).copies == 256
    spread = shard(experts, Deployment(tensor_parallel_size=8, enable_expert_parallel=True))
    assert (spread.shape, spread.copies) == ((2048, 7168), 32)
    attention_dp = Deployment(data_parallel_size=16, enable_expert_parallel=True)
    assert shard(experts, attention_dp).copies == 16


def test_vocabulary_is_padded_to_64_before_it_is_split() -> None:
    head = Weight("lm_head", (50257, 1024), "embedding", "vocab")
    assert shard(head, Deployment(tensor_parallel_size=4)).shape == (50304 // 4, 1024)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tensor_parallel_size": 3}, "does not divide num_attention_heads 32"),
        ({"tensor_parallel_size": 1000}, "8 with data_parallel_size 125"),
        ({"pipeline_parallel_size": 33}, "more than the model's 32 layers"),
        ({"enable_expert_parallel": True}, "no routed experts"),
        (
            {"tensor_parallel_size": 8, "decode_context_parallel_size": 2},
            "decode_context_parallel_size 2 needs KV heads",
        ),
    ],
)
def test_deployments_that_contradict_the_model(changes: dict[str, object], words: str) -> None:
    with pytest.raises(PlanRefused, match=words):
        check(model(LLAMA_8B), Deployment(**changes))


def test_ring_passes_every_other_block_once() -> None:
    found = ring(bytes_per_token_per_layer=4096, tokens=131072, context_parallel_size=8)
    assert found.block_tokens == 16384
    assert found.bytes_per_layer == 7 * 16384 * 4096


def test_a_ring_is_paced_by_its_longest_block() -> None:
    """Ten tokens on four ranks: 3, 3, 3 and 1."""
    found = ring(bytes_per_token_per_layer=100, tokens=10, context_parallel_size=4)
    assert (found.block_tokens, found.bytes_per_step, found.steps) == (3, 300, 3)


def test_the_fullest_rank_holds_what_does_not_divide() -> None:
    """Ten rows or columns on four ranks: 3, 3, 3 and 1."""
    four = Deployment(tensor_parallel_size=4)
    assert shard(Weight("up_proj", (10, 6), split="column"), four).shape == (3, 6)
    assert shard(Weight("down_proj", (6, 10), split="row"), four).shape == (6, 3)
