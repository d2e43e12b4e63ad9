"""Metadata of GGUF files against the config.json of the same models.

Tensors as llama.cpp's src/models/*.cpp create them, keys as its conversion/*.py writes them (2026).
"""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from planner.errors import ConfigRefused, SizewellError
from planner.files.gguf_config import config_of, gguf_with_files
from planner.files.gguf_header import GgufHeader, read_header
from planner.formats.quantization import assign
from planner.hf_config import parse
from planner.model import Model
from planner.variants import attention_variants
from planner.weights import weights_bytes
from presets.models import load_model_config
from tests.planner.files.written import gguf

SIZES = json.loads(
    Path(__file__).parents[1].joinpath("data", "gguf_file_sizes.json").read_text(encoding="utf-8")
)
Shape = tuple[int, ...]


def typed(shapes: dict[str, Shape], kind: str = "q8_0") -> dict[str, tuple[str, Shape]]:
    """Matrices of one type, vectors in fp32."""
    return {name: ("f32" if len(shape) == 1 else kind, shape) for name, shape in shapes.items()}


def outside(config: dict[str, Any], *, tied: bool = False) -> dict[str, Shape]:
    vocab, hidden = config["vocab_size"], config["hidden_size"]
    found: dict[str, Shape] = {
        "token_embd.weight": (vocab, hidden),
        "output_norm.weight": (hidden,),
    }
    return found if tied else {**found, "output.weight": (vocab, hidden)}


def attention(config: dict[str, Any]) -> dict[str, Shape]:
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    width = config.get("head_dim") or hidden // heads
    keys = config["num_key_value_heads"] * width
    return {
        "attn_norm.weight": (hidden,), "ffn_norm.weight": (hidden,),
        "attn_q.weight": (heads * width, hidden), "attn_k.weight": (keys, hidden),
        "attn_v.weight": (keys, hidden), "attn_output.weight": (hidden, heads * width),
    }  # fmt: skip


def dense(config: dict[str, Any], name: str = "") -> dict[str, Shape]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    return {
        "ffn_gate.weight": (inner, hidden), "ffn_up.weight": (inner, hidden),
        "ffn_down.weight": (hidden, inner),
    }  # fmt: skip


def experts(config: dict[str, Any], count: int, inner: int) -> dict[str, Shape]:
    hidden = config["hidden_size"]
    return {
        "ffn_gate_inp.weight": (count, hidden), "ffn_gate_exps.weight": (count, inner, hidden),
        "ffn_up_exps.weight": (count, inner, hidden),
        "ffn_down_exps.weight": (count, hidden, inner),
    }  # fmt: skip


def blocks(count: int, layer: Callable[[int], dict[str, Shape]]) -> dict[str, Shape]:
    return {f"blk.{i}.{name}": shape for i in range(count) for name, shape in layer(i).items()}


def keys(architecture: str, config: dict[str, Any], **others: Any) -> dict[str, Any]:
    """What conversion/base.py writes of every model, and `others`, whose __ are dots."""
    found = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "attention.layer_norm_rms_epsilon": 1e-6,
        **{name.replace("__", "."): value for name, value in others.items()},
    }
    if "rope_theta" in config:
        found["rope.freq_base"] = float(config["rope_theta"])
    return {
        "general.architecture": architecture,
        "general.file_type": 7,
        **{f"{architecture}.{name}": value for name, value in found.items()},
        "tokenizer.ggml.model": "gpt2",
    }


def qwen3_moe() -> tuple[dict[str, Any], bytes]:
    config = load_model_config("qwen3-30b-a3b")
    shapes = outside(config) | blocks(
        48,
        lambda _: {
            **attention(config), **experts(config, 128, 768),
            "attn_q_norm.weight": (128,), "attn_k_norm.weight": (128,),
        },
    )  # fmt: skip
    metadata = keys(
        "qwen3moe", config, attention__key_length=128, attention__value_length=128,
        expert_count=128, expert_used_count=8, expert_feed_forward_length=768,
    )  # fmt: skip
    return config, gguf(metadata, typed(shapes) | gates(48, 128, 2048))


