"""One row per dense family whose code is published beside its weights, not in transformers.

Source of the rows: the modeling file in each family's own repository (LLaMA derivatives all, with
the biases and norms written out here); of nanbeige, plamo3, spark2_5 and telechat3,
mlx-lm 0.32.2.
"""

from dataclasses import replace

from planner.hf_config.dense.bases import LLAMA, QWEN2, QWEN3, STABLELM
from planner.hf_config.dense.decoder import decoder
from planner.hf_config.dense.traits import Traits
from planner.hf_config.families import family
from planner.hf_config.layers.attention_extras import head_gate
from planner.hf_config.reader import Fields
from planner.model import Model

NO_BIAS = {"attention_bias": (False,), "mlp_bias": (False,), "bias": (False,)}
LLAMA_WITHOUT_BIAS = Traits(expects=NO_BIAS)

TRAITS = {
    "Yi": LLAMA_WITHOUT_BIAS,
    "aquila": LLAMA_WITHOUT_BIAS,
    "baichuan": replace(
        LLAMA_WITHOUT_BIAS, multi_head=True, divides=True, ignored=("_from_model_config",)
    ),
    "exaone": replace(
        LLAMA,
        num_key_value_heads=8,
        aliases={"num_hidden_layers": ("num_layers",)},
        ignored=("embed_dropout",),
    ),
    "internlm": Traits(
        qkv_bias=("bias", True), o_bias=("bias", True), multi_head=True, divides=True
    ),
    "internlm2": Traits(qkv_bias=("bias", True), o_bias=("bias", True), divides=True),
    "minicpm": replace(
        LLAMA, mlp_bias=False, tied=True, ignored=("mup_denominator",), divides=True
    ),
    "nanbeige": replace(
        LLAMA,
        expects={
            "num_loops": (1,),
            "loop_loss_weights": ([],),
            "loop_share_kv": (False,),
            "enable_double_loop_split": (False,),
            "enable_depth_attention": (False,),
        },
        ignored=("skip_loop_final_norm",),
    ),
    "orion": Traits(
        norm="layer",
        qkv_bias=("attention_bias", False),
        o_bias=("attention_bias", False),
        divides=True,
        expects={"mlp_bias": (False,)},
    ),
    "plamo3": Traits(
        norms_per_layer=4,
        qk_norm="head",
        tied=True,
        num_key_value_heads=4,
        head_dim=128,
        windows="pattern",
        window=2048,
        period=8,
        aliases={"sliding_window": ("window_size",)},
        expects={"linear_type": ("normal",), "image_feature_size": (None,)},
        ignored=("image_proj_type", "rope_local_theta"),
    ),
    "spark2_5": replace(
        LLAMA,
        tied=True,
        windows="last",
        period=4,
        attention_extras=head_gate,
        expects={"headwise_attn_output_gate": (True,)},
        ignored=("gate_attn_act_mode",),
    ),
    "stablelm_epoch": STABLELM,
    "telechat3": LLAMA,
    "xverse": replace(
        LLAMA_WITHOUT_BIAS, multi_head=True, divides=True, ignored=("max_tokenizer_truncation",)
    ),
}


@family(*TRAITS)
def remote(fields: Fields) -> Model:
    """A LLaMA derivative."""
    return decoder(fields, TRAITS[fields.text("model_type")])


@family("mimo")
def mimo(fields: Fields) -> Model:
    """MiMo: Qwen2 with layers that predict further tokens."""
    fields.expect("attention_bias", True)
    traits = Traits(qkv_bias=True, windows="qwen", window=4096)
    return decoder(fields, traits)


MINICPMV = {
    "2.5": LLAMA_WITHOUT_BIAS, "2.6": QWEN2, "4": LLAMA_WITHOUT_BIAS, "4.0": LLAMA_WITHOUT_BIAS,
    "4.5": QWEN3,
}  # fmt: skip
"""The decoder of each version, which the file gives as a number or as a text."""


@family("minicpmv")
def minicpmv(fields: Fields) -> Model:
    """MiniCPM-V: the decoder that its version names, beside a tower and a resampler."""
    version = str(fields.raw("version"))
    if version not in MINICPMV:
        raise fields.refuse("version", f"{version[:20]} is not one whose decoder is known here")
    fields.ignore(
        "batch_vision_input", "drop_vision_last_layer", "image_size", "patch_size", "query_num",
        "slice_config", "slice_mode", "use_image_id", "vision_batch_size", "batch_3d_resampler",
    )  # fmt: skip
    return decoder(fields, MINICPMV[version])
