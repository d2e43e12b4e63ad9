"""Recurrent layers as vLLM registers them, by version; shapes from its mamba_utils."""

import pytest

from planner.deployment import Deployment
from planner.engines.vllm.checks import check_values
from planner.engines.vllm.options import SpeculativeConfig, VllmOptions, resolve
from planner.engines.vllm.specs import layer_specs
from planner.errors import PlanRefused
from planner.hf_config import parse
from presets.gpus import load_gpu
from presets.models import load_model_config

H100 = load_gpu("h100-sxm5-80gb")
DRAFTS = SpeculativeConfig(method="ngram", num_speculative_tokens=3)


def states(name: str, **options: object) -> tuple[int, int]:
    """Bytes of one layer's state, and how many a request holds."""
    config = load_model_config(name)
    model = parse(config)
    settings = resolve(model, H100, VllmOptions(**options))  # type: ignore[arg-type]
    specs = layer_specs(model, Deployment(), settings, config=config)
    spec = next(spec for _, spec in specs if spec.kind == "mamba")
    return spec.state_bytes, spec.state_blocks


@pytest.mark.parametrize(
    ("name", "version", "element"),
    [
        ("nemotron-h-8b-base-8k", "0.12.0", 2),
        ("nemotron-h-8b-base-8k", "0.19.1", 2),
        ("nemotron-h-8b-base-8k", "0.20.2", 4),
        ("nvidia-nemotron-3-super-120b-a12b", "0.12.0", 2),
        ("nvidia-nemotron-3-super-120b-a12b", "0.13.0", 4),
    ],
)
def test_nemotron_keeps_fp32_states_where_vllm_reads_that(
    name: str, version: str, element: int
) -> None:
    """128 heads of 64 x 128; convolution over 8192 + 2 x 8 groups x 128 channels, 3 columns. The
    older file says nothing of its states: float16 up to 0.19, float32 since."""
    conv = (8192 + 2 * 8 * 128) * 3 * 2
    assert states(name, version=version)[0] == 128 * 64 * 128 * element + conv


@pytest.mark.parametrize(
    ("version", "held"), [("0.11.0", 1), ("0.14.0", 1), ("0.16.0", 4), ("0.27.1", 4), ("0.28.0", 5)]
)
def test_states_of_a_request_that_drafts_three_tokens(version: str, held: int) -> None:
    found = states(
        "qwen3-next-80b-a3b-thinking", version=version, speculative_config=DRAFTS
    )  # fmt: skip
    assert found[1] == held


def test_models_of_states_alone_cache_no_prefixes() -> None:
    assert states("mamba-2.8b-hf", version="0.33.0")[1] == 1
    assert states("jamba-v0.1", version="0.33.0")[1] == 2


@pytest.mark.parametrize(("version", "refused"), [("0.20.2", True), ("0.28.0", False)])
def test_a_state_at_every_block_is_refused(version: str, refused: bool) -> None:
    model = parse(load_model_config("jamba-v0.1"))
    options = VllmOptions(version=version, enable_prefix_caching=True)
    settings = resolve(model, H100, options)
    if not refused:
        check_values(model, H100, Deployment(), options, settings)
        return
    with pytest.raises(PlanRefused, match="enable_prefix_caching"):
        check_values(model, H100, Deployment(), options, settings)


@pytest.mark.parametrize(
    ("gpu", "version", "cache", "tp", "token"),
    [
        ("h200-sxm-141gb", "0.33.0", "fp8", 8, 656),
        ("h200-sxm-141gb", "0.33.0", "auto", 8, 1152),
        ("h200-sxm-141gb", "0.11.0", "auto", 8, 656),
        ("b200-sxm-180gb", "0.33.0", "fp8", 8, 576),
        ("b200-sxm-180gb", "0.19.1", "fp8", 8, 576),
        ("b200-sxm-180gb", "0.19.1", "fp8", 4, 656),
        ("b200-sxm-180gb", "0.17.1", "fp8", 8, 656),
    ],
)
def test_sparse_latents_are_packed_where_the_kernels_want_it(
    gpu: str, version: str, cache: str, tp: int, token: int
) -> None:
    """From the backends' order and formats in each package (platforms/cuda, attention/backends)."""
    config = load_model_config("deepseek-v3.2")
    model = parse(config)
    settings = resolve(model, load_gpu(gpu), VllmOptions(version=version))
    deployment = Deployment(tensor_parallel_size=tp, kv_cache_dtype=cache)
    sizes = {spec.token_bytes for _, spec in layer_specs(model, deployment, settings)}
    assert sizes == {token, 132}


@pytest.mark.parametrize(
    ("gpu", "version", "cache", "block"),
    [
        ("a100-sxm4-80gb", "0.33.0", "auto", 16),
        ("h200-sxm-141gb", "0.17.1", "auto", 64),
        ("h200-sxm-141gb", "0.18.1", "auto", 16),
        ("h200-sxm-141gb", "0.33.0", "fp8", 64),
        ("b200-sxm-180gb", "0.11.0", "auto", 128),
        ("b200-sxm-180gb", "0.17.1", "auto", 64),
        ("b200-sxm-180gb", "0.33.0", "fp8", 32),
    ],
)
def test_blocks_of_latent_attention_are_its_kernels(
    gpu: str, version: str, cache: str, block: int
) -> None:
    """What platforms/cuda of each package forces, or the first kernel's smallest block."""
    model = parse(load_model_config("kimi-k2-instruct"))
    assert resolve(model, load_gpu(gpu), VllmOptions(version=version), cache).block_size == block
