"""Which deployments a search tries, and what each way of laying a model out is worth."""

import pytest

from planner.errors import PlanRefused
from planner.hardware import custom_gpu
from planner.hf_config import parse
from planner.offer import Offer
from planner.search.report import (
    name,
)
from planner.search.search import search
from planner.search.space import (
    IDEAL,
    Space,
    Target,
    deployments,
)
from planner.timing.latency import Request
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of
from tests.planner.models import preset
from tests.planner.search.cases import ALL, OFFERS, TARGET


def test_deployments_are_all_layouts_of_whole_machines() -> None:
    dense = list(deployments(preset("llama-3.1-8b"), Space(max_gpus=4, **ALL)))
    layouts = {
        (d.tensor_parallel_size, d.pipeline_parallel_size, d.data_parallel_size) for d in dense
    }
    assert layouts == {
        (1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 2),
        (4, 1, 1), (2, 2, 1), (2, 1, 2), (1, 4, 1), (1, 2, 2), (1, 1, 4),
    }  # fmt: skip
    assert len(dense) == len(layouts) * 4 * 2
    assert any(d.enable_expert_parallel for d in deployments(preset("qwen3-30b-a3b"), Space()))


def test_only_the_models_own_formats_unless_others_are_named() -> None:
    found = search(preset("llama-3.1-8b"), OFFERS, speed_of, TARGET, Space(max_gpus=2))
    everything = (*found.winners, *found.losers)
    assert {(c.weights, c.cache) for c in everything} == {("bf16", "bf16")}
    assert "weights bf16 (own), cache bf16 (own)" in name(found.winners[0])
    deepseek = search(preset("deepseek-v3"), OFFERS[:2], speed_of, TARGET, Space(max_gpus=8))
    assert {c.weights for c in (*deepseek.winners, *deepseek.losers)} == {"fp8_block"}


def test_formats_are_tried_only_where_a_card_has_kernels() -> None:
    """NVFP4 has none on AMD, and on Hopper, Ampere and Ada only weight-only ones."""
    found = search(preset("llama-3.1-8b"), OFFERS, speed_of, TARGET, Space(max_gpus=2, **ALL))
    tried = {(c.offer.gpu.id, c.deployment.weights_dtype) for c in (*found.winners, *found.losers)}
    assert ("mi300x", "nvfp4") not in tried
    assert ("mi300x", "fp8") in tried
    assert ("h100-sxm5-80gb", "nvfp4") in tried
    assert found.unsupported == ("Instinct MI300X has no kernels for nvfp4 weights",)
    for c in (*found.winners, *found.losers):
        if c.offer.gpu.id == "a100-pcie-80gb" and c.deployment.weights_dtype == "fp8":
            assert "weights fp8 weight-only" in name(c)
    only = Space(max_gpus=2, weights_dtypes=("nvfp4",))
    with pytest.raises(PlanRefused, match="no kernels for nvfp4"):
        search(preset("llama-3.1-8b"), OFFERS[3:4], speed_of, TARGET, only)


def test_what_cannot_be_tried_is_named_and_the_rest_is_tried() -> None:
    """A card without a bandwidth; and a checkpoint that does not say its layers' formats."""
    unknown = Offer(gpu=custom_gpu(80 * 10**9), usd_per_gpu_hour=1.0)
    found = search(
        preset("llama-3.1-8b"), (OFFERS[0], unknown), speed_of, TARGET, Space(max_gpus=2)
    )  # fmt: skip
    assert {c.offer.gpu.id for c in (*found.winners, *found.losers)} == {"h100-sxm5-80gb"}
    (reason,) = found.unsupported
    assert "no memory bandwidth is known" in reason
    both = Space(max_gpus=8, weights_dtypes=("auto", "fp8"))
    mixed = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}
    unsaid = parse({**load_model_config("minimax-m3"), "quantization_config": mixed})
    minimax = search(unsaid, OFFERS[1:2], speed_of, TARGET, both)
    assert {c.deployment.weights_dtype for c in (*minimax.winners, *minimax.losers)} == {"fp8"}
    assert any("name a weights dtype" in refusal.reason for refusal in minimax.refusals)