def gates(count: int, num_experts: int, hidden: int) -> dict[str, tuple[str, Shape]]:
    """Routers, which llama.cpp leaves in fp32."""
    name = "blk.{}.ffn_gate_inp.weight"
    return {name.format(i): ("f32", (num_experts, hidden)) for i in range(count)}


def gemma3() -> tuple[dict[str, Any], bytes]:
    config = load_model_config("gemma-3-1b-it")
    config = config.get("text_config", config)
    hidden = config["hidden_size"]
    shapes = outside(config, tied=True) | blocks(
        26,
        lambda _: {
            **attention(config), **dense(config),
            "attn_q_norm.weight": (256,), "attn_k_norm.weight": (256,),
            "post_attention_norm.weight": (hidden,), "post_ffw_norm.weight": (hidden,),
        },
    )  # fmt: skip
    metadata = keys(
        "gemma3", config, attention__key_length=256, attention__value_length=256,
        attention__sliding_window=config["sliding_window"],
    )  # fmt: skip
    return config, gguf(metadata, typed(shapes))


def phi3() -> tuple[dict[str, Any], bytes]:
    config = load_model_config("phi-3-mini-4k-instruct")
    hidden, inner = 3072, 8192
    shapes = outside(config) | blocks(
        32,
        lambda _: {
            "attn_norm.weight": (hidden,), "ffn_norm.weight": (hidden,),
            "attn_qkv.weight": (3 * hidden, hidden), "attn_output.weight": (hidden, hidden),
            "ffn_up.weight": (2 * inner, hidden), "ffn_down.weight": (hidden, inner),
        },
    )  # fmt: skip
    metadata = keys(
        "phi3", config, rope__dimension_count=96, rope__scaling__original_context_length=4096,
        attention__sliding_window=config["sliding_window"] or 0,
    )  # fmt: skip
    return config, gguf(metadata, typed(shapes))


def deepseek2() -> tuple[dict[str, Any], bytes]:
    config = load_model_config("deepseek-v2-lite")
    hidden, heads = 2048, 16

    def layer(index: int) -> dict[str, Shape]:
        latent: dict[str, Shape] = {
            "attn_norm.weight": (hidden,), "ffn_norm.weight": (hidden,),
            "attn_q.weight": (heads * 192, hidden), "attn_kv_a_mqa.weight": (576, hidden),
            "attn_kv_a_norm.weight": (512,), "attn_k_b.weight": (heads, 512, 128),
            "attn_v_b.weight": (heads, 128, 512), "attn_output.weight": (hidden, heads * 128),
        }  # fmt: skip
        if index == 0:
            return {**latent, **dense(config)}
        shared = {
            "ffn_gate_shexp.weight": (2816, hidden), "ffn_up_shexp.weight": (2816, hidden),
            "ffn_down_shexp.weight": (hidden, 2816),
        }  # fmt: skip
        return {**latent, **experts(config, 64, 1408), **shared}

    metadata = keys(
        "deepseek2", config, leading_dense_block_count=1, vocab_size=102400,
        attention__kv_lora_rank=512, attention__key_length=576, attention__value_length=512,
        attention__key_length_mla=192, attention__value_length_mla=128,
        expert_feed_forward_length=1408, expert_count=64, expert_used_count=6,
        expert_shared_count=2, expert_weights_scale=1.0, rope__dimension_count=64,
        rope__scaling__type="yarn", rope__scaling__factor=40.0,
        rope__scaling__original_context_length=4096, rope__scaling__yarn_log_multiplier=0.0707,
    )  # fmt: skip
    metadata["deepseek2.attention.head_count_kv"] = 1
    return config, gguf(metadata, typed(outside(config) | blocks(27, layer)))


