"""The pool against vLLM's own code where its results are at hand, and against public logs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.engines.vllm.fit import NOTHING_LEFT
from planner.engines.vllm.kv_pages import LayerSpec
from planner.engines.vllm.pool import CACHELESS_STAGE, Pool, align, make_pool
from planner.engines.vllm.versions import rules_of
from planner.units import GIB

TRUTH = Path(__file__).parents[5] / "shared" / "truth" / "vllm_pool.json"
BYTES = {"bf16": 2, "fp16": 2, "fp8": 1, "uint8": 1, "fp32": 4}
PACKED = {"fp8_ds_mla": 656, "nvfp4_ds_mla": 352}
KINDS = {"swa": "sliding", "sliding": "sliding", "full": "full", "chunked": "chunked"}


def spec_of(layer: dict[str, Any], block_size: int, max_model_len: int) -> LayerSpec:
    """A layer as the shared cases write it."""
    if layer["kind"] == "mamba":
        size = 0
        for shape, dtype in zip(layer["shapes"], layer["dtypes"], strict=True):
            elements = BYTES[dtype]
            for n in shape:
                elements *= n
            size += elements
        return LayerSpec("mamba", max_model_len, state_bytes=size)
    width = layer["head_size"]
    if layer["kind"] == "mla":
        packed = PACKED.get(layer.get("cache_dtype_str", ""))
        return LayerSpec("mla", block_size, packed or width * BYTES[layer["dtype"]], (1, width))
    heads = layer["num_kv_heads"]
    window = next(
        (layer[name] for name in ("sliding_window", "attention_chunk_size") if name in layer), None
    )
    size = 2 * heads * width * BYTES[layer["dtype"]]
    return LayerSpec(KINDS[layer["kind"]], block_size, size, (heads, width), window)  # type: ignore[arg-type]


def pool_of(case: dict[str, Any], version: str) -> Pool:
    rules = rules_of(version)
    length = case["max_model_len"]
    specs = [spec_of(layer, case["block_size"], length) for layer in case["layers"]]
    return make_pool(
        align(specs, rules),
        [case["available_bytes"]] * case.get("pp", 1),
        rules,
        max_model_len=length,
        max_num_batched_tokens=case["max_num_batched_tokens"],
        decode_context_parallel_size=case.get("dcp", 1),
    )


def test_equals_vllm_on_every_shared_case() -> None:
    if not TRUTH.exists():
        pytest.skip("the results of vLLM's own code are not at hand")
    cases = json.loads(TRUTH.read_text())["cases"]
    for case in cases:
        for version, want in case["results"].items():
            pool = pool_of(case["input"], version)
            name = f"{case['id']} {version}"
            if not want["ok"]:
                assert pool.refused, name
                assert pool.refused.split(" Try")[0] == want["error"].split(" Try")[0], name
                assert pool.estimated_max_model_len == want["estimated_max_model_len"], name
                continue
            assert pool.refused is None, name
            assert pool.num_blocks == want["num_blocks"], name
            assert pool.kv_cache_tokens == want["kv_cache_tokens_reported"], name
            assert pool.max_concurrency == want["max_concurrency"], name
            assert pool.blocks_per_request == want["blocks_per_request"], name
            assert [len(g.layers) for g in pool.groups] == [
                g["n_layers"] for g in want["groups"]
            ], name


def hybrid(full: int, states: int, token_bytes: int, state_bytes: int) -> list[LayerSpec]:
    """Attention and recurrent layers with prefix caching: two states a request."""
    return [LayerSpec("mamba", 16, state_bytes=state_bytes, state_blocks=2)] * states + [
        LayerSpec("full", 16, token_bytes, (1, 1))
    ] * full


# KV heads x head size x 2 x bytes; states: conv (k - 1 columns) + float32 recurrent state.
QWEN36_35B = hybrid(10, 30, 2 * 2 * 256, 8192 * 3 * 2 + 32 * 128 * 128 * 4)
QWEN38_27B_TP2 = hybrid(16, 48, 2 * 2 * 256, 5120 * 3 * 2 + 24 * 128 * 128 * 4)


@pytest.mark.parametrize(
    ("layers", "gib", "block", "blocks", "per_request", "tokens", "printed"),
    [
        (QWEN36_35B, 5.98, 2096, 299, 69, 567_978, "4.33"),
        (QWEN38_27B_TP2, 4.99, 1568, 208, 90, 302_921, "2.31"),
    ],
)
def test_hybrid_logs_of_0_24(
    layers: list[LayerSpec],
    gib: float,
    block: int,
    blocks: int,
    per_request: int,
    tokens: int,
    printed: str,
) -> None:
    """noonghunna/club-3090#612 and mitchross/talos-argocd-proxmox PR 1995."""
    rules = rules_of("0.24.0")
    pool = make_pool(
        align(layers, rules),
        [int(gib * GIB)],
        rules,
        max_model_len=131072,
        max_num_batched_tokens=8192,
    )
    assert pool.block_size == block
    assert (pool.num_blocks, pool.blocks_per_request) == (blocks, per_request)
    assert pool.kv_cache_tokens == tokens
    assert f"{pool.max_concurrency:.2f}" == printed


