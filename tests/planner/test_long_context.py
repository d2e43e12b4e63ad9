"""How far positions reach, and what length and rings cost."""

import pytest

from planner.deployment import Deployment
from planner.findings import findings
from planner.hf_config import parse
from planner.long_context import costs, ring_cost
from planner.plan import make_plan
from planner.positions import reach
from planner.timing.passes import attention_share
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of
from tests.planner.models import LLAMA_8B, model

GPU = load_gpu("h200-sxm-141gb")


@pytest.mark.parametrize(
    ("name", "method", "trained", "supported"),
    [
        ("llama-2-7b-hf", "default", 4096, 4096),
        ("llama-3.1-8b", "llama3", 8192, 131072),
        ("llama-4-scout-17b-16e-instruct", "llama3", 8192, 10485760),
        ("deepseek-v3", "yarn", 4096, 163840),
        ("gpt-oss-120b", "yarn", 4096, 131072),
        ("kimi-k2.5", "yarn", 4096, 262144),
        ("phi-4-mini-instruct", "longrope", 4096, 131072),
        ("gemma-3-27b-it", "linear", None, 131072),
        ("bloom-7b1", "alibi", None, None),
        ("opt-6.7b", "learned", 2048, 2048),
        ("mamba-2.8b-hf", "none", None, None),
    ],
)
def test_reach_of_published_models(
    name: str, method: str, trained: int | None, supported: int | None
) -> None:
    """The supported lengths are those of the model cards."""
    found = reach(parse(load_model_config(name)))
    assert (found.method, found.trained_tokens, found.supported_tokens) == (
        method, trained, supported,
    )  # fmt: skip
    assert found.hard == (method == "learned")


@pytest.mark.parametrize("kind", ["linear", "dynamic", "ntk"])
def test_a_factor_multiplies_the_stated_length(kind: str) -> None:
    """LongChat's 4,096 x 8, as vLLM derives it."""
    scaling = {"type": kind, "factor": 8.0}
    found = reach(model(LLAMA_8B, max_position_embeddings=4096, rope_scaling=scaling))
    assert (found.trained_tokens, found.supported_tokens) == (4096, 32768)


def test_vllms_own_name_for_yarn_is_yarn() -> None:
    scaling = {"type": "deepseek_yarn", "factor": 40.0, "original_max_position_embeddings": 4096}
    found = reach(model(LLAMA_8B, max_position_embeddings=163840, rope_scaling=scaling))
    assert (found.method, found.trained_tokens, found.supported_tokens) == ("yarn", 4096, 163840)


def test_windows_pass_information_on_layer_by_layer() -> None:
    """Mistral-7B: 32 layers of 4,096 tokens; each reaches 4,095 further back."""
    found = reach(parse(load_model_config("mistral-7b-v0.1")))
    assert found.seen_by_windows == 32 * 4095 + 1
    assert reach(model(LLAMA_8B)).seen_by_windows is None


def test_plans_beyond_the_reach_say_so() -> None:
    def found(name: str, context: int) -> dict[str, str]:
        work = Workload(context=context)
        plan = make_plan(parse(load_model_config(name)), GPU, Deployment(), work)
        return {finding.code: finding.severity for finding in findings(plan)}

    assert found("llama-3.1-8b", 140_000)["beyond_stated_context"] == "warning"
    assert found("llama-3.1-8b", 100_000)["beyond_trained_context"] == "info"
    assert "beyond_trained_context" not in found("llama-3.1-8b", 8192)
    assert found("opt-6.7b", 4096)["beyond_stated_context"] == "error"
    assert "beyond_stated_context" not in found("bloom-7b1", 100_000)


def test_windows_that_cut_the_context_are_said() -> None:
    """Mistral-7B: 32 layers of 4,096 tokens pass on 32 x 4,095 + 1 = 131,041."""

    def found(name: str, context: int) -> dict[str, str]:
        work = Workload(context=context)
        plan = make_plan(parse(load_model_config(name)), GPU, Deployment(), work)
        return {finding.code: finding.message for finding in findings(plan)}

    assert not {"windows_only", "beyond_windows"} & set(found("mistral-7b-v0.1", 4096))
    within, beyond = found("mistral-7b-v0.1", 131_041), found("mistral-7b-v0.1", 131_042)
    assert "further back than 4,096 tokens" in within["windows_only"]
    assert "none from beyond 131,041" in within["windows_only"]
    assert "of 131,042 tokens the first 1 " in beyond["beyond_windows"]
    assert "windows_only" not in beyond
    for name in ("gemma-3-27b-it", "llama-3.1-8b", "mamba-2.8b-hf"):
        assert not {"windows_only", "beyond_windows"} & set(found(name, 200_000))