def gpt_oss() -> tuple[dict[str, Any], bytes]:
    config = load_model_config("gpt-oss-20b")
    hidden, inner, count = 2880, 2880, 32
    biases: dict[str, Shape] = {
        "attn_q.bias": (4096,), "attn_k.bias": (512,), "attn_v.bias": (512,),
        "attn_output.bias": (hidden,), "attn_sinks.weight": (64,), "ffn_gate_inp.bias": (count,),
        "ffn_gate_exps.bias": (count, inner), "ffn_up_exps.bias": (count, inner),
        "ffn_down_exps.bias": (count, hidden), "post_attention_norm.weight": (hidden,),
    }  # fmt: skip

    def layer(_: int) -> dict[str, Shape]:
        found = {**attention(config), **experts(config, count, inner), **biases}
        del found["ffn_norm.weight"]
        return found

    tensors = typed(outside(config) | blocks(24, layer))
    for name, (_, shape) in list(tensors.items()):
        if name.endswith(("_exps.bias", "gate_inp.weight")):
            tensors[name] = ("f32", shape)
        elif name.endswith("_exps.weight"):
            tensors[name] = ("mxfp4", shape)
    metadata = keys(
        "gpt-oss", config, attention__key_length=64, attention__value_length=64,
        attention__sliding_window=128, expert_count=32, expert_used_count=4,
        expert_feed_forward_length=2880, rope__scaling__type="yarn", rope__scaling__factor=32.0,
        rope__scaling__original_context_length=4096,
    )  # fmt: skip
    return config, gguf(metadata, tensors)


def qwen2() -> tuple[dict[str, Any], bytes]:
    config = load_model_config("qwen2.5-7b")
    biases: dict[str, Shape] = {
        "attn_q.bias": (3584,),
        "attn_k.bias": (512,),
        "attn_v.bias": (512,),
    }
    shapes = outside(config) | blocks(
        28, lambda _: {**attention(config), **dense(config), **biases}
    )
    return config, gguf(keys("qwen2", config), typed(shapes))


def gemma2() -> tuple[dict[str, Any], bytes]:
    """As converted in June 2024, before the window was written: llama.cpp takes 4096."""
    config = load_model_config("gemma-2-9b")
    hidden = config["hidden_size"]
    shapes = outside(config, tied=True) | blocks(
        42,
        lambda _: {
            **attention(config), **dense(config),
            "post_attention_norm.weight": (hidden,), "post_ffw_norm.weight": (hidden,),
        },
    )  # fmt: skip
    metadata = keys(
        "gemma2", config, attention__key_length=256, attention__value_length=256,
        attn_logit_softcapping=50.0, final_logit_softcapping=30.0,
    )  # fmt: skip
    return config, gguf(metadata, typed(shapes))


def gemma() -> tuple[dict[str, Any], bytes]:
    config = load_model_config("gemma-7b")
    shapes = outside(config, tied=True)
    shapes |= blocks(28, lambda _: {**attention(config), **dense(config)})
    metadata = keys("gemma", config, attention__key_length=256, attention__value_length=256)
    return config, gguf(metadata, typed(shapes))


def qwen3() -> tuple[dict[str, Any], bytes]:
    config = load_model_config("qwen3-8b")
    norms: dict[str, Shape] = {"attn_q_norm.weight": (128,), "attn_k_norm.weight": (128,)}
    shapes = outside(config)
    shapes |= blocks(36, lambda _: {**attention(config), **dense(config), **norms})
    metadata = keys("qwen3", config, attention__key_length=128, attention__value_length=128)
    return config, gguf(metadata, typed(shapes))


def olmo2() -> tuple[dict[str, Any], bytes]:
    config = load_model_config("olmo-2-1124-7b")
    hidden = config["hidden_size"]

    def layer(_: int) -> dict[str, Shape]:
        found = {**attention(config), **dense(config)}
        del found["attn_norm.weight"], found["ffn_norm.weight"]
        norms = ("attn_q_norm", "attn_k_norm", "post_attention_norm", "post_ffw_norm")
        return {**found, **{f"{name}.weight": (hidden,) for name in norms}}

    shapes = outside(config) | blocks(32, layer)
    return config, gguf(keys("olmo2", config, rope__dimension_count=128), typed(shapes))


