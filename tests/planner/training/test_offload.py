"""What crosses host link, host memory and NVMe in a step: bytes by hand, times as reported."""

from typing import Any

import pytest

from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.training.offload import Transfer, transfers
from planner.training.plan import TrainingPlan, plan_training
from planner.training.recipe import Lora, Recipe
from planner.training.speed import step_time
from presets.gpus import load_gpu
from presets.speed import speed_of
from tests.planner.models import LLAMA_8B

P = 8_030_261_248
ONCE_OF_ROOT = (2 * 128256 + 1) * 4096 / P
"""Embedding, head and last norm: what FSDP2's root gathers for one pass instead of two."""
ONCE_OF_ZERO = 10**9 / P
"""DeepSpeed's default of stage3_max_live_parameters."""


def planned(optimizer: str, parameters: str = "none", **recipe: Any) -> TrainingPlan:
    given = {"sharding": "zero3", "data_parallel_size": 2, **recipe}
    gpu = load_gpu(given.pop("gpu", "a100-sxm4-80gb"))
    places = {"offload_optimizer": optimizer, "offload_parameters": parameters}
    return plan_training(parse(LLAMA_8B), gpu, Recipe(**given, **places))


def moved(*places: str, **recipe: Any) -> dict[str, Transfer]:
    return {t.name.split()[0]: t for t in transfers(planned(*places, **recipe))}


@pytest.mark.parametrize(
    ("places", "recipe", "each"),
    [
        (("cpu",), {}, 2 + 2),
        (("nvme",), {}, 2 + 2),
        (("cpu",), {"gradient_accumulation_steps": 8}, 2 * 15 + 2),
        (("cpu",), {"gradient_accumulation_steps": 8, "sharding": "zero2"}, 2 * 15 + 2),
        (("cpu",), {"gradient_accumulation_steps": 8, "sharding": "zero1"}, 2 + 2),
        (("cpu", "cpu"), {}, 2 + 2 * (2 - ONCE_OF_ZERO)),
        (("cpu", "cpu"), {"gradient_accumulation_steps": 8}, 2 * 15 + 8 * 2 * (2 - ONCE_OF_ZERO)),
        (("none", "cpu"), {}, 2 * (2 - ONCE_OF_ZERO) + 2),
        (("cpu",), {"precision": "fp32"}, 4 + 4),
    ],
)
def test_bytes_over_a_gpu_s_host_link(
    places: tuple[str, ...], recipe: dict[str, Any], each: int
) -> None:
    """2 M and 2 M of a step (ZeRO-Offload 3.3), of this GPU's half; at 90 % of 32 GB/s."""
    link = moved(*places, **recipe)["Host"]
    assert link.bytes == pytest.approx(each * P / 2, rel=1e-6)
    assert link.seconds == pytest.approx(link.bytes / 28.8e9)


def test_adam_reads_and_writes_every_state_of_the_machine() -> None:
    """Gradient 4 read; master and two moments read and written, 24; 2 written for the GPU."""
    found = moved("cpu")["Optimizer"]
    assert found.bytes == pytest.approx(30 * P, rel=1e-6)
    given = moved("cpu", host_memory_bytes_per_s=200e9)["Optimizer"]
    assert given.seconds == pytest.approx(30 * P / 200e9)
    two_machines = moved("cpu", data_parallel_size=16)["Optimizer"]
    assert two_machines.bytes == pytest.approx(15 * P, rel=1e-6)


FSDP2: dict[str, Any] = {"sharding": "fsdp2"}
ADAPTERS = 41_943_040
"""Rank 16 beside all seven matrices of Llama-3.1-8B, as PEFT prints them."""


@pytest.mark.parametrize(
    ("recipe", "link", "host"),
    [
        ({}, 2 * 4 + 4 - 4 * ONCE_OF_ROOT, 4 + 2 * (4 + 8)),
        (
            {"gradient_accumulation_steps": 8},
            8 * (2 * 4 + 4 - 4 * ONCE_OF_ROOT), 28 + 7 * 3 * 4,
        ),
        ({"precision": "fp32"}, 2 * 4 + 4 - 4 * ONCE_OF_ROOT, 28),
        ({"master_weights": False}, 2 * 2 + 2 - 2 * ONCE_OF_ROOT, 2 + 2 * (2 + 8)),
        ({"reshard_after_forward": "always"}, 2 * 4 + 4, 28),
        ({"reshard_after_forward": "never"}, 4 + 4, 28),
    ],
)  # fmt: skip
def test_fsdp2_moves_shards_as_stored_and_gradients_once(
    recipe: dict[str, Any], link: float, host: int
) -> None:
    """Shards in their own dtype for both passes, gradients in it once a reduction, on two GPUs.

    PyTorch 2.13's FSDP2 of two ranks copied 2 x 4 bytes of each layer's fp32 parameter, and 2 x 2
    of each frozen bf16 one, a micro-batch to compute in bf16, and of its root's once; its gradients
    were fp32. The host reads two gradients and writes their sum from the second micro-batch on.
    """
    found = moved("cpu", "cpu", **FSDP2, **recipe)
    assert found["Host"].bytes == pytest.approx(link * P / 2, rel=1e-6)
    assert found["Optimizer"].bytes == pytest.approx(host * P, rel=1e-6)
    assert ("sums" in found["Optimizer"].name) == ("gradient_accumulation_steps" in recipe)


