"""Replicas under load against published throughput and against the simulated scheduler."""

import random
import statistics

import numpy as np
import pytest

from planner.admission.admission import Asked
from planner.admission.rules import rule_of
from planner.deployment import Deployment
from planner.hf_config import parse
from planner.serving.replica import replica_of
from planner.serving.requests import Request as Served
from planner.serving.simulator import simulate
from planner.timing.latency import Latency, Request, latency
from planner.timing.steady import steady_load
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of


def loaded(
    name: str, gpu_id: str, prompt: int, output: int, users: int, **sizes: object
) -> Latency:
    gpu = load_gpu(gpu_id)
    return latency(
        parse(load_model_config(name)), gpu, Deployment(**sizes), speed_of(gpu),  # type: ignore[arg-type]
        Request(prompt_tokens=prompt, output_tokens=output), users,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "gpu_id", "tp", "users", "prompt", "output", "published"),
    [
        ("llama-2-7b-hf", "h100-sxm5-80gb", 1, 768, 128, 128, 19694),
        ("llama-2-7b-hf", "h100-sxm5-80gb", 1, 112, 128, 2048, 6818),
        ("llama-2-7b-hf", "h100-sxm5-80gb", 1, 80, 2048, 128, 2244),
        ("llama-2-7b-hf", "h100-sxm5-80gb", 1, 48, 2048, 2048, 2740),
        ("llama-2-70b-hf", "h100-sxm5-80gb", 2, 1024, 128, 128, 2 * 2657),
        ("llama-2-70b-hf", "h100-sxm5-80gb", 2, 96, 2048, 128, 2 * 306),
        ("llama-2-7b-hf", "a100-sxm4-80gb", 1, 384, 128, 128, 5586),
        ("llama-2-7b-hf", "a100-sxm4-80gb", 1, 60, 128, 2048, 1928),
        ("llama-2-7b-hf", "a100-sxm4-80gb", 1, 52, 2048, 128, 591),
        ("llama-2-70b-hf", "a100-sxm4-80gb", 4, 1280, 128, 128, 4 * 670),
        ("llama-2-70b-hf", "a100-sxm4-80gb", 4, 120, 2048, 128, 4 * 79),
    ],
)
def test_peak_throughput_that_tensorrt_llm_publishes(
    name: str, gpu_id: str, tp: int, users: int, prompt: int, output: int, published: int
) -> None:
    """TensorRT-LLM 0.6.1, docs/source/performance.md, FP8 on H100 and FP16 on A100.

    Left out: Llama-2-70B over 2,048 answers, which later versions' decode kernels for grouped
    heads made twice as fast.
    """
    number = "fp8" if "h100" in gpu_id else "auto"
    found = loaded(
        name, gpu_id, prompt, output, users,
        tensor_parallel_size=tp, weights_dtype=number, kv_cache_dtype=number,
    )  # fmt: skip
    assert found.output_tokens_per_s == pytest.approx(published, rel=0.25)


@pytest.mark.parametrize(
    ("name", "users", "prompt", "output", "published"),
    [
        ("llama-3.1-70b", 3200, 128, 2048, 16581.5),
        ("llama-3.1-70b", 1500, 128, 4096, 13667.3),
        ("llama-3.1-70b", 2000, 500, 2000, 13367.1),
        ("llama-3.1-70b", 1500, 2048, 2048, 8352.6),
        ("llama-3.1-405b", 1500, 128, 2048, 4275.0),
        ("llama-3.1-405b", 1500, 128, 4096, 3356.7),
        ("llama-3.1-405b", 2000, 500, 2000, 3201.4),
        ("llama-3.1-405b", 500, 2048, 2048, 2179.7),
    ],
)
def test_peak_throughput_that_amd_publishes(
    name: str, users: int, prompt: int, output: int, published: float
) -> None:
    """Eight MI300X, FP8 weights and cache, vLLM 0.9.0.1 (amd.com rocm-hub, 2025-06-18): one factor
    on all kernels is fitted to these eight rows."""
    found = loaded(
        name, "mi300x", prompt, output, users, tensor_parallel_size=8, weights_dtype="fp8",
        kv_cache_dtype="fp8", max_num_batched_tokens=16384,
    )  # fmt: skip
    assert found.output_tokens_per_s == pytest.approx(published, rel=0.35)