def gemma_3(full: int, sliding: int, heads: int, width: int) -> list[LayerSpec]:
    size = 2 * heads * width * 2
    return [LayerSpec("sliding", 16, size, (heads, width), 1024)] * sliding + [
        LayerSpec("full", 16, size, (heads, width))
    ] * full


def test_gemma_3_4b_prints_its_padding_and_too_few_tokens() -> None:
    """ovg-project/kvcached#215: 138,750 blocks, 317,136 tokens, one padding layer, 3.45 %."""
    rules = rules_of("0.11.0")
    block = 5 * 16 * 2 * 4 * 256 * 2
    pool = make_pool(
        gemma_3(5, 29, 4, 256), [138_750 * block], rules,
        max_model_len=8192, max_num_batched_tokens=2048,
    )  # fmt: skip
    assert (pool.num_blocks, pool.kv_cache_tokens) == (138_750, 317_136)
    assert [(n, f"{waste:.2f}") for n, waste in pool.padding] == [(1, "3.45")]


@pytest.mark.parametrize(("version", "printed"), [("0.20.2", "2.81"), ("0.33.0", "2.23")])
def test_two_batches_in_flight_double_what_a_window_holds(version: str, printed: str) -> None:
    pool = make_pool(
        gemma_3(10, 52, 16, 128), [40 * GIB], rules_of(version),
        max_model_len=131072, max_num_batched_tokens=8192,
    )  # fmt: skip
    assert [len(g.layers) for g in pool.groups] == [9, 9, 9, 9, 8, 8, 10]
    assert pool.bytes_per_block == 10 * 131072
    assert f"{pool.max_concurrency:.2f}" == printed


@pytest.mark.parametrize(
    ("split", "blocks", "tokens"), [(1, 11173, 715_072), (8, 11174, 5_721_088)]
)
def test_latent_caches_are_split_by_decode_context_parallelism_only(
    split: int, blocks: int, tokens: int
) -> None:
    """Kimi-K2-Thinking on eight H200s printed these from 46.8 GiB, without and with DCP 8."""
    block = 61 * 64 * 576 * 2
    assert f"{blocks * block / GIB:.1f}" == "46.8"
    pool = make_pool(
        [LayerSpec("mla", 64, 576 * 2, (1, 576))] * 61, [blocks * block], rules_of("0.11.1"),
        max_model_len=65536, max_num_batched_tokens=8192, decode_context_parallel_size=split,
    )  # fmt: skip
    assert pool.kv_cache_tokens == tokens


def test_a_draft_layer_shares_the_larger_group() -> None:
    """gpt-oss-20b (12 sliding, 12 full) with an EAGLE layer: 13 and 13, not 12 and 24."""
    layers = [LayerSpec("sliding", 16, 2048, (8, 64), 128)] * 12 + [
        LayerSpec("full", 16, 2048, (8, 64))
    ] * 13
    pool = make_pool(
        layers, [40 * GIB], rules_of("0.20.2"), max_model_len=131072, max_num_batched_tokens=8192
    )
    assert [len(g.layers) for g in pool.groups] == [12, 13]
    assert pool.padding == ((1, 100 / 12),)


