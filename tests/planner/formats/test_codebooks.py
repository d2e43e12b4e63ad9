"""AQLM, VPTQ and HIGGS against their libraries' modules and AQLM's table of published sizes."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from planner.errors import ConfigRefused
from planner.formats.quantization import assign
from planner.formats.quantization_config import scheme
from planner.hf_config import parse
from planner.weights import weights_bytes
from presets.models import load_model_config
from tests.planner.models import DEEPSEEK_V3, LLAMA_8B, model

SHAPE = (96, 2048)
UNTOUCHED = ["lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"]


def aqlm(books: int, bits: int, wide: int, tall: int = 1) -> dict[str, Any]:
    return {
        "quant_method": "aqlm", "num_codebooks": books, "nbits_per_codebook": bits,
        "in_group_size": wide, "out_group_size": tall, "linear_weights_not_to_quantize": UNTOUCHED,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("scheme_of", "size"),
    [((1, 16, 8), 1_097_920), ((2, 8, 8), 57_536), ((8, 8, 32), 180_416),
     ((1, 16, 16), 2_121_920), ((2, 12, 8, 4), 548_912)],
)  # fmt: skip
def test_aqlm_modules(scheme_of: tuple[int, ...], size: int) -> None:
    """Parameters of aqlm 1.1.7's QuantizedLinear(2048, 96, ...) without bias."""
    found = scheme(aqlm(*scheme_of)).linear
    assert found is not None
    assert found.bytes(SHAPE) == size


@pytest.mark.parametrize(
    ("name", "of", "gigabytes"),
    [
        ("meta-llama-3-8b", (1, 16, 8), "4.1"),
        ("meta-llama-3-70b", (1, 16, 8), "21.9"),
        ("c4ai-command-r-v01", (1, 16, 8), "12.7"),
        ("c4ai-command-r-plus", (1, 16, 8), "31.9"),
        ("llama-2-7b-hf", (1, 16, 8), "2.4"),
        ("llama-2-7b-hf", (2, 8, 8), "2.2"),
        ("llama-2-7b-hf", (8, 8, 32), "2.2"),
        ("llama-2-7b-hf", (1, 8, 8), "1.34"),
        ("llama-2-13b-hf", (1, 16, 8), "4.1"),
        ("llama-2-13b-hf", (2, 8, 8), "3.8"),
        ("llama-2-70b-hf", (1, 16, 8), "18.8"),
        ("llama-2-70b-hf", (2, 8, 8), "18.2"),
        ("gemma-2b", (1, 16, 8), "1.7"),
        ("gemma-2b", (2, 8, 8), "1.6"),
        ("mistral-7b-v0.1", (1, 16, 8), "2.51"),
        ("phi-3-mini-4k-instruct", (1, 16, 8), "1.4"),
    ],
)
def test_published_aqlm_checkpoints(name: str, of: tuple[int, ...], gigabytes: str) -> None:
    """github.com/Vahe1994/AQLM, README, "Model size, Gb", rounded from two places.

    Phi-3's fused matrices have one codebook. Not here: Mixtral (12.6, which is its size without
    the tables of words) and the rows of 16 weights a code, which fit no count of them.
    """
    config = load_model_config(name) | {"quantization_config": aqlm(*of)}
    size = Decimal(weights_bytes(assign(parse(config), "auto")).total) / 10**9
    two = size.quantize(Decimal("0.01"), ROUND_HALF_UP)
    assert two.quantize(Decimal(gigabytes), ROUND_HALF_UP) == Decimal(gigabytes)


def vptq(length: int, centroids: int, residual: int, groups: int, **rest: Any) -> dict[str, Any]:
    return {
        "vector_lens": [-1, length], "num_centroids": [-1, centroids],
        "num_res_centroids": [-1, residual], "group_num": groups, "group_size": 2048 // groups,
        "outlier_size": 0, "indices_as_float": False, "is_indice_packed": True, **rest,
    }  # fmt: skip


