"""MIG slices: what programs read on them, and that nothing spreads over several."""

import json
from typing import Any

import pytest

from cli import main
from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.fixes import fixes
from planner.hf_config import parse
from planner.plan import make_plan
from planner.training.plan import plan_training
from planner.training.recipe import Recipe
from planner.units import GIB, MIB
from planner.workload import Workload
from presets.gpus import all_slices, gpu_ids, load_gpu
from presets.models import load_model_config
from presets.slices import slice_ids


@pytest.mark.parametrize(
    ("slice_id", "memory_bytes", "processors", "bytes_per_s"),
    [
        # CUDA device properties in a profile of an H200 MIG 3g.71gb
        ("h200-sxm-141gb-mig-3g.71gb", 74_893_492_224, 60, 2_407_152_000_000),
        # "16.0 GiB usable, 16 SMs", 600 GB/s: torch on an H200 MIG 1g.18gb
        ("h200-sxm-141gb-mig-1g.18gb", 16 * GIB, 16, 600_000_000_000),
        # "39.25 GiB total capacity": torch on an A100 80GB PCIe MIG 3g.40gb
        ("a100-pcie-80gb-mig-3g.40gb", 39.25 * GIB, 42, 968_000_000_000),
        # 20,992 MiB and 44.25 GiB: CUDA on B200 slices; an eighth and a quarter of its bandwidth
        ("b200-sxm-180gb-mig-1g.23gb", 20_992 * MIB, 18, 959_000_000_000),
        ("b200-sxm-180gb-mig-2g.45gb", 44.25 * GIB, 36, 1_918_000_000_000),
        # half of the card: 188 processors and 1.79 TB/s
        ("rtx-pro-6000-blackwell-server-mig-2g.48gb", 47.38 * GIB, 94, 896_000_000_000),
    ],
)
def test_slices_are_what_programs_read(
    slice_id: str, memory_bytes: int, processors: int, bytes_per_s: int
) -> None:
    found = load_gpu(slice_id)
    assert found.memory_bytes == int(memory_bytes)
    assert found.sm_count == processors
    assert found.memory_bandwidth_bytes_per_s == pytest.approx(bytes_per_s, rel=0.01)


def test_slices_of_a_card_fit_into_it() -> None:
    """At most 7 compute slices and 8 memory slices (4 and 4 of an A30 and an RTX PRO 6000), as
    their names say; nvidia-smi lists 32 of a GB200's 152 processors for 1g.47gb, the most."""
    for found in all_slices():
        card_id, _, profile = found.id.partition("-mig-")
        card = load_gpu(card_id)
        wide = int(profile[0])
        most = 4 if card_id == "a30" or card_id.startswith("rtx-pro-6000") else 7
        assert found.memory_bytes < card.memory_bytes * 0.55
        assert found.memory_bytes <= float(profile.split(".")[1][:-2]) * GIB
        assert found.sm_count is not None
        assert card.sm_count is not None
        assert found.sm_count <= card.sm_count
        assert found.sm_count / card.sm_count == pytest.approx(wide / most, rel=0.48)
        assert found.compute_capability == card.compute_capability
        assert found.nvlink_bytes_per_s is None
    assert not set(slice_ids()) & set(gpu_ids())


def test_no_model_spreads_over_slices() -> None:
    llama, gpu = parse(load_model_config("llama-3.1-8b")), load_gpu("h100-sxm5-80gb-mig-1g.10gb")
    with pytest.raises(PlanRefused, match="slices have no link to each other"):
        make_plan(llama, gpu, Deployment(tensor_parallel_size=2), Workload(context=8192))
    with pytest.raises(PlanRefused, match="slices have no link to each other"):
        plan_training(llama, gpu, Recipe(data_parallel_size=2))
    alone = make_plan(llama, gpu, Deployment(), Workload(context=8192))
    assert not alone.fits
    assert not any("GPUs" in fix.sentence for fix in fixes(alone))
    replicas = make_plan(
        llama, gpu, Deployment(data_parallel_size=2, weights_dtype="int4"), Workload(context=1024)
    )
    assert replicas.fits


def test_the_search_gives_every_slice_a_server_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    card = "h100-sxm5-80gb-mig-3g.40gb"
    words = ["search", "--model", "qwen3-8b", "--gpu", card, "--usd-per-gpu-hour", f"{card}=1"]
    assert main([*words, "--concurrency", "32", "--max-gpus", "4"]) == 0
    out = capsys.readouterr().out
    assert "2 × H100-SXM5-80GB MIG 3g.40gb, tensor parallel 1, 2 replicas" in out
    assert "tensor parallel 2" not in out
    assert "pipeline" not in out


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tensorrt-llm", "llama.cpp"])
def test_every_slice_gets_the_server_that_one_alone_gets(
    engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def planned(*more: str) -> dict[str, Any]:
        words = ["plan", "--model", "qwen3-8b", "--gpu", "h100-sxm5-80gb-mig-3g.40gb"]
        words += ["--engine", engine, "--context", "8k", "--format", "json", *more]
        assert main(words) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)["engine"]
        return found

    one = planned("--concurrency", "4")
    two = planned("--concurrency", "8", "--gpus", "2", "--data-parallel-size", "2")
    assert two["command"] == one["command"]
    assert (two["requests"], two["replicas"]) == (one["requests"], 2)
    assert "start this server on each of the 2" in two["notes"][0]