def smollm3() -> tuple[dict[str, Any], bytes]:
    config = load_model_config("smollm3-3b")
    shapes = outside(config, tied=True)
    shapes |= blocks(36, lambda _: {**attention(config), **dense(config)})
    return config, gguf(keys("smollm3", config, rope__dimension_count=128), typed(shapes))


def test_olmo3_is_an_olmo2_with_windows() -> None:
    header = read_header(olmo2()[1])
    metadata = {**header.metadata, "olmo2.attention.sliding_window": 4096}
    found = parse(config_of([GgufHeader(metadata, header.tensors, 0)]))
    assert (found.model_type, found.layer_counts) == ("olmo3", {"sliding": 24, "full": 8})


def test_shared_experts_of_qwen2() -> None:
    config = {
        "num_hidden_layers": 2, "hidden_size": 256, "intermediate_size": 512,
        "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 1024,
        "max_position_embeddings": 4096,
    }  # fmt: skip
    shared: dict[str, Shape] = {
        "ffn_gate_inp_shexp.weight": (256,), "ffn_gate_shexp.weight": (128, 256),
        "ffn_up_shexp.weight": (128, 256), "ffn_down_shexp.weight": (256, 128),
        "attn_q.bias": (256,), "attn_k.bias": (256,), "attn_v.bias": (256,),
    }  # fmt: skip
    shapes = outside(config)
    shapes |= blocks(2, lambda _: {**attention(config), **experts(config, 6, 64), **shared})
    metadata = keys(
        "qwen2moe", config, expert_count=6, expert_used_count=2, expert_feed_forward_length=64,
        expert_shared_feed_forward_length=128,
    )  # fmt: skip
    header = read_header(gguf(metadata, typed(shapes)))
    found = weights_bytes(assign(parse(config_of([header])), "auto"))
    assert found.total == sum(tensor.bytes for tensor in header.tensors)


