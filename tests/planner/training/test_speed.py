"""Time and FLOPs of a step against hand counts, torch's own FLOP counter and published runs."""

from dataclasses import replace
from typing import Any

import pytest

from planner.calibration import Calibration, KernelPoint, MemoryCalibration, Roofs
from planner.hardware import gpu_calibrated
from planner.hf_config import parse
from planner.offer import Offer
from planner.training.compute import ATTENTION_BACKWARD
from planner.training.explain import derivation
from planner.training.plan import TrainingPlan, plan_training
from planner.training.recipe import Lora, Recipe
from planner.training.speed import StepTime, step_time
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of
from tests.planner.models import LLAMA_8B

MATRICES = 8_030_261_248 - 128256 * 4096 - 65 * 4096
HEAD = 128256 * 4096
SCORES = 32 * 2 * 2 * 32 * 128 * (4096 + 1) / 2
"""Forward FLOPs of attention per token at 4,096: 32 layers, two products, causal."""


def planned(config: Any = LLAMA_8B, **recipe: Any) -> TrainingPlan:
    return plan_training(parse(config), load_gpu("h100-sxm5-80gb"), Recipe(**recipe))


def timed(**recipe: Any) -> StepTime:
    plan = planned(**recipe)
    return step_time(plan, speed_of(plan.gpu))


def test_flash_attention_computes_its_scores_again_and_lora_saves_nothing_there() -> None:
    """Per token: 2 FLOPs a matrix element in each of forward, inputs' and weights' gradients."""
    whole, lora = timed(), timed(lora=Lora())
    assert whole.hardware_flops == pytest.approx(4096 * (6 * MATRICES + 3.5 * SCORES), rel=1e-6)
    assert lora.model_flops == pytest.approx(4096 * (4 * MATRICES + 3 * SCORES), rel=1e-6)
    assert lora.hardware_flops == pytest.approx(4096 * (4 * MATRICES + 3.5 * SCORES), rel=1e-6)


def test_four_bit_matrices_are_written_out_in_every_pass() -> None:
    """0.516 B read and 2 written a parameter, in three passes of each of eight micro-batches."""
    recipe = {"gradient_accumulation_steps": 8, "recomputation": "full"}
    plan = planned(lora=Lora(base="nf4"), **recipe)
    speed = speed_of(plan.gpu)
    more = step_time(plan, speed).compute_s - timed(lora=Lora(), **recipe).compute_s
    moved = (2.5 + 0.127 / 8) * (MATRICES - HEAD)
    expected = 1.2 * 8 * 3 * moved / speed.roofs.copy_bytes_per_s
    assert more == pytest.approx(expected, rel=1e-3)


def test_eight_bit_matrices_are_written_out_backward_only() -> None:
    """A byte read and two written a parameter, once a micro-batch, recomputed or not."""
    recipe = {"gradient_accumulation_steps": 8, "recomputation": "full"}
    plan = planned(lora=Lora(base="int8"), **recipe)
    speed = speed_of(plan.gpu)
    more = step_time(plan, speed).compute_s - timed(lora=Lora(), **recipe).compute_s
    expected = 1.2 * 8 * 3 * (MATRICES - HEAD) / speed.roofs.copy_bytes_per_s
    assert more == pytest.approx(expected, rel=1e-3)


def test_recomputation_repeats_the_forward_pass_of_the_layers() -> None:
    none, selective, full = (
        timed(recomputation=name) for name in ("none", "selective", "full")
    )  # fmt: skip
    assert none.model_flops == selective.model_flops == full.model_flops
    again = selective.hardware_flops - none.hardware_flops
    assert again == pytest.approx(4096 * SCORES, rel=1e-6)
    again = full.hardware_flops - none.hardware_flops
    assert again == pytest.approx(4096 * (2 * (MATRICES - HEAD) + SCORES), rel=1e-6)


def test_backward_products_are_those_that_torch_counts() -> None:
    torch = pytest.importorskip("torch")
    from torch.utils import flop_counter

    q, k, v = (torch.randn(1, 4, 64, 32, requires_grad=True) for _ in range(3))
    shapes = (q.shape, k.shape, v.shape)
    forward = flop_counter.sdpa_flop_count(*shapes)
    backward = flop_counter.sdpa_backward_flop_count(q.shape, *shapes)
    assert backward / forward == ATTENTION_BACKWARD["flash"]
    with flop_counter.FlopCounterMode(display=False) as there:
        out = torch.softmax(q @ k.transpose(-1, -2), -1) @ v
    with flop_counter.FlopCounterMode(display=False) as back:
        out.sum().backward()
    assert back.get_total_flops() / there.get_total_flops() == ATTENTION_BACKWARD["naive"]


def test_flops_of_a_step_are_six_per_parameter_and_token_and_attention() -> None:
    plan = planned(sequence_length=4096, data_parallel_size=2, gradient_accumulation_steps=3)
    time = step_time(plan, speed_of(plan.gpu))
    per_token = 6 * MATRICES + 3 * SCORES
    assert time.model_flops == pytest.approx(2 * 3 * 4096 * per_token, rel=1e-6)
    assert time.tokens == 2 * 3 * 4096
    assert time.tokens_per_s == pytest.approx(2 * 3 * 4096 / time.total_s)
    hours = 1e9 / (2 * 3 * 4096) * time.total_s / 3600
    for lot, charged in ((1, 2), (8, 8)):
        offer = Offer(gpu=plan.gpu, usd_per_gpu_hour=3.6, lot=lot)
        assert time.usd_per_billion_tokens(offer) == pytest.approx(3.6 * charged * hours)


