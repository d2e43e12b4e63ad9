"""Seconds on the links of a step against bytes and rates by hand."""

from typing import Any

import pytest

from planner.hf_config import parse
from planner.kinds.mlp import MoE
from planner.training.plan import plan_training
from planner.training.recipe import Recipe
from planner.training.speed import StepTime, step_time
from presets.gpus import load_gpu
from presets.models import load_model_config
from presets.speed import speed_of
from tests.planner.models import LLAMA_8B

P = 8_030_261_248
ROOT = (2 * 128256 + 1) * 4096
"""Embedding, head and last norm, which FSDP2's root has."""
LIVE = 10**9
"""DeepSpeed's default of stage3_max_live_parameters."""
NVLINK = 450e9
"""One direction of an H100's NVLink."""
START_S = 10e-6


def timed(gpu: str = "h100-sxm5-80gb", **recipe: Any) -> StepTime:
    plan = plan_training(parse(LLAMA_8B), load_gpu(gpu), Recipe(**recipe))
    return step_time(plan, speed_of(plan.gpu))


@pytest.mark.parametrize(
    ("sharding", "moved"),
    [
        ("ddp", lambda m: 2),
        ("zero1", lambda m: 3),
        ("zero2", lambda m: 2 * m + 1),
        ("zero3", lambda m: (3 - LIVE / P) * m),
        ("fsdp2", lambda m: (3 - ROOT / P) * m),
    ],
)
@pytest.mark.parametrize("batches", [1, 8, 32])
def test_data_parallel_ranks_move_so_many_times_the_parameters(
    sharding: str, moved: Any, batches: int
) -> None:
    """A reduce-scatter or gather of 2 P bytes over 8 GPUs at 80 % of NVLink: 7/8 leave each.

    ZeRO (Rajbhandari et al. 2020, 7) has 2 P without and up to stage 2, 3 P at stage 3; DeepSpeed
    all-reduces up to stage 2, and both it and FSDP2 keep what backward starts with.
    """
    time = timed(sharding=sharding, data_parallel_size=8, gradient_accumulation_steps=batches)
    once = 2 * P * 7 / 8 / (0.8 * NVLINK)
    assert time.data_s == pytest.approx(moved(batches) * once, rel=2e-3)


def test_fsdp_in_a_pipeline_reduces_after_the_last_micro_batch() -> None:
    """Half of the layers and the head on four ranks: one reduction and one gather of 8 batches.

    Nine gathers where layers are resharded after forward, and the root with them.
    """
    recipe = {"sharding": "fsdp2", "data_parallel_size": 4, "pipeline_parallel_size": 2}
    stage = 2 * ((P - 2 * 128256 * 4096) / 2 + 128256 * 4096)
    once = stage * 3 / 4 / (0.8 * NVLINK)
    for resharded, times in (("default", 2), ("never", 2), ("always", 10)):
        time = timed(**recipe, gradient_accumulation_steps=8, reshard_after_forward=resharded)
        assert time.data_s == pytest.approx(times * once, rel=2e-3)


def test_a_later_stage_may_have_the_most_experts() -> None:
    """The first three of DeepSeek-V3's 61 layers have none."""
    config = load_model_config("deepseek-v3")
    recipe = {"data_parallel_size": 8, "expert_parallel_size": 8, "precision": "bf16"}
    model, gpu = parse(config), load_gpu("h100-sxm5-80gb")
    plan = plan_training(
        model, gpu, Recipe(**recipe, pipeline_parallel_size=2, gradient_accumulation_steps=1)
    )
    layers = [
        sum(p.count for p in stage.parts if isinstance(p.group.mlp, MoE)) for stage in plan.stages
    ]
    assert layers[1] > layers[0]
    sent = 4096 * 7168 * 2 * 8
    once = 2 * START_S + sent * 7 / 8 / (0.9 * NVLINK)
    time = step_time(plan, speed_of(gpu))
    assert time.tensor_s == pytest.approx(2 * 2 * layers[1] * once, rel=1e-6)


def test_gradients_of_32_bit_training_take_twice_the_time() -> None:
    half, whole = (timed(precision=p, data_parallel_size=8).data_s for p in ("bf16", "fp32"))
    assert whole == pytest.approx(2 * half, rel=1e-3)


def test_a_context_ring_passes_keys_and_values_three_times() -> None:
    """256 tokens of 4,096 B a layer over PCIe, forward, backward and their gradients.

    Attention of 512 tokens hides a part of it, of 262,144 all: it grows with the square.
    """
    send = 25e-6 / 2 + 256 * 2 * 8 * 128 * 2 / (32e9 * 0.9)
    short, long = (
        timed("l40s", context_parallel_size=2, sequence_length=n).ring_s for n in (512, 262144)
    )
    assert 0.5 * 3 * 32 * send < short <= 3 * 32 * send
    assert long == 0
    assert timed("l40s").ring_s == 0


def test_stages_hand_on_activations_and_their_gradients() -> None:
    """Both ways for each of 8 micro-batches: 4,096 tokens of 8,192 B, twice with two chunks."""
    send = START_S / 2 + 4096 * 4096 * 2 / (0.9 * NVLINK)
    pipeline = {"pipeline_parallel_size": 2, "gradient_accumulation_steps": 8}
    assert timed(**pipeline).stage_s == pytest.approx(2 * 8 * send)
    chunks = timed(**pipeline, pipeline_schedule="interleaved", virtual_stages=2)
    assert chunks.stage_s == pytest.approx(2 * 2 * 8 * send)
    assert timed().stage_s == 0
