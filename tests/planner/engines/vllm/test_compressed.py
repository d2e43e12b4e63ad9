"""DeepSeek-V4's pool against what vLLM 0.33.0's own planning code said of the same layers.

The expected figures were printed by vllm/v1/core/kv_cache_planning and kv_cache_interface, run on
specs built as models/deepseek_v4 builds them, for a budget of 50 GiB a rank.
"""

from typing import Any

import pytest

from planner.deployment import Deployment
from planner.engines.engine import EngineFigures
from planner.engines.vllm.compressed import compressed_specs
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.kv_packing import pack
from planner.engines.vllm.kv_pages import LayerSpec
from planner.engines.vllm.options import VllmOptions
from planner.engines.vllm.pool import make_pool
from planner.engines.vllm.versions import rules_of
from planner.errors import PlanRefused
from planner.hf_config import parse
from planner.kinds.compressed import CompressedAttention
from planner.units import GIB
from presets.gpus import load_gpu
from presets.models import load_model_config

CONFIGS = {name: load_model_config(name) for name in ("deepseek-v4-flash", "deepseek-v4-pro")}
MODELS = {name: parse(config, name) for name, config in CONFIGS.items()}
H200 = load_gpu("h200-sxm-141gb")


def specs_of(name: str) -> list[list[LayerSpec]]:
    """The caches of each layer."""
    by_layer = {i: group for group in MODELS[name].groups for i in group.layers}
    found = []
    for i in sorted(by_layer):
        (mixer,) = by_layer[i].mixers
        assert isinstance(mixer, CompressedAttention)
        found.append(compressed_specs(mixer))
    return found


@pytest.mark.parametrize(
    ("name", "length", "batched", "per_block", "per_request", "blocks", "tokens"),
    [
        ("deepseek-v4-flash", 131072, 8192, 1002240, 7194, 53567, 975970),
        ("deepseek-v4-flash", 1048576, 16384, 1002240, 17434, 53567, 3221812),
        ("deepseek-v4-flash", 4096, 2048, 1002240, 1684, 53567, 130291),
        ("deepseek-v4-pro", 131072, 8192, 1435968, 7194, 37387, 681177),
        ("deepseek-v4-pro", 1048576, 16384, 1435968, 17434, 37387, 2248658),
        ("deepseek-v4-pro", 4096, 2048, 1435968, 1684, 37387, 90936),
    ],
)
def test_one_stage(
    name: str, length: int, batched: int, per_block: int, per_request: int, blocks: int, tokens: int
) -> None:
    pool = make_pool(
        [spec for layer in specs_of(name) for spec in layer], [50 * GIB], rules_of("0.33.0"),
        max_model_len=length, max_num_batched_tokens=batched,
    )  # fmt: skip
    assert pool.bytes_per_block == per_block
    assert (pool.blocks_per_request, pool.num_blocks, pool.kv_cache_tokens) == (
        per_request, blocks, tokens,
    )  # fmt: skip
    assert pool.block_size == 256


@pytest.mark.parametrize(
    ("name", "first", "per_request", "blocks", "tokens"),
    [
        ("deepseek-v4-flash", 21, 10522, 102088, 1271704),
        ("deepseek-v4-pro", 30, 10522, 70344, 876271),
    ],
)
def test_two_stages(name: str, first: int, per_request: int, blocks: int, tokens: int) -> None:
    layers = specs_of(name)
    cut = sum(len(layer) for layer in layers[:first])
    specs = [spec for layer in layers for spec in layer]
    pool = make_pool(
        specs, [50 * GIB] * 2, rules_of("0.33.0"), max_model_len=131072,
        max_num_batched_tokens=8192, stages=[range(cut), range(cut, len(specs))],
    )  # fmt: skip
    assert (pool.blocks_per_request, pool.num_blocks, pool.kv_cache_tokens) == (
        per_request, blocks, tokens,
    )  # fmt: skip


def test_groups_are_vllms() -> None:
    def sizes(name: str) -> list[int]:
        return sorted(len(g) for g in pack([s for layer in specs_of(name) for s in layer]))

    assert sizes("deepseek-v4-flash") == sorted([22, 21, 62, 42, 20])
    assert sizes("deepseek-v4-pro") == sorted([31, 30, 91, 31, 60])


def test_windows_alone_fill_what_latents_need() -> None:
    """Four plain layers and one of 128 tokens: vLLM makes seven groups of one cache each."""
    plain, wide = specs_of("deepseek-v4-flash")[0], specs_of("deepseek-v4-flash")[3]
    groups = pack([*plain * 4, *wide])
    assert [len(g) for g in groups] == [1] * 7


def planned(gpu: str = H200.id, **options: Any) -> EngineFigures:
    deployment = Deployment(
        tensor_parallel_size=8, **{k: options.pop(k) for k in ("kv_cache_dtype",) if k in options}
    )
    name = "deepseek-v4-flash"
    return vllm_figures(
        MODELS[name], load_gpu(gpu), deployment, VllmOptions(max_model_len=131072, **options),
        config=CONFIGS[name],
    )  # fmt: skip


def test_the_engine_plans_it() -> None:
    found = planned()
    assert found.refused is None
    assert found.block_size == 256
    assert found.blocks_per_request == 7194
    assert found.num_blocks == found.kv_cache.bytes // 1002240
    assert found.kv_cache_tokens == int(found.num_blocks / 7194 * 131072)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"version": "0.28.0"}, r"0\.28\.0 lays out the compressed caches .* is not described"),
        ({"kv_cache_dtype": "bf16"}, "in fp8_ds_mla; choose auto or fp8"),
        ({"block_size": 64}, "takes 256 tokens"),
        ({"gpu": "a100-sxm4-80gb"}, "for Hopper and B200 cards"),
        ({"gpu": "rtx-pro-6000-blackwell-server"}, "FlashInfer's caches"),
        ({"speculative_config": {"method": "mtp", "num_speculative_tokens": 1}}, "use ngram"),
    ],
)
def test_what_is_not_described_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanRefused, match=said):
        planned(**options)