FAMILIES = [
    qwen2,
    qwen3,
    qwen3_moe,
    gemma,
    gemma2,
    gemma3,
    phi3,
    deepseek2,
    gpt_oss,
    olmo2,
    smollm3,
]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gguf_file_is_the_model_of_its_config(
    family: Callable[[], tuple[dict[str, Any], bytes]],
) -> None:
    config, data = family()
    theirs, ours = parse(config), parse(config_of([read_header(data)]))
    same = ("groups", "embedding", "head", "extras", "hidden_size", "max_position_embeddings")
    for name in (*same, "tie_word_embeddings", "model_type"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert (ours.rope or {}).get("rope_theta") == (theirs.rope or {}).get("rope_theta")
    assert (ours.rope or {}).get("factor") == (theirs.rope or {}).get("factor")


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_the_tensors_of_the_file(
    family: Callable[[], tuple[dict[str, Any], bytes]],
) -> None:
    _, data = family()
    header = read_header(data)
    found = parse(gguf_with_files("x.gguf", [header]))
    assert found.files is not None
    stored = sum(tensor.bytes for tensor in header.tensors)
    assert found.files.bytes == stored == weights_bytes(assign(found, "auto")).total


def test_published_file_of_qwen3_30b() -> None:
    """unsloth's Q8_0, less a header of tokens and merges."""
    size = next(f["bytes"]["q8_0"] for f in SIZES["files"] if "30B-A3B" in f["repository"])
    found = model(qwen3_moe()[1])
    assert 500_000 < size - weights_bytes(assign(found, "auto")).total < 10_000_000


def model(data: bytes) -> Model:
    return parse(config_of([read_header(data)]))


def small(**others: Any) -> tuple[dict[str, Any], dict[str, tuple[str, Shape]]]:
    """A Llama of two layers: metadata and tensors."""
    config = {
        "num_hidden_layers": 2, "hidden_size": 256, "intermediate_size": 512,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1024,
        "max_position_embeddings": 4096, "rope_theta": 1e4,
    }  # fmt: skip
    shapes = outside(config) | blocks(2, lambda _: {**attention(config), **dense(config)})
    return keys("llama", config, **others), typed(shapes)


def test_mixtral_is_a_llama_with_experts() -> None:
    metadata, tensors = small(expert_count=8, expert_used_count=2)
    dense_ones = [name for name in tensors if ".ffn_" in name and "norm" not in name]
    for name in dense_ones:
        del tensors[name]
    config = {"hidden_size": 256}
    tensors |= typed(blocks(2, lambda _: experts(config, 8, 512)))
    found = model(gguf(metadata, tensors))
    assert found.model_type == "mixtral"
    assert weights_bytes(assign(found, "auto")).experts == 2 * 8 * (3 * 512 * 256 + 256) // 32 * 34


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"general.architecture": "rwkv9"}, "general.architecture: 'rwkv9'"),
        ({"general.architecture": None}, "general.architecture is missing"),
        ({"general.architecture": 5}, "general.architecture: '5'"),
        ({"llama.ssm.state_size": 16}, "llama.ssm.state_size is not understood"),
        ({"llama.nextn_predict_layers": 1}, "llama.nextn_predict_layers is not understood"),
        ({"llama.attention.sliding_window": 128}, "llama.attention.sliding_window is not"),
        ({"llama.attention.causal": False}, "llama.attention.causal is false"),
        ({"llama.attention.value_length": 32}, "llama.attention.value_length is not the length"),
        ({"llama.attention.head_count_kv": [1, 2]}, "is not one number for all layers"),
        ({"llama.block_count": "2"}, "llama.block_count 2 is not one number"),
        ({"llama.embedding_length": None}, "llama.embedding_length is missing"),
        ({"llama.attention.head_count": 0}, "llama.attention.head_count is missing"),
        ({"llama.attention.key_length": 0}, "llama.attention.key_length is 0"),
        ({"llama.block_count": 2**31}, "llama.block_count is more than the file has tensors"),
        ({"llama.block_count": 2.5}, "llama.block_count 2.5 is not a whole number"),
        ({"split.count": "x"}, "x parts, and 1 of them are here"),
        ({"llama.rope.scaling.type": "dynamic"}, "llama.rope.scaling.type 'dynamic'"),
        ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.factor is None, and yarn needs"),
        (
            {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 0.0},
            "llama.rope.scaling.factor is 0.0",
        ),
        (
            {
                "general.architecture": "gpt-oss",
                "gpt-oss.block_count": 2,
                "gpt-oss.embedding_length": 256,
                "gpt-oss.attention.head_count": 4,
            },
            "gpt-oss.attention.sliding_window is missing",
        ),
        ({"split.count": 3}, "3 parts, and 1 of them are here"),
        ({"split.count": 1, "split.tensors.count": 99}, "split.tensors.count"),
    ],
)
def test_what_is_not_understood_is_refused_by_key(change: dict[str, Any], message: str) -> None:
    metadata, tensors = small()
    metadata = {k: v for k, v in {**metadata, **change}.items() if v is not None}
    with pytest.raises(ConfigRefused, match=message.replace("(", r"\(")):
        config_of([read_header(gguf(metadata, tensors))])


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("blk.0.attn_k.weight", None, "blk.0.attn_k.weight: the file has no such tensor"),
        ("blk.1.ffn_norm.weight", None, "blk.1.ffn_norm.weight: the file has no such tensor"),
        ("blk.0.attn_q.bias", ("f32", (256,)), "blk.0.attn_k.bias: the file has no such tensor"),
        ("blk.0.ssm_a", ("f32", (256,)), "blk.0.ssm_a: this tensor is none that Sizewell knows"),
        (
            "blk.1.ffn_up.weight",
            ("q8_0", (480, 256)),
            "it has 122,880 elements, where the metadata",
        ),
    ],
)
def test_tensors_that_the_metadata_do_not_make_are_refused_by_name(
    name: str, tensor: tuple[str, Shape] | None, message: str
) -> None:
    metadata, tensors = small()
    tensors.pop(name, None)
    if tensor is not None:
        tensors[name] = tensor
    with pytest.raises(ConfigRefused, match=message):
        assign(model(gguf(metadata, tensors)), "auto")


