"""The table of hardware on TensorRT-LLM's quantization page, format by format."""

import pytest

from planner.engines.tensorrt_llm.formats import not_run
from planner.hf_config import parse
from presets.gpus import load_gpu
from presets.models import load_model_config

LLAMA = parse(load_model_config("llama-3.1-8b"))
CARDS = ("a100-sxm4-80gb", "l40s", "h100-sxm5-80gb", "b200-sxm-180gb", "rtx-5090")


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("auto", "YYYYY"),
        ("fp16", "YYYYY"),
        ("fp8", ".YYYY"),
        ("fp8_block", "..YY."),
        ("fp8_per_channel", "..Y.."),
        ("nvfp4", "...YY"),
        ("mxfp4", "...YY"),
        ("int4", "YYY.."),
        *((name, ".....") for name in ("nf4", "nf4_double", "fp4", "int8_bnb", "int8", "int3")),
        *((name, ".....") for name in ("int2", "mxfp8", "fp32", "q4_k_m")),
    ],
)
def test_table(name: str, runs: str) -> None:
    found = ["Y" if not_run(LLAMA, name, load_gpu(card)) is None else "." for card in CARDS]
    assert "".join(found) == runs


def test_gpt_oss_runs_on_hopper() -> None:
    """Its own page: bf16 activations and mxfp4 experts on Hopper, by TRITON or CUTLASS."""
    model = parse(load_model_config("gpt-oss-20b"))
    assert not_run(model, "auto", load_gpu("h100-sxm5-80gb")) is None
    assert not_run(model, "auto", load_gpu("b200-sxm-180gb")) is None
    assert "mxfp4" in (not_run(model, "auto", load_gpu("a100-sxm4-80gb")) or "")