def test_chunks_are_no_remedy_for_quadratic_attention() -> None:
    plan = make_plan(model(LLAMA_8B), GPU, Deployment(), Workload(context=120_000))
    said = {f.code: f.message for f in findings(plan)}["attention_bound_prefill"]
    assert "reuse prefixes. Chunks let other requests' steps in between" in said
    assert "leave that arithmetic as it is" in said
    whole, chunked = (
        attention_share(plan.model, Deployment(max_num_batched_tokens=n), 120_000)
        for n in (120_000, 2_000)
    )
    assert chunked == pytest.approx(whole, rel=0.01)


def test_attention_grows_with_the_square_and_the_cache_with_the_length() -> None:
    speed = speed_of(GPU)
    short, long = costs(model(LLAMA_8B), GPU, Deployment(), speed, (65536, 131072))
    assert long.cache_bytes == 2 * short.cache_bytes == 131072 * 131_072
    assert 2.5 < long.prefill_s / short.prefill_s < 4
    assert long.decode_s > short.decode_s
    # 4 x 4,096 x n (n + 1) / 2 x 32 layers over that plus 2 x 6.98e9 n and the head once.
    n = 131072
    attention = 4 * 4096 * 32 * n * (n + 1) / 2
    rest = 2 * 6_979_321_856 * n + 16 * 2 * 525_336_576
    assert long.attention_share == pytest.approx(attention / (attention + rest), rel=1e-6)


@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_a_ring_passes_all_but_its_own_block(ranks: int) -> None:
    """Llama-3.1-8B: 131,072 B a token; each rank sends (ranks - 1) blocks of n / ranks tokens."""
    tokens = 2**20
    found = ring_cost(
        model(LLAMA_8B), GPU, Deployment(context_parallel_size=ranks), speed_of(GPU), tokens
    )
    assert found is not None
    assert found.sent_bytes == (ranks - 1) * tokens // ranks * 131_072
    assert found.plain_slowdown == pytest.approx(2 - 1 / ranks)
    assert found.exposed_s == 0
    assert found.send_s > found.sent_bytes / 450e9


def test_a_ring_of_short_blocks_waits_for_its_links() -> None:
    slow = GPU.model_copy(update={"nvlink_bidirectional_bytes_per_s": 10**9})
    found = ring_cost(
        model(LLAMA_8B), slow, Deployment(context_parallel_size=4), speed_of(slow), 4096
    )
    assert found is not None
    assert found.exposed_s > 0


def test_stripes_halve_what_contiguous_blocks_take() -> None:
    """Brute force of 8 ranks: each step waits for the busiest rank's block of the causal mask."""
    ranks, block = 8, 64

    def pairs(queries: range, keys: range) -> int:
        return sum(1 for q in queries for k in keys if k <= q)

    blocks = [range(r * block, (r + 1) * block) for r in range(ranks)]
    stripes = [range(r, ranks * block, ranks) for r in range(ranks)]
    times = []
    for owned in (blocks, stripes):
        steps = (
            max(pairs(owned[r], owned[(r - step) % ranks]) for r in range(ranks))
            for step in range(ranks)
        )
        times.append(sum(steps))
    found = ring_cost(
        model(LLAMA_8B), GPU, Deployment(context_parallel_size=ranks), speed_of(GPU), 8192
    )
    assert found is not None
    assert found.plain_slowdown == pytest.approx(times[0] / times[1], rel=0.03)


def test_without_a_ring_there_is_no_ring_cost() -> None:
    assert ring_cost(model(LLAMA_8B), GPU, Deployment(), speed_of(GPU), 8192) is None


def test_no_length_beyond_the_stated_one_is_called_trained() -> None:
    """Llama-3.1 was trained at up to 131,072 tokens; vLLM refuses more without an override."""
    work = Workload(context=200_000, concurrency=2)
    llama = parse(load_model_config("llama-3.1-8b"))
    found = {f.code: f.message for f in findings(make_plan(llama, GPU, Deployment(), work))}
    said = found["beyond_stated_context"]
    assert "engines refuse longer sequences unless told to override that" in said
    assert "trained further at up to the stated length" in said