def test_tensor_parallel_stays_in_a_machine() -> None:
    """70 B in bf16 needs two of 96 GB: of machines with one GPU they are stages of a pipeline."""
    alone = Offer(gpu=load_gpu("gh200-96gb"), usd_per_gpu_hour=2.29)
    joined = Offer(gpu=load_gpu("h20-96gb"), usd_per_gpu_hour=2.29)
    target = Target(request=Request(prompt_tokens=512, output_tokens=64))
    found = search(
        preset("llama-3.1-70b"), (alone, joined), speed_of, target, Space(max_gpus=4)
    )  # fmt: skip
    every = (*found.winners, *found.losers)
    sizes = {
        gpu: {c.deployment.tensor_parallel_size for c in every if c.offer.gpu.id == gpu}
        for gpu in ("gh200-96gb", "h20-96gb")
    }
    assert sizes == {"gh200-96gb": {1}, "h20-96gb": {1, 2, 4}}
    pair = next(c for c in found.winners if c.offer.gpu.id == "gh200-96gb")
    assert "2 machines over a network" in name(pair)
    assert not any("machines" in name(c) for c in every if c.offer.gpu.id == "h20-96gb")


def test_a_cache_that_tensor_parallelism_copies_is_split_too() -> None:
    """Qwen3-30B-A3B has 4 KV heads: at 8 ranks two hold the same, DeepSeek's latent is on all."""
    qwen = {
        (d.tensor_parallel_size, d.decode_context_parallel_size)
        for d in deployments(preset("qwen3-30b-a3b"), Space(max_gpus=8))
    }
    assert qwen == {(1, 1), (2, 1), (4, 1), (8, 1), (8, 2)}
    latent = {
        (d.tensor_parallel_size, d.decode_context_parallel_size)
        for d in deployments(preset("deepseek-v3"), Space(max_gpus=4))
    }
    assert latent == {(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)}
    windowed = deployments(preset("gpt-oss-20b"), Space(max_gpus=16))
    assert all(d.decode_context_parallel_size == 1 for d in windowed)


def test_a_split_latent_serves_more_users() -> None:
    target = TARGET.model_copy(update={"ttft_p95_s": None, "tpot_s": None})
    space = Space(max_gpus=8, engines=("vllm", "sglang"), chunk_tokens=(4096,))
    found = search(preset("deepseek-v3"), OFFERS[1:2], speed_of, target, space)
    admitted = {
        c.deployment.decode_context_parallel_size: c.admitted
        for c in (*found.winners, *found.losers)
        if c.engine == "vllm"
        and c.deployment.tensor_parallel_size == 8
        and not c.deployment.enable_expert_parallel
    }
    assert admitted[8] > 4 * admitted[1] > 0
    assert not any(
        c.engine == "sglang" and c.deployment.decode_context_parallel_size > 1
        for c in (*found.winners, *found.losers)
    )
    assert any("SGLang is not described with decode" in r.reason for r in found.refusals)


def test_a_ring_shortens_long_prompts_on_plain_bytes_only() -> None:
    long = TARGET.model_copy(update={
        "request": Request(prompt_tokens=120_000, output_tokens=100), "concurrency": 1,
        "ttft_p95_s": None, "tpot_s": None,
    })  # fmt: skip
    space = Space(max_gpus=4, engines=(IDEAL, "vllm"), rings=(1, 4), pipeline=False)
    found = search(preset("llama-3.1-8b"), OFFERS[:1], speed_of, long, space)
    times = {
        (c.engine, c.deployment.tensor_parallel_size, c.deployment.context_parallel_size): c.alone_s
        for c in found.winners
        if c.deployment.data_parallel_size == 1
    }
    assert times[IDEAL, 1, 4] < 0.4 * times[IDEAL, 1, 1]
    assert ("vllm", 1, 4) not in times
    assert any("vLLM is not described with a prefill ring" in r.reason for r in found.refusals)
    one = found.winners[0]
    if one.deployment.context_parallel_size > 1:
        assert "in a ring of 4" in name(one)