def test_fsdp2_fetches_frozen_parameters_and_updates_adapters_only() -> None:
    """2 bytes of each frozen parameter twice; adapters as any fp32 shards: 12, and 28 in Adam."""
    found = moved("cpu", "cpu", **FSDP2, lora=Lora())
    fetched = 2 * (2 - ONCE_OF_ROOT) * P
    assert found["Host"].bytes == pytest.approx((fetched + 12 * ADAPTERS) / 2, rel=1e-6)
    assert found["Optimizer"].bytes == pytest.approx(28 * ADAPTERS, rel=1e-6)
    four_bit = moved("cpu", "cpu", **FSDP2, lora=Lora(base="nf4"))
    matrices = P - 2 * 128256 * 4096 - 65 * 4096
    fetched = 2 * (matrices / 2 + 2 * 64 * 4096) + 2 * ONCE_OF_ROOT * P
    assert four_bit["Host"].bytes == pytest.approx((fetched + 12 * ADAPTERS) / 2, rel=1e-6)
    states = planned("cpu", "cpu", **FSDP2, lora=Lora(base="nf4")).state_parts
    scales = next(s for s in states if s.name == "quantisation scales")
    assert (scales.place, scales.bytes) == ("none", pytest.approx(matrices * 0.127 / 8, rel=1e-3))


def test_fsdp2_in_a_pipeline_moves_gradients_after_the_last_micro_batch() -> None:
    recipe = {"pipeline_parallel_size": 2, "data_parallel_size": 1}
    plan = planned("cpu", "cpu", **FSDP2, **recipe, gradient_accumulation_steps=4)
    found = {t.name: t.bytes for t in transfers(plan)}
    held = plan.stage.states.trainable
    assert found["Host link of a GPU"] == (4 + 4) * held
    assert found["Optimizer in a machine's host memory"] == 2 * 28 * held


def test_torch_s_adam_is_slower_where_it_is_not_fused() -> None:
    """5 to 7 times as long as DeepSpeed's (PyTorch issue 74588)."""
    found = moved("cpu", "cpu", **FSDP2)["Optimizer"]
    assert 5 * found.seconds < found.high_s <= 7 * found.seconds
    given = moved("cpu", "cpu", **FSDP2, host_memory_bytes_per_s=200e9)["Optimizer"]
    assert given.seconds == pytest.approx(28 * P / 200e9)


def test_adam_takes_what_was_reported_of_it() -> None:
    """11.6 B parameters in 8.2 s (DeepSpeed PR 735); 72.7 B / 4 in some 10 s (issue 6834)."""
    found = moved("cpu")["Optimizer"]
    for parameters, seconds in ((11.6e9, 8.2), (72.7e9 / 4, 10)):
        scale = parameters / P
        assert found.low_s * scale < seconds < found.high_s * scale


def test_nvme_is_read_and_written_once_for_states_and_read_for_every_pass() -> None:
    """16 B a parameter each way; parameters besides: read twice a micro-batch, written once.

    Those that ZeRO-3 keeps between the passes are read once.
    """
    states = moved("nvme")["NVMe"]
    assert states.bytes == pytest.approx(32 * P, rel=1e-6)
    assert states.seconds == pytest.approx(16 * P / 10e9 + 16 * P / 5e9)
    whole = moved("nvme", "nvme", gradient_accumulation_steps=4, nvme_bytes_per_s=48e9)["NVMe"]
    read, written = (16 + 4 * 2 * (2 - ONCE_OF_ZERO)) * P, (16 + 2) * P
    assert whole.bytes == pytest.approx(read + written, rel=1e-6)
    assert whole.seconds == pytest.approx(read / 48e9 + written / 24e9)


def test_each_place_further_away_takes_longer() -> None:
    times = [
        step_time(plan, speed_of(plan.gpu))
        for plan in (
            planned("none"), planned("cpu"), planned("cpu", "cpu"), planned("nvme"),
            planned("nvme", "nvme"),
        )
    ]  # fmt: skip
    totals = [time.total_s for time in times]
    assert totals == sorted(totals)
    assert totals[1] > 1.3 * totals[0]
    assert all(time.low_s < time.total_s < time.high_s for time in times)
    assert times[0].transfers == ()


def test_no_time_where_the_link_is_not_known() -> None:
    plan = planned("cpu", gpu="gh200-96gb")
    with pytest.raises(PlanRefused, match="host is not known"):
        step_time(plan, speed_of(plan.gpu))
