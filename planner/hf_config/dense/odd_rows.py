"""Dense families that keep tensors of their own beside the usual ones: sinks, scales, sub-norms.

Source of the rows: the reference implementation of each type in transformers 5.23.
"""

from dataclasses import replace

from planner.hf_config.dense.bases import ATTENTION_BIAS, BIASLESS, LLAMA
from planner.hf_config.dense.traits import Traits
from planner.hf_config.layers.attention_extras import sinks
from planner.tensors import Weight, linear, norm

TRAITS: dict[str, Traits] = {
    "apertus": replace(
        ATTENTION_BIAS,
        gated=False,
        qk_norm="head",
        divides=True,
        mlp_extras=lambda hidden, inner: tuple(
            Weight(f"act_fn.{name}", (1,), "vector") for name in ("alpha_p", "alpha_n")
        ),
        expects={
            "hidden_act": ("xielu",),
            "mlp_bias": (False,),
            "post_norm": (False,),
            "qk_norm": (True,),
        },
    ),
    "bitnet": replace(
        ATTENTION_BIAS,
        num_key_value_heads=5,
        divides=True,
        attention_extras=lambda attention, hidden: norm("attn_sub_norm", hidden),
        mlp_extras=lambda hidden, inner: norm("ffn_sub_norm", inner),
    ),
    "diffllama": replace(
        ATTENTION_BIAS,
        divides=True,
        attention_extras=lambda attention, hidden: tuple(
            Weight(f"lambda_{name}", (attention.head_dim,), "vector")
            for name in ("q1", "k1", "q2", "k2")
        ),
        ignored=("lambda_std_dev",),
    ),
    "granite_swa": replace(
        LLAMA,
        tied=True,
        num_key_value_heads=4,
        windows="first",
        window=128,
        period=4,
        attention_extras=sinks,
    ),
    "voxtral_realtime_text": replace(
        BIASLESS,
        num_key_value_heads=8,
        windows="every",
        window=4096,
        layer_extras=lambda hidden: (
            *linear("ada_rms_norm.linear1", 32, hidden),
            *linear("ada_rms_norm.linear2", hidden, 32),
        ),
    ),
}
