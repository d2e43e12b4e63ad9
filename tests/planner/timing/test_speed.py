"""Whose efficiency a card is given, and what that does to its times and its place in a search."""

import pytest

from planner.deployment import Deployment
from planner.hf_config import parse
from planner.offer import Offer
from planner.search.data import row
from planner.search.report import name, tpot
from planner.search.search import search
from planner.search.space import Space, Target
from planner.timing.latency import Request, latency
from presets.gpus import all_gpus, load_gpu
from presets.models import load_model_config
from presets.speed import reference, speed_of


@pytest.mark.parametrize(
    ("gpu_id", "numbers", "rate"),
    [
        ("mi325x", "bf16", 616e12 / 1.45),
        ("mi325x", "fp8", 1143e12 / 1.45),
        ("a100-sxm4-80gb", "bf16", 271.2e12),
        ("gaudi-2", "bf16", 429.3e12),
        ("gaudi-3", "bf16", 1288.8e12),
    ],
)
def test_published_rates_are_reached(gpu_id: str, numbers: str, rate: float) -> None:
    """AMD's typical attained FLOPs (2026-10-06) and the MAMF table of ml-engineering."""
    found = speed_of(load_gpu(gpu_id))
    assert found.basis == "published"
    assert found.roofs.flops_per_s(numbers) == pytest.approx(rate, rel=0.01)


def test_mi300x_sustains_what_an_independent_study_measured() -> None:
    """arXiv 2510.27583: 45 % of the peaks, 81 % of 5.3 TB/s; AMD's best bf16 matmul 708 TFLOP/s."""
    known, found = reference().cards["mi300x"], speed_of(load_gpu("mi300x"))
    slower = known.slowdown
    assert found.roofs.read_bytes_per_s * slower == pytest.approx(4.3e12, rel=0.01)
    assert found.roofs.flops_per_s("bf16") * slower == pytest.approx(0.45 * 1307.4e12, rel=0.001)
    assert found.roofs.flops_per_s("bf16") * slower / found.low > 708e12
    assert "rocm.blogs.amd.com" in found.source


@pytest.mark.parametrize(("depth", "rate"), [(4096, 44.14), (8192, 42.36)])
def test_strix_halo_generates_as_llama_bench_measured(depth: int, rate: float) -> None:
    """gpt-oss-120b, tg32 at a depth (github.com/lhl/strix-halo-testing issue 33). Its prompts fall
    from 998 tokens a second at no depth to 827 at 4,096 and 704 at 8,192, and nothing here was
    fitted to what depth costs."""
    model, gpu = parse(load_model_config("gpt-oss-120b")), load_gpu("radeon-8060s-128gb")
    runs = Deployment(weights_dtype="mxfp4_moe")
    asked = Request(prompt_tokens=depth, output_tokens=32)
    found = latency(model, gpu, runs, speed_of(gpu), asked, 1)
    assert found.tpot.seconds == pytest.approx(1 / rate, rel=0.1)
    chunks = {4096: (998.2, 911), 8192: (998.2, 911, 826.6, 763)}[depth]
    assert found.ttft.seconds == pytest.approx(sum(2048 / each for each in chunks), rel=0.15)


def test_other_vendors_without_a_measurement_are_taken_at_the_slow_end() -> None:
    known = reference()
    for gpu in all_gpus():
        if gpu.memory_bandwidth_bytes_per_s is None:
            continue
        found = speed_of(gpu)
        borrowed = gpu.memory_bandwidth_bytes_per_s * known.read_share
        if gpu.id == "h200-sxm-141gb":
            assert found.basis == "calibrated"
        elif gpu.vendor == "NVIDIA" and gpu.id not in known.cards:
            assert found.basis == "borrowed"
            assert found.roofs.read_bytes_per_s == pytest.approx(borrowed)
        elif gpu.id not in known.cards:
            assert found.basis == "unmeasured"
            assert found.roofs.read_bytes_per_s == pytest.approx(borrowed / 2)
            assert found.low < 0.5
            assert "not measured on this card" in found.source


def test_a_search_says_which_cards_nobody_measured() -> None:
    offers = [Offer(gpu=load_gpu(i), usd_per_gpu_hour=2.0) for i in ("mi355x", "mi300x", "l40s")]
    target = Target(request=Request(prompt_tokens=1024, output_tokens=128), concurrency=4)
    model = parse(load_model_config("llama-3.1-8b"))
    found = search(model, offers, speed_of, target, Space(max_gpus=1))
    every = {c.offer.gpu.id: c for c in (*found.winners, *found.losers)}
    assert "efficiency not measured on this card" in name(every["mi355x"])
    assert "not measured" not in name(every["mi300x"])
    mine = every["mi300x"]
    assert (mine.time_low, mine.time_high) == (0.7, 1.4)
    ms = 1e3 * (mine.tpot_s or 0)
    assert tpot(mine, target) == f"{ms:.1f} ms ({0.7 * ms:.1f} to {1.4 * ms:.1f})"
    assert name(every["l40s"]).endswith("cache bf16 (own)")
    assert {row(c, target)["efficiency"] for c in every.values()} == {
        "unmeasured", "published", "borrowed",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("llama-3.1-8b", ()),
        ("qwen3-30b-a3b", ("expert routing",)),
        ("deepseek-v2-lite", ("latent attention", "expert routing")),
        ("deepseek-v3.2", ("latent attention", "chosen keys", "expert routing")),
        ("deepseek-v4-flash", ("chosen keys", "expert routing")),
    ],
)
@pytest.mark.parametrize("gpu_id", ["h200-sxm-141gb", "a100-sxm4-80gb", "mi210", "rtx-4090"])
def test_sources_are_those_of_kernels_that_the_model_runs(
    gpu_id: str, model: str, said: tuple[str, ...]
) -> None:
    found = speed_of(load_gpu(gpu_id)).source_for(parse(load_model_config(model)))
    parts = ("latent attention", "chosen keys", "expert routing")
    assert tuple(part for part in parts if part in found) == said
    assert "prefill attention: FlashAttention-3" in found