SHAPES = (
    (128, 128, 30000), (128, 2048, 3000), (128, 4096, 1500), (500, 2000, 3000), (1000, 1000, 3000),
    (1000, 2000, 1500), (2048, 128, 3000), (2048, 2048, 1500), (5000, 500, 1500),
    (20000, 2000, 1000),
)  # fmt: skip
"""Tokens of prompt and answer, and the requests sent at once."""


@pytest.mark.parametrize(
    ("name", "gpu_id", "tp", "weights", "rows"),
    [
        ("llama-3.1-8b", "h200-sxm-141gb", 1, "fp8",
         (27911, 26221, 18027, 20770, 17744, 16828, 3538, 12194, 3902, 1804)),
        ("llama-3.1-8b", "h100-sxm5-80gb", 1, "fp8",
         (28312, 22714, 14325, 17660, 15220, 13899, 3450, 9305, 3459, 1351)),
        ("llama-3.3-70b-instruct", "h200-sxm-141gb", 1, "fp8",
         (3803, 4336, 2872, 3666, 2909, 2994, 442, 2003, 566, 283)),
        ("llama-3.3-70b-instruct", "h100-sxm5-80gb", 2, "fp8",
         (6378, 6651, 4199, 5222, 4205, 4146, 762, 3082, 898, 437)),
        ("llama-3.1-405b", "h200-sxm-141gb", 8, "fp8",
         (3814, 5348, 4741, 4724, 3330, 3722, 456, 2948, 650, 505)),
        ("llama-3.1-405b", "h100-sxm5-80gb", 8, "fp8",
         (3627, 4340, 3116, 3994, 2919, 2895, 453, 2296, 610, 345)),
        ("llama-3.3-70b-instruct", "rtx-pro-6000-blackwell-server", 1, "nvfp4",
         (3264, 2422, 1349, 1856, 1787, 1594, 393, 1074, 401, 142)),
        ("llama-3.3-70b-instruct", "b200-sxm-180gb", 1, "nvfp4",
         (11147, 9922, 6831, 7762, 7007, 6271, 1339, 4783, 1459, 665)),
        ("llama-3.1-405b", "b200-sxm-180gb", 4, "nvfp4",
         (6281, 8020, 6345, 6244, 5209, 4933, 749, 4212, 1048, 672)),
    ],
)  # fmt: skip
def test_throughput_of_tensorrt_llm_1_0(
    name: str, gpu_id: str, tp: int, weights: str, rows: tuple[int, ...]
) -> None:
    """Output tokens per second at maximum load (TensorRT-LLM 1.0, performance/perf-overview.md).

    As many users as its pool admits. Held back: nothing but the factor of B200 was fitted to these.
    """
    config = load_model_config(name)
    model, gpu = parse(config), load_gpu(gpu_id)
    sizes = {
        "tensor_parallel_size": tp, "weights_dtype": weights, "kv_cache_dtype": "fp8",
        "max_num_batched_tokens": 8192,
    }  # fmt: skip
    rule = rule_of("tensorrt-llm", model, config)
    ratios = []
    for (prompt, output, sent), published in zip(SHAPES, rows, strict=True):
        asked = Asked((gpu,), Deployment(**sizes), prompt + output, np.array([1]), (8192,))
        admitted = int(rule.admission(asked).admitted[0, 0, 0])
        found = loaded(name, gpu_id, prompt, output, min(admitted, sent, 2048), **sizes)
        ratios.append(found.output_tokens_per_s / published)
    assert statistics.median(ratios) == pytest.approx(1, abs=0.2)
    assert all(0.7 < ratio < 1.5 for ratio in ratios)


