"""Formats against cards, the findings they lead to, and what findings count per replica."""

import re

import pytest

from planner.deployment import Deployment
from planner.engines.platforms import check_runs
from planner.errors import PlanRefused
from planner.findings import findings
from planner.fixes import fixes
from planner.formats.format_support import cache_support, missing, weights_support
from planner.hf_config import parse
from planner.overheads import CONTEXT
from planner.plan import Plan, make_plan
from planner.verdict import hindrance
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.models import load_model_config

LLAMA = parse(load_model_config("llama-3.1-8b"))


def plan(gpu_id: str, *, context: int = 8192, users: int = 1, **deployment: object) -> Plan:
    work = Workload(context=context, concurrency=users)
    return make_plan(LLAMA, load_gpu(gpu_id), Deployment(**deployment), work)


def messages(of: Plan) -> dict[str, str]:
    return {finding.code: finding.message for finding in findings(of)}


@pytest.mark.parametrize(
    ("gpu_id", "name", "support"),
    [
        ("b200-sxm-180gb", "nvfp4", "native"),
        ("h100-sxm5-80gb", "nvfp4", "weight-only"),
        ("t4", "nvfp4", "none"),
        ("mi300x", "nvfp4", "none"),
        ("mi355x", "mxfp4", "native"),
        ("mi300x", "mxfp4", "weight-only"),
        ("mi210", "mxfp4", "none"),
        ("radeon-rx-7900-xtx", "mxfp4", "none"),
        ("h100-sxm5-80gb", "fp8_block", "native"),
        ("l4", "fp8", "native"),
        ("a100-sxm4-80gb", "fp8_per_channel", "weight-only"),
        ("t4", "fp8", "weight-only"),
        ("mi300x", "fp8", "native"),
        ("mi210", "fp8", "none"),
        ("gaudi-3", "nvfp4", "none"),
        ("h100-sxm5-80gb", "bf16", None),
        ("mi300x", "int4_g128", None),
    ],
)
def test_support_follows_vendor_and_generation(gpu_id: str, name: str, support: str | None) -> None:
    """As vLLM documents it: Marlin on NVIDIA only, FP8 arithmetic from Ada and CDNA 3 on."""
    assert weights_support(load_gpu(gpu_id), name) == support


def test_a_cache_has_its_own_kernels() -> None:
    assert cache_support(load_gpu("a100-sxm4-80gb"), "fp8") == "native"
    assert cache_support(load_gpu("h200-sxm-141gb"), "nvfp4") == "none"
    assert "nvfp4 cache" in (missing(load_gpu("h200-sxm-141gb"), ("bf16",), "nvfp4") or "")
    assert missing(load_gpu("h200-sxm-141gb"), ("fp8", "bf16"), "fp8") is None


def test_a_plan_says_what_no_engine_runs_and_what_runs_weight_only() -> None:
    assert (
        "no kernels for nvfp4 weights"
        in (messages(plan("mi300x", weights_dtype="nvfp4"))["format_without_kernels"])
    )
    hopper = messages(plan("h100-sxm5-80gb", weights_dtype="nvfp4"))
    assert "format_without_kernels" not in hopper
    assert "weight-only" in hopper["format_not_native"]
    assert "format_not_native" not in messages(plan("b200-sxm-180gb", weights_dtype="nvfp4"))


@pytest.mark.parametrize(
    "gpu_id", ["t4", "rtx-2080-ti", "radeon-rx-7900-xtx", "radeon-8060s-128gb"]
)
def test_llama_cpp_runs_mxfp4_on_every_card(gpu_id: str) -> None:
    """gpt-oss-20b's GGUF is run on an RTX 2080 (llmfit pull request 774) and on Radeons."""
    model, gpu = parse(load_model_config("gpt-oss-20b")), load_gpu(gpu_id)
    check_runs("llama.cpp", model, gpu, Deployment())
    with pytest.raises(PlanRefused, match="no kernels for mxfp4 weights"):
        check_runs("vllm", model, gpu, Deployment())
    found = make_plan(model, gpu, Deployment(), Workload(context=4096))
    assert hindrance(found) is None
    assert "no kernels for mxfp4 weights but llama.cpp's" in messages(found)["format_of_llama_cpp"]
    assert missing(gpu, ("nvfp4",), "bf16", llama_cpp=True) is not None


def test_vllm_runs_gpt_oss_on_mi300x() -> None:
    model, gpu = parse(load_model_config("gpt-oss-120b")), load_gpu("mi300x")
    check_runs("vllm", model, gpu, Deployment())
    told = messages(make_plan(model, gpu, Deployment(), Workload(context=4096)))
    assert "mxfp4" in told["format_not_native"]


def test_a_fix_names_only_formats_that_the_card_runs() -> None:
    """CDNA 2 has neither FP8 nor NVFP4, so four bits are the mildest that would fit."""
    model = parse(load_model_config("llama-3.1-70b"))

    def told(gpu_id: str) -> str:
        found = make_plan(model, load_gpu(gpu_id), Deployment(), Workload())
        return " ".join(fix.sentence for fix in fixes(found))

    assert "weights as int4" in told("mi210")
    assert "weights as fp8" in told("a100-pcie-80gb")


def test_overheads_of_other_vendors_are_wider_and_said_to_be_borrowed() -> None:
    amd, nvidia = plan("mi300x"), plan("h200-sxm-141gb")
    assert "overheads_borrowed" in messages(amd)
    assert "overheads_borrowed" not in messages(nvidia)
    context = amd.stage.runtime["context"]
    assert (context.bytes, context.low_bytes, context.high_bytes) == (
        CONTEXT.bytes,
        CONTEXT.low_bytes // 2,
        CONTEXT.high_bytes * 2,
    )
    assert nvidia.stage.runtime["context"] == CONTEXT


def test_sequences_are_counted_in_total_and_per_replica() -> None:
    message = messages(plan("h100-sxm5-80gb", users=240, data_parallel_size=8))
    held = re.search(r"holds ([\d,]+) sequences in (\d) replicas \((\d+) in the fullest\)",
                     message["cache_could_overflow"])  # fmt: skip
    assert held is not None
    assert held.groups() == ("240", "8", "30")
    assert "on each replica" in message["paging"]
    alone = messages(plan("h100-sxm5-80gb", users=30))
    assert "holds 30 sequences of up to" in alone["cache_could_overflow"]


def test_a_ring_is_no_advice_to_one_gpu() -> None:
    one = messages(plan("rtx-4090", context=120_000))["attention_bound_prefill"]
    two = messages(plan("rtx-4090", context=120_000, tensor_parallel_size=2))
    assert "ring" not in one
    assert "ring" in two["attention_bound_prefill"]