def test_latent_layers_with_an_indexer_are_one_group_of_two_sizes() -> None:
    layers = [LayerSpec("mla", 64, 656, (1, 576)), LayerSpec("mla", 64, 132, (1, 132))] * 61
    pool = make_pool(
        layers, [10 * GIB], rules_of("0.33.0"), max_model_len=32768, max_num_batched_tokens=8192
    )
    assert len(pool.groups) == 1
    assert pool.bytes_per_block == 61 * 64 * (656 + 132)


@pytest.mark.parametrize(
    ("version", "refused"), [("0.11.0", True), ("0.20.2", True), ("0.24.0", False)]
)
def test_pages_that_do_not_divide(version: str, refused: bool) -> None:
    layers = [LayerSpec("full", 16, 3072, (6, 128))] * 2 + [
        LayerSpec("sliding", 16, 2048, (4, 128), 512)
    ] * 2
    pool = make_pool(
        layers, [GIB], rules_of(version), max_model_len=4096, max_num_batched_tokens=2048
    )
    assert (pool.refused is not None) is refused


FULL, WIDE = LayerSpec("full", 16, 4096, (8, 128)), LayerSpec("full", 16, 3072, (6, 128))
SLIDING = LayerSpec("sliding", 16, 4096, (8, 128), 1024)
NARROW = LayerSpec("sliding", 16, 2048, (4, 128), 512)
LATENT, KEYS = LayerSpec("mla", 64, 1152, (1, 576)), LayerSpec("mla", 64, 132, (1, 132))
BESIDE_LATENT = LayerSpec("sliding", 64, 1536, (3, 128), 512)


@pytest.mark.parametrize(
    ("layers", "gib", "stages", "override", "found"),
    [
        ([SLIDING] * 13 + [FULL] * 10, 10, 1, None, {
            "0.17.1": (16384, 87376), "0.18.1": (12603, 100816), "0.19.1": (12603, 100816),
            "0.20.2": (12603, 157323), "0.25.1": (12603, 157323), "0.26.0": (12603, 131646),
        }),
        ([SLIDING] * 20 + [FULL] * 10, 10, 2, None, {
            "0.25.1": (16384, 167667), "0.26.0": (16384, 102261),
        }),
        ([LATENT, KEYS] * 20, 10, 2, None, {
            "0.11.0": (6533, 418112), "0.16.0": (6533, 418112), "0.17.1": (13066, 836224),
            "0.33.0": (13066, 836224),
        }),
        ([SLIDING] * 20 + [FULL] * 10, 1.25, 1, None, {
            "0.13.0": None, "0.14.0": (2048, 10912), "0.18.1": (2048, 10912), "0.19.1": None,
        }),
        ([FULL] * 32, 3, 2, None, {
            "0.13.0": (3072, 49152), "0.14.0": None, "0.16.0": None, "0.17.1": (3072, 49152),
        }),
        ([FULL] * 32, 4, 1, None, {"0.28.0": (2048, 32768), "0.29.0": None}),
        ([FULL] * 32, 10, 1, 1000, {"0.19.1": (1000, 16000), "0.20.2": None}),
        ([WIDE] * 10 + [NARROW] * 10, 10, 1, None, {
            "0.20.2": None, "0.25.1": (21845, 276057), "0.26.0": (21845, 230536),
        }),
        ([LATENT] * 10 + [BESIDE_LATENT] * 5, 10, 1, None, {
            "0.26.0": None, "0.27.1": (8738, 559232),
        }),
    ],
)  # fmt: skip
def test_versions_part_where_their_own_code_does(
    layers: list[LayerSpec],
    gib: float,
    stages: int,
    override: int | None,
    found: dict[str, tuple[int, int] | None],
) -> None:
    """Blocks and tokens that the packages of these versions compute; None: they refuse."""
    for version, want in found.items():
        pool = make_pool(
            layers, [int(gib * GIB)] * stages, rules_of(version), max_model_len=32768,
            max_num_batched_tokens=8192, num_gpu_blocks_override=override,
        )  # fmt: skip
        assert (pool.refused is not None) is (want is None), version
        if want is not None:
            assert (pool.num_blocks, pool.kv_cache_tokens) == want, version