def with_layers(layers: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return {"quant_method": "vptq", "config_for_layers": layers, **rest}


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (vptq(8, 65536, 256, 1, enable_norm=True, enable_perm=True), 1_138_688),
        (vptq(16, 65536, 65536, 1, enable_norm=False, enable_perm=False), 4_243_456),
        (vptq(12, 4096, -1, 2, enable_norm=True, enable_perm=False), 229_376),
    ],
)
def test_vptq_modules(layer: dict[str, Any], size: int) -> None:
    """Parameters of vptq 0.0.5's VQuantLinear(2048, 96, ...), indices packed."""
    found = scheme(with_layers({"model.layers.0.mlp.up_proj": layer})).named["layers.0.mlp.up_proj"]
    assert found is not None
    assert found.bytes(SHAPE) == size


def test_vptq_leaves_alone_what_it_does_not_list() -> None:
    layer = vptq(8, 65536, 256, 1, group_size=4096)
    listed = {f"model.layers.{i}.self_attn.q_proj": layer for i in (0, 2)}
    found = assign(model(LLAMA_8B, quantization_config=with_layers(listed)), "auto")
    assert found.bytes_by_format()["vptq_v8_k65536_256"] == 2 * (
        4096 // 8 * 4096 * 24 // 8 + 2 * (65536 + 256) * 8 + 6 * 4096
    )
    assert sorted(len(part.layers) for part in found.layers) == [2, 30]


def test_names_of_another_model_are_refused() -> None:
    listed = {"encoder.block.0.wi": vptq(8, 65536, 256, 1)}
    with pytest.raises(ConfigRefused, match="none of this model's"):
        assign(model(LLAMA_8B, quantization_config=with_layers(listed)), "auto")


def test_vptq_experts_have_a_table_each() -> None:
    def listed(last: int) -> dict[str, Any]:
        names = [f"model.layers.9.mlp.experts.{i}.up_proj" for i in range(256)]
        layer = vptq(8, 65536, 0, 1, group_size=7168)
        return dict.fromkeys(names, layer) | {names[-1]: layer | {"num_res_centroids": [-1, last]}}

    config = with_layers(listed(0))
    found = assign(model(DEEPSEEK_V3, quantization_config=config), "auto")
    each = 2048 // 8 * 7168 * 2 + 2 * 65536 * 8 + 6 * 7168
    assert found.bytes_by_format()["vptq_v8_k65536_0"] == 256 * each
    with pytest.raises(ConfigRefused, match="experts of one layer differ"):
        scheme(with_layers(listed(256)))


@pytest.mark.parametrize(
    ("bits", "group", "size"), [(4, 256, 100_896), (2, 64, 55_368), (3, 128, 77_072)]
)
def test_higgs_modules(bits: int, group: int, size: int) -> None:
    """Parameters of transformers 5.24's HiggsLinear(2048, 96, bits) in bf16 without bias."""
    config = {"quant_method": "higgs", "bits": bits, "p": 2, "group_size": group}
    found = scheme({**config, "hadamard_size": 512}).linear
    assert found is not None
    assert found.bytes(SHAPE) == size
    assert found.bytes((96, 1600)) == size


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"quant_method": "aqlm", "in_group_size": 0}, "in_group_size"),
        ({"quant_method": "vptq"}, "config_for_layers"),
        (with_layers({}, shared_layer_config={"layers": {}, "x": 1}), "shared_layer_config"),
        (with_layers({"a": vptq(8, 65536, 256, 1, outlier_size=64)}),
         "config_for_layers.a.outlier_size"),
        (with_layers({"a": vptq(8, 65536, 256, 1, in_features=4096)}),
         "config_for_layers.a.group_size"),
        (with_layers({}), "config_for_layers"),
        (with_layers({"a": vptq(8, 65536, 256, 1) | {"vector_lens": [4, 8]}}),
         "config_for_layers.a.vector_lens"),
        (with_layers({"a": vptq(8, 65536, 256, 1) | {"vector_lens": [8]}}),
         "config_for_layers.a.vector_lens"),
        ({"quant_method": "higgs", "bits": 5}, "bits"),
        ({"quant_method": "higgs", "group_size": 32}, "group_size"),
        ({"quant_method": "higgs", "group_size": 256, "hadamard_size": 128}, "group_size"),
    ],
)  # fmt: skip
def test_what_does_not_settle_the_bytes_is_refused(config: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        scheme(config)
    assert refused.value.field == f"quantization_config.{field}"