def test_parts_of_a_split_file_are_one_model() -> None:
    metadata, tensors = small()
    names = list(tensors)
    halves = [{n: tensors[n] for n in names[:8]}, {n: tensors[n] for n in names[8:]}]
    count = {"split.count": 2, "split.tensors.count": len(names)}
    parts = [
        read_header(gguf({**(metadata if i == 0 else {}), **count, "split.no": i}, half))
        for i, half in enumerate(halves)
    ]
    whole = read_header(gguf(metadata, tensors))
    assert config_of(parts) == config_of([whole])
    with pytest.raises(ConfigRefused, match="2 parts, and 1"):
        config_of(parts[:1])
    with pytest.raises(ConfigRefused, match=r"split\.count"):
        config_of(parts[::-1])


def test_windows_by_period_by_list_and_by_default() -> None:
    _, data = gemma3()
    header = read_header(data)

    def kinds(**changes: Any) -> dict[str, int]:
        metadata = {**header.metadata}
        for name, value in changes.items():
            metadata[f"gemma3.attention.{name}"] = value
        return parse(config_of([GgufHeader(metadata, header.tensors, 0)])).layer_counts

    assert kinds() == {"sliding": 22, "full": 4}  # every sixth of 26 sees everything
    assert kinds(sliding_window_pattern=2) == {"sliding": 13, "full": 13}
    assert kinds(sliding_window_pattern=[True] * 25 + [False]) == {"sliding": 25, "full": 1}
    assert kinds(sliding_window_pattern=[True] * 26) == {"sliding": 26}
    assert kinds(sliding_window=0) == {"full": 26}
    # llama-hparams.h, set_swa_pattern: a period of 0 slides everywhere, one of 1 nowhere.
    assert kinds(sliding_window_pattern=0) == {"sliding": 26}
    assert kinds(sliding_window_pattern=1) == {"full": 26}
    with pytest.raises(ConfigRefused, match="is no list of yes and no"):
        kinds(sliding_window_pattern=["no"] * 26)
    with pytest.raises(ConfigRefused, match="does not describe 26 layers"):
        kinds(sliding_window_pattern=[True, False])


def test_a_listed_tensor_must_be_a_type_and_a_shape() -> None:
    metadata, tensors = small()
    config = config_of([read_header(gguf(metadata, tensors))])
    for wrong in ("q9_9 4x4", "q8_0", "q8_0 4xx4", 5):
        config["quantization_config"]["tensors"]["output.weight"] = wrong
        with pytest.raises(ConfigRefused, match=r"output.weight has '.*' belong"):
            assign(parse(config), "auto")
    config["quantization_config"]["tensors"] = None
    with pytest.raises(ConfigRefused, match=r"quantization_config.tensors is no list"):
        assign(parse(config), "auto")


def test_no_broken_byte_does_more_than_refuse() -> None:
    """One byte of a small file's header at a time, then all that is read from it."""
    data = gguf(*small())
    chance = random.Random(7)
    refused = 0
    for _ in range(3000):
        broken = bytearray(data)
        broken[chance.randrange(len(data))] = chance.randrange(256)
        try:
            assign(model(bytes(broken)), "auto")
        except SizewellError:
            refused += 1
    assert refused > 1000


def test_a_model_of_another_shape_keeps_the_type_of_most() -> None:
    metadata, tensors = small()
    found = parse(gguf_with_files("x.gguf", [read_header(gguf(metadata, tensors))]))
    variant = next(v for v in attention_variants(found) if v.model.groups != found.groups)
    assert variant.model.files is None
    assert set(assign(variant.model, "auto").bytes_by_format()) == {"q8_0", "fp32"}


def test_what_stands_for_a_type_must_be_one() -> None:
    metadata, tensors = small()
    config = config_of([read_header(gguf(metadata, tensors))])
    for wrong in ("fp8", "x" * 5000, 5, ["q8_0"]):
        config["quantization_config"] = {"quant_method": "gguf", "like": wrong}
        with pytest.raises(ConfigRefused, match=r"like is .* no type") as refused:
            assign(parse(config), "auto")
        assert len(str(refused.value)) < 200