def test_a_pipeline_idles_with_what_its_links_take() -> None:
    """4 stages, 8 micro-batches: 3 of 8 of computing, sums and sends."""
    time = timed(pipeline_parallel_size=4, tensor_parallel_size=2, gradient_accumulation_steps=8)
    assert time.stage_s > 0
    assert time.tensor_s > 0
    assert time.bubble_s == pytest.approx(3 / 8 * (time.compute_s + time.tensor_s + time.stage_s))


def test_the_derivation_says_what_is_recomputed() -> None:
    """Nothing; the core of attention, which is the scores' (Korthikanti et al. 2022); or all."""
    core = ["full layer: softmax's probabilities", "full layer: probabilities, cast"]
    again = {
        kind: [
            step.label.removesuffix(" (recomputed)")
            for step in derivation(planned(recomputation=kind, attention="naive"))
            if step.label.endswith(" (recomputed)")
        ]
        for kind in ("none", "selective", "full")
    }
    assert again["none"] == []
    assert again["selective"] == core
    assert len(again["full"]) == 10
    assert set(core) < set(again["full"])


@pytest.mark.parametrize(
    ("gpu", "recipe", "low", "high"),
    [
        ("h100-sxm5-80gb", {"data_parallel_size": 8, "micro_batch_size": 2}, 5762, 6667),
        ("a100-sxm4-80gb", {"data_parallel_size": 64}, 2876, 2973),
    ],
)
def test_published_throughput_lies_in_the_range(
    gpu: str, recipe: dict[str, Any], low: int, high: int
) -> None:
    """torchtitan, Llama 3 8B, FSDP2, 8,192 tokens (docs/performance.md), tokens/s per GPU."""
    r = Recipe(sharding="fsdp2", sequence_length=8192, recomputation="selective", **recipe)
    plan = plan_training(parse(LLAMA_8B), load_gpu(gpu), r)
    time = step_time(plan, speed_of(plan.gpu))
    slowest, fastest = (time.tokens / s / r.gpus for s in (time.high_s, time.low_s))
    assert slowest <= high
    assert low <= fastest


@pytest.mark.parametrize("gpu", ["h100-sxm5-80gb", "a100-sxm4-80gb", "t4"])
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32", "fp8"])
def test_no_step_is_faster_than_the_peak_of_its_precision(gpu: str, precision: str) -> None:
    plan = plan_training(
        parse(LLAMA_8B), load_gpu(gpu), Recipe(precision=precision, sequence_length=8192)
    )
    time = step_time(plan, speed_of(plan.gpu))
    assert 0 < time.mfu <= time.hfu < 1
    assert time.hfu * time.total_s / time.low_s < 1


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_measured_card_is_used_by_its_published_peak(precision: Any) -> None:
    """Nobody measured its 32-bit rate: what is published of it, cut as for other cards."""
    gpu = load_gpu("h100-sxm5-80gb")
    roofs = Roofs(read_bytes_per_s=3e12, copy_bytes_per_s=3e12, bf16_flops_per_s=6.6e14)
    point = KernelPoint(
        kernel="matmul", variant="bf16", bound="compute", ideal_s=1e-3, measured_s=1e-3
    )
    measured = gpu_calibrated(
        gpu,
        Calibration(
            gpu_name="H100", date="2026-11-01", memory_bytes=gpu.memory_bytes,
            memory=MemoryCalibration(label="measured"), roofs=roofs, points=(point,),
        ),
    )  # fmt: skip
    plan = plan_training(parse(LLAMA_8B), measured, Recipe(precision=precision))
    time = step_time(plan, speed_of(plan.gpu))
    assert time.peak_flops_per_s == {"bf16": 989e12, "fp32": 66.91e12}[precision]
    assert time.hfu * time.total_s / time.low_s < 1


def test_the_precision_decides_not_the_file() -> None:
    """H100: 989 TFLOP/s in bf16, 66.9 outside tensor cores: 15 times as long at equal shares."""
    times = [
        step_time(plan, speed_of(plan.gpu)).compute_s
        for plan in (
            planned({**LLAMA_8B, "torch_dtype": dtype}, precision=precision)
            for precision in ("bf16", "fp32")
            for dtype in ("bfloat16", "float32")
        )
    ]
    assert times[0] == times[1]
    assert times[2] == times[3] >= 6 * 7e9 * 4096 / 66.91e12
    assert 5 < times[2] / times[0] < 15


def test_a_quantised_file_is_trained_in_the_recipe_s_precision() -> None:
    """DeepSeek-V3's file is fp8; bf16 training of it does not compute in fp8."""
    config = load_model_config("deepseek-v3")
    plain = {k: v for k, v in config.items() if k != "quantization_config"}
    times = [
        step_time(plan, speed_of(plan.gpu)).compute_s
        for plan in (planned(c, data_parallel_size=8) for c in (config, plain))
    ]
    assert times[0] == times[1]


def test_rates_of_a_step_by_hand() -> None:
    """80,000 tokens in 8 s: half of data_s is hidden. FLOPs are of all eight GPUs."""
    time = replace(
        timed(), compute_s=6.0, tensor_s=0.5, ring_s=0.0, stage_s=0.5, data_s=1.0, bubble_s=0.5,
        optimizer_s=0.0, transfers=(), tokens=80_000, gpus=8, model_flops=3.2e16,
        hardware_flops=4e16, peak_flops_per_s=1e15,
    )  # fmt: skip
    assert time.tokens_per_s == pytest.approx(10_000)
    assert (time.mfu, time.hfu) == pytest.approx((0.5, 0.625))