def test_windows_of_two_lengths_are_not_held_whole_together() -> None:
    layers = [SLIDING] * 4 + [replace(SLIDING, window=512)] * 4 + [FULL] * 4
    for version in ("0.11.0", "0.20.2", "0.33.0"):
        pool = make_pool(
            layers, [10 * GIB], rules_of(version), max_model_len=32768,
            max_num_batched_tokens=8192, hybrid=False,
        )  # fmt: skip
        assert pool.refused == (
            "All attention layers in the same KV cache group must have the same window size."
        )


def test_windows_without_the_hybrid_manager_are_held_whole() -> None:
    """Llama-4-Scout, TP 4, in vLLM 0.19.0: 16.75 GiB printed 365,968 tokens for 48 layers."""
    layers = [LayerSpec("chunked", 16, 1024, (2, 128), 8192)] * 36 + [
        LayerSpec("full", 16, 1024, (2, 128))
    ] * 12
    pool = make_pool(
        layers, [int(16.753 * GIB)], rules_of("0.19.0"),
        max_model_len=8192, max_num_batched_tokens=8192, hybrid=False,
    )  # fmt: skip
    assert pool.kv_cache_tokens == 365_968


def test_nothing_left_is_refused_as_vllm_says_it() -> None:
    pool = make_pool(
        gemma_3(10, 52, 16, 128), [-GIB], rules_of("0.19.0"),
        max_model_len=8192, max_num_batched_tokens=8192,
    )  # fmt: skip
    assert pool.refused == NOTHING_LEFT


def test_a_stage_without_a_cache_is_refused() -> None:
    """Layers that read another's cache have no spec: all of the second stage's here."""
    for version in ("0.11.0", "0.33.0"):
        pool = make_pool(
            [FULL] * 4, [GIB, GIB], rules_of(version), max_model_len=4096,
            max_num_batched_tokens=2048, stages=[range(4), range(4, 4)],
        )  # fmt: skip
        assert pool.refused == CACHELESS_STAGE


@given(
    version=st.sampled_from(["0.8.5", "0.11.0", "0.19.1", "0.24.0", "0.33.0"]),
    full=st.integers(1, 8),
    sliding=st.integers(0, 24),
    gib=st.integers(2, 60),
    length=st.sampled_from([512, 4096, 32768]),
)
def test_more_memory_never_means_fewer_tokens(
    version: str, full: int, sliding: int, gib: int, length: int
) -> None:
    def tokens(size: int) -> tuple[int, int]:
        pool = make_pool(
            gemma_3(full, sliding, 4, 128), [size], rules_of(version),
            max_model_len=length, max_num_batched_tokens=2048,
        )  # fmt: skip
        assert pool.refused is None
        assert pool.num_blocks * pool.bytes_per_block <= size
        return pool.num_blocks, pool.kv_cache_tokens

    assert tokens(gib * GIB) <= tokens(gib * GIB + GIB // 3)


@settings(deadline=None)
@given(gib=st.integers(1, 30), length=st.integers(100_000, 1_000_000))
def test_the_estimated_length_is_the_longest_that_starts(gib: int, length: int) -> None:
    for version in ("0.11.0", "0.20.2", "0.33.0"):

        def pool(max_model_len: int, version: str = version) -> Pool:
            return make_pool(
                gemma_3(10, 52, 16, 128), [gib * GIB], rules_of(version),
                max_model_len=max_model_len, max_num_batched_tokens=2048,
            )  # fmt: skip

        found = pool(length)
        if found.refused is None:
            continue
        longest = found.estimated_max_model_len
        assert longest is not None
        assert pool(longest + 1).refused
        assert longest == 0 or pool(longest).refused is None


def test_blocks_of_small_heads_are_longer_until_pages_are_alike() -> None:
    """512 B and 256 B a token: 16 tokens of one are 32 of the other, and 16 is what is printed."""
    specs = [LayerSpec("full", 16, 512, (2, 64)), LayerSpec("sliding", 16, 256, (1, 64), 128)]
    rules = rules_of("0.33.0")
    pool = make_pool(
        align(specs, rules), [GIB], rules, max_model_len=4096, max_num_batched_tokens=2048
    )
    assert sorted(group.spec.block_size for group in pool.groups) == [16, 32]
    assert pool.block_size == 16
