"""What --fit leaves on the CPU: fits that llama.cpp logged, and where it has no say."""

import pytest

from planner.deployment import Deployment
from planner.engines.llama_cpp.figures import llama_cpp_figures
from planner.engines.llama_cpp.fit import fitted
from planner.engines.llama_cpp.options import LlamaCppOptions
from planner.engines.llama_cpp.placement import Placement
from planner.engines.registry import ENGINES
from planner.engines.room import with_room
from planner.formats.quantization import assign
from planner.hf_config import parse
from planner.units import GIB, MIB
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config

RTX_4090 = load_gpu("rtx-4090")


def placed(name: str, weights: str, gpus: int = 1) -> Placement:
    found = parse(load_model_config(name))
    deployment = Deployment(weights_dtype=weights, pipeline_parallel_size=gpus)
    return Placement(found, assign(found, weights), deployment, LlamaCppOptions(parallel=1))


def test_a_dense_model_loses_whole_blocks_from_the_front() -> None:
    """A log of June 2026: Hermes-3-Llama-3.1-8B Q4_0, -c 32768, RTX 2060 with 5,141 MiB free.

    "15 layers", "offloading 14 repeating layers"; CUDA0 model 2049.43 MiB, host 2388 MiB, KV
    1792 MiB on the GPU and 2304 MiB on the CPU.
    """
    found = fitted(placed("llama-3.1-8b", "q4_0"), 32768, (5141 - 1024) * MIB)
    assert found.where == [-1] * 18 + [0] * 15
    assert found.weights(0) / MIB == pytest.approx(2049.43, abs=0.006)
    assert found.weights(-1) // MIB == 2388
    assert (found.cache(0, 32768), found.cache(-1, 32768)) == (1792 * MIB, 2304 * MIB)


def test_experts_go_first_and_from_the_back() -> None:
    """llama.cpp's own example: Qwen3-30B-A3B F16 at 4,096 tokens, 19,187 + 1,199 MiB on a 4090.

    It keeps blk.14 to blk.47's experts on the CPU. Its compute buffer held no copy of an expert
    tensor (384 MiB, a third of a block), so one block fewer is left here.
    """
    found = fitted(placed("qwen3-30b-a3b", "bf16"), 4096, (19187 + 1199 - 1024) * MIB)
    assert found.where == [0] * 49
    assert max(found.spilled) == 47
    assert min(found.spilled) in (13, 14)
    assert len(found.spilled) == 48 - min(found.spilled)


def test_gpus_are_filled_from_the_last_and_experts_from_the_first() -> None:
    """Two cards of 20,386 MiB: attention of all blocks fits the last; 1,152 MiB of experts each."""
    room = 19362 * MIB
    found = fitted(placed("qwen3-30b-a3b", "bf16", 2), 4096, room)
    assert found.where == sorted(found.where)
    for gpu in (0, 1):
        assert room - 1152 * MIB - 64 * MIB < found.total(gpu, 4096) <= room
    tight = fitted(placed("llama-3.1-70b", "q4_k_m", 2), 4096, 11341 * MIB)
    assert tight.where == sorted(tight.where)
    assert -1 in tight.where


def test_nothing_fits_but_the_cpu() -> None:
    found = fitted(placed("qwen3-30b-a3b", "bf16"), 4096, 100 * MIB)
    assert (found.gpus, found.weights(0)) == ((), 0)
    assert found.weights(-1) == placed("qwen3-30b-a3b", "bf16").weights(0) + found.front


def test_flags_that_place_blocks_end_the_fit() -> None:
    """Llama-3.1-70B Q4_K_M is 39.6 GiB: with -ngl 99 it is loaded whole, and refused."""
    llama, deployment = (
        parse(load_model_config("llama-3.1-70b")),
        Deployment(weights_dtype="q4_k_m"),
    )

    def figures(**flags: int) -> tuple[str | None, str]:
        options = LlamaCppOptions(ctx_size=8192, **flags)
        found = llama_cpp_figures(llama, RTX_4090, deployment, options, Workload(context=8192))
        return found.refused, found.on_cpu

    refused, on_cpu = figures()
    assert (refused, on_cpu.endswith(" of 80 blocks")) == (None, True)
    refused, on_cpu = figures(n_gpu_layers=99)
    assert (str(refused)[:10], on_cpu) == ("cudaMalloc", "")
    refused, on_cpu = figures(n_gpu_layers=20)
    assert (refused, on_cpu) == (None, "61 of 80 blocks")


def test_slots_for_everyone_are_offered() -> None:
    """Sixteen users of 16,384 tokens: 16 slots of 2 GiB each beside 8 GiB of weights, on 79 GiB."""
    llama, gpu = parse(load_model_config("llama-3.1-8b")), load_gpu("h100-sxm5-80gb")
    work = Workload(context=16384, concurrency=16)

    def offered(on: str) -> str:
        card = load_gpu(on)
        found = with_room(
            "llama.cpp", LlamaCppOptions(), Deployment(weights_dtype="q8_0"), work, llama, card,
            lambda options, deployment: ENGINES["llama.cpp"].figures(
                llama, card, deployment, options, work
            ),
        )  # fmt: skip
        return found.remedies[0]

    assert gpu.memory_bytes > (16 * 2 + 8) * GIB
    assert offered("h100-sxm5-80gb") == "-np 16 -c 262144"
    assert offered("rtx-4090").startswith("-np 16 -c 262144 (with ")
