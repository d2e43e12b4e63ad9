"""Cache formats against vLLM's page sizes and ggml's blocks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.errors import PlanRefused
from planner.formats.dtypes import ALIASES, KV_FORMATS, KvFormat, kv_format

# Keys and values of one token and head, in bytes, at head sizes 64, 128 and 256.
# Source: page sizes of vLLM 0.33.0's attention backends.
VLLM_PAGES = {
    "bf16": (256, 512, 1024),
    "fp8": (128, 256, 512),
    "int8_per_token_head": (136, 264, 520),
    "fp8_per_token_head": (136, 264, 520),
    "int4_per_token_head": (72, 136, 264),
    "nvfp4": (72, 144, 288),
    "tq_k8v4": (100, 196, 388),
    "tq_4bit_nc": (70, 134, 262),
    "tq_k3v4_nc": (62, 118, 230),
    "tq_3bit_nc": (54, 102, 198),
    "ultraquant_4bit": (68, 136, 272),
}


@pytest.mark.parametrize("name", VLLM_PAGES)
def test_pages_are_vllms(name: str) -> None:
    found = kv_format(name)
    pages = tuple(
        found.entry_bytes(d, "key") + found.entry_bytes(d, "value") for d in (64, 128, 256)
    )
    assert pages == VLLM_PAGES[name]


@pytest.mark.parametrize(
    ("name", "width", "kind", "size"),
    [
        ("bf16", 576, "latent", 1152),  # 512 + 64 elements of 2 B
        ("fp8", 576, "latent", 576),
        ("int8", 576, "latent", 584),  # 576 + two fp32 scales
        ("int4", 576, "latent", 296),  # 288 + two fp32 scales
        ("nvfp4", 576, "latent", 324),  # 288 + one byte per 16
        ("fp8_ds_mla", 576, "latent", 656),  # 512 + 4 fp32 scales + 64 bf16
        ("fp8_ds_mla", 512, "latent", 584),  # 448 + 64 bf16 + 8 (DeepSeek-V4)
        ("fp8_ds_mla", 128, "indexer", 132),  # 128 + an fp32 scale
        ("fp8_ds_mla", 512, "overlap", 2048),  # a value of 512 in fp32
        ("nvfp4_ds_mla", 576, "latent", 352),  # 256 + 32 + 64 fp8
        ("bf16", 128, "indexer", 256),
        ("q8_0", 128, "key", 136),  # 4 blocks of 34 B
        ("q4_0", 128, "value", 72),  # 4 blocks of 18 B
        ("q5_1", 64, "key", 48),  # 2 blocks of 24 B
        ("tq_k8v4", 128, "key", 128),
        ("tq_k8v4", 128, "value", 68),  # 64 + 4
    ],
)
def test_entries_by_hand(name: str, width: int, kind: str, size: int) -> None:
    assert kv_format(name).entry_bytes(width, kind) == size  # type: ignore[arg-type]


def test_auto_is_the_models_own_dtype() -> None:
    assert kv_format("auto", "float16").name == "fp16"
    assert kv_format("auto", "float32").entry_bytes(128) == 512
    assert kv_format("auto").name == "bf16"


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_lead_to_formats(alias: str) -> None:
    assert kv_format(alias.upper()) is KV_FORMATS[ALIASES[alias]]


@pytest.mark.parametrize(
    ("name", "width", "kind"),
    [
        ("q8_0", 80, "key"),
        ("q4_0", 0, "key"),
        ("nvfp4", 72, "value"),
        ("int4", 65, "key"),
        ("fp8_ds_mla", 128, "key"),
        ("fp8_ds_mla", 320, "latent"),
    ],
)
def test_widths_without_a_layout_are_refused(name: str, width: int, kind: str) -> None:
    with pytest.raises(PlanRefused, match="choose another KV cache dtype"):
        kv_format(name).entry_bytes(width, kind)  # type: ignore[arg-type]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(PlanRefused, match="'fp7' is not a KV cache dtype"):
        kv_format("fp7")


scalable = [f for f in KV_FORMATS.values() if not f.fixed]


@settings(deadline=None)
@given(st.sampled_from(scalable), st.integers(1, 16), st.integers(1, 16))
def test_wider_heads_never_cost_less(found: KvFormat, a: int, b: int) -> None:
    low, high = sorted((a, b))
    for kind in ("key", "value", "latent", "indexer"):
        assert found.entry_bytes(32 * low, kind) <= found.entry_bytes(32 * high, kind)


@settings(deadline=None)
@given(st.integers(1, 32))
def test_more_bits_never_cost_less(blocks: int) -> None:
    names = ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "bf16", "fp32")
    sizes = [kv_format(name).entry_bytes(32 * blocks) for name in names]
    assert sizes == sorted(sizes)