@pytest.mark.parametrize(
    ("users", "prompt", "output"),
    [(4, 2000, 100), (64, 128, 128), (256, 128, 128), (200, 128, 512), (64, 1000, 64)],
)
def test_short_prompts_share_steps_as_the_scheduler_lets_them(
    users: int, prompt: int, output: int
) -> None:
    """Users who send again as soon as they are answered, step by step, against the closed form.

    Answers differ in length, as users would otherwise stay in step with each other.
    """
    model, gpu = parse(load_model_config("llama-3.1-8b")), load_gpu("h100-sxm5-80gb")
    replica = replica_of(
        model, gpu, Deployment(), speed_of(gpu), max_num_seqs=256, max_model_len=8192,
        prefix_caching=False,
    )  # fmt: skip
    turns, draw = max(15, 1000 // users), random.Random(3)

    def answer() -> int:
        return draw.randint(1, 2 * output - 1)

    def after(request: Served, end: float) -> Served | None:
        if request.turn + 1 == turns:
            return None
        return Served(end, prompt, answer(), 0, 0, request.session, request.turn + 1)

    first = [Served(i * 1e-3, prompt, answer(), 0, 0, i, 0) for i in range(users)]
    seen = simulate(first, replica, after=after)
    found = loaded("llama-3.1-8b", "h100-sxm5-80gb", prompt, output, users)
    assert found.requests_per_s == pytest.approx(seen.requests_per_s, rel=0.2)


def test_chunks_with_room_for_one_prompt_are_as_before() -> None:
    given = {
        "users": 20, "output_tokens": 100, "computed_tokens": 2000, "chunks": 4, "prefill_s": 0.4,
        "decode_s": 0.01, "cache_s": 0.001,
    }  # fmt: skip
    assert steady_load(**given) == steady_load(**given, together=1, together_s=9.0)  # type: ignore[arg-type]


def test_more_room_for_prompts_never_costs_throughput() -> None:
    def rate(together: int) -> float:
        return float(
            steady_load(
                users=500, output_tokens=100, computed_tokens=100, chunks=1, prefill_s=0.01,
                decode_s=0.012, cache_s=0.002, together=together,
                together_s=0.008 + 0.002 * together,
            ).requests_per_s
        )  # fmt: skip

    rates = [rate(n) for n in (1, 2, 4, 8)]
    assert rates == sorted(rates)
    assert rates[3] == rate(64)


def test_stages_compute_prompts_side_by_side() -> None:
    """Four stages: prompts that fill all the time there is come out nearly four times as fast."""
    one, four = (
        loaded("llama-3.3-70b-instruct", "h200-sxm-141gb", 4000, 8, 400,
               pipeline_parallel_size=n, weights_dtype="fp8")
        for n in (1, 4)
    )  # fmt: skip
    assert one.load.saturated
    assert 3.2 < four.requests_per_s / one.requests_per_s < 4.1


def test_a_user_alone_waits_for_no_prompt() -> None:
    """Nothing stretches the time per token, and a cycle is one request."""
    found = loaded("llama-3.1-8b", "h100-sxm5-80gb", 30_000, 10, 1)
    assert found.load.tpot_s == pytest.approx(found.tpot.seconds)
    assert found.load.ttft_p95_s == pytest.approx(found.ttft.seconds)
    alone = found.ttft.seconds + 9 * found.tpot.seconds
    assert found.requests_per_s == pytest.approx(1 / alone)
    one = loaded("llama-3.1-8b", "h100-sxm5-80gb", 30_000, 1, 1)
    assert one.requests_per_s == pytest.approx(1 / one.ttft.seconds)
    assert one.load.tpot_s == pytest.approx(one.tpot.seconds)


@pytest.mark.parametrize(
    ("users", "prompt", "output", "within"),
    [
        (1, 30_000, 10, 0.002),
        (2, 30_000, 10, 0.01),
        (2, 8192, 256, 0.01),
        (4, 8192, 256, 0.01),
        (4, 2000, 100, 0.01),
        (8, 8192, 256, 0.01),
        (16, 4096, 256, 0.03),
    ],
)
def test_prompts_of_others_stretch_a_token_as_in_the_simulation(
    users: int, prompt: int, output: int, within: float
) -> None:
    model, gpu = parse(load_model_config("llama-3.1-8b")), load_gpu("h100-sxm5-80gb")
    replica = replica_of(
        model, gpu, Deployment(), speed_of(gpu), max_num_seqs=256, max_model_len=40_000,
        prefix_caching=False,
    )  # fmt: skip
    draw = random.Random(3)

    def answer() -> int:
        spread = 0 if prompt > 20_000 else output // 2
        return draw.randint(output - spread, output + spread)

    def after(request: Served, end: float) -> Served | None:
        if request.turn == 60:
            return None
        return Served(end, prompt, answer(), 0, 0, request.session, request.turn + 1)

    first = [Served(i * 1e-3, prompt, answer(), 0, 0, i, 0) for i in range(users)]
    seen = simulate(first, replica, after=after)
    found = loaded("llama-3.1-8b", "h100-sxm5-80gb", prompt, output, users)
    assert float(found.load.tpot_s) == pytest.approx(seen.tpot.mean, rel=within)
    assert found.requests_per_s == pytest.approx(seen.requests_per_s, rel=0.04)
