"""Decoders with experts with heads of their own kind: Laguna, Step 3 to 3.7 and MiMo-V2.

Source: the reference implementation of each type in Hugging Face transformers 5.23.
"""

from planner.hf_config.experts.decoder import sparse_decoder
from planner.hf_config.experts.slides import none
from planner.hf_config.experts.traits import BIASED, Sparse
from planner.hf_config.families import family
from planner.hf_config.layers.attention_extras import head_gate, sinks
from planner.hf_config.layers.experts import Experts
from planner.hf_config.layers.windows import Keep
from planner.hf_config.reader import Fields, short
from planner.kinds.attention import Attention
from planner.model import Model
from planner.tensors import linear, norm

LAGUNA = Sparse(
    **BIASED,
    qk_norm="head",
    head_dim=128,
    num_key_value_heads=8,
    slides=none,
    window=512,
    experts=Experts(listed=True, shared_size="shared_expert_intermediate_size", score_bias=True),
    defaults={"shared_expert_intermediate_size": 512},
    ignored=(
        "moe_apply_router_weight_on_input",
        "moe_router_logit_softcapping",
        "swa_rope_parameters",
    ),
)

STEP = Sparse(
    **BIASED,
    qk_norm="head",
    head_dim=128,
    num_key_value_heads=8,
    slides=none,
    experts=Experts(where="first", listed=True, shared_size="share_expert_dim"),
    defaults={"first_k_dense_replace": 3},
    expects={
        "use_head_wise_attn_gate": (True,),
        "moe_every_n_layer": (1,),
        "gating": (True,),
        "mlp_bias": (False,),
    },
    ignored=(
        "use_moe",
        "use_moe_router_bias",
        "moe_router_activation",
        "moe_router_scaling_factor",
        "swiglu_limits",
        "swiglu_limits_shared",
        "yarn_only_types",
        "use_qk_norm",
        "norm_expert_weight",
        "need_fp32_gate",
        "sink",
        "zero_centered",
        "att_impl_type",
        "use_rope_layers",
        "mtp_layer_types",
        "mtp_mlp_layer_types",
    ),
)

FACTORED = Sparse(
    num_key_value_heads=1,
    head_dim=256,
    experts=Experts(listed=True, shared_size="share_expert_dim"),
    ignored=("norm_expert_weight", "max_position_embedding"),
)

MIMO = Sparse(
    qkv_bias=("attention_bias", False),
    head_dim=192,
    num_key_value_heads=4,
    slides=none,
    experts=Experts(where="but_one", listed=True),
    expects={"n_shared_experts": (None,)},
    ignored=(
        "attention_value_scale", "attention_chunk_size", "hybrid_block_size", "swa_rope_theta",
    ),
)  # fmt: skip


@family("laguna")
def laguna(fields: Fields) -> Model:
    """Window layers may have more query heads; a gate per head or per element scales them."""
    count = fields.integer("num_hidden_layers")
    gating = fields.raw("gating")
    per_head = gating in (None, True, "per-head", "per_head")
    if gating is False:
        raise fields.refuse(
            "gating",
            "is false, which serving engines read as no gate, where transformers builds one per "
            "element; say per-head or per-element",
        )
    if not per_head and gating not in ("per-element", "per_element"):
        raise fields.refuse("gating", f"{short(gating)} is not understood here")
    kinds = fields.sequence("gating_types", length=count) or []
    expected = "per_head" if per_head else "per_element"
    if any(kind != expected for kind in kinds):
        raise fields.refuse("gating_types", "does not agree with gating in every layer")
    heads = fields.sequence("num_attention_heads_per_layer", length=count)
    hidden_size = fields.integer("hidden_size")
    fields.derive(mlp_layer_types=["dense"] + ["sparse"] * (count - 1))
    parts = fields.sequence("mlp_layer_types", length=count) or []
    dense = [index for index, kind in enumerate(parts) if kind == "dense"]
    fields.expect("decoder_sparse_step", 1)
    fields.expect("mlp_only_layers", dense)
    own = fields.integer("num_attention_heads") if heads is None else 0

    def adjust(attention: Attention, index: int, keep: Keep) -> Attention:
        count_here = own if heads is None else heads[index]
        whole = isinstance(count_here, int) and count_here > 0
        if not whole or count_here % attention.num_key_value_heads:
            raise fields.refuse("num_attention_heads_per_layer", f"{short(count_here)} is no count")
        width = count_here if per_head else count_here * attention.head_dim
        extras = linear("g_proj", width, hidden_size, "column")
        return attention.model_copy(update={"num_attention_heads": count_here, "extras": extras})

    return sparse_decoder(fields, LAGUNA, adjust)


@family("step3p5", "step3p7")
def step3(fields: Fields) -> Model:
    """Window layers have their own number of query heads; a gate per head scales them all."""
    step3_names(fields)
    count = fields.integer("num_hidden_layers")
    hidden_size = fields.integer("hidden_size")
    types = fields.config.get("layer_types")
    later = fields.integer("num_nextn_predict_layers", default=0, least=0)
    for name in ("layer_types", "mlp_layer_types"):
        listed = fields.config.get(name)
        if isinstance(listed, list) and len(listed) == count + later:
            fields.settle(name, listed[:count])
    listed = fields.raw("moe_layers_enum")
    if listed is not None:
        fields.fill(mlp_layer_types=step3_experts(fields, listed, count))
    others = fields.part("attention_other_setting")
    others.ignore("attention_type", "true_head_dim")
    others.expect("head_dim", fields.config.get("head_dim", 128))
    others.expect("num_attention_groups", fields.config.get("num_key_value_heads", 8))
    default = others.optional("num_attention_heads")
    own = fields.optional("num_sliding_attention_heads") or default
    others.finish()
    if own is None and isinstance(types, list) and "sliding_attention" in types:
        raise fields.refuse(
            "num_sliding_attention_heads", "is missing, as is attention_other_setting"
        )

    def adjust(attention: Attention, index: int, keep: Keep) -> Attention:
        heads = attention.num_attention_heads if keep.window is None or own is None else own
        if heads % attention.num_key_value_heads:
            raise fields.refuse(
                "num_sliding_attention_heads", f"{heads} is not divided by KV heads"
            )
        changed = attention.model_copy(update={"num_attention_heads": heads})
        return changed.model_copy(update={"extras": head_gate(changed, hidden_size)})

    return sparse_decoder(fields, STEP, adjust)


@family("step3_text")
def factored(fields: Fields) -> Model:
    """Step-3: queries through a width that all heads share, and one head of keys and values.

    Source: SGLang 0.5.23 (srt/models/step3_vl.py).
    """
    step3_names(fields)
    count = fields.integer("num_hidden_layers")
    hidden_size = fields.integer("hidden_size")
    kinds = step3_experts(fields, fields.raw("moe_layers_enum"), count)
    fields.fill(mlp_layer_types=kinds)
    fields.expect("mlp_layer_types", kinds)
    fields.expect("num_key_value_heads", 1)
    shared = fields.integer("share_q_dim")

    def adjust(attention: Attention, index: int, keep: Keep) -> Attention:
        width, one = attention.num_attention_heads * attention.head_dim, attention.head_dim
        extras = linear("q_proj", shared, hidden_size) + norm("inter_norm", shared)
        for name in ("k_proj", "v_proj"):
            extras += linear(name, one, hidden_size)
        extras += linear("wq", width, shared, "column")
        extras += linear("o_proj", hidden_size, width, "row")
        return attention.model_copy(update={"projections": False, "extras": extras})

    return sparse_decoder(fields, FACTORED, adjust)


STEP_NAMES = {
    "num_attention_groups": "num_key_value_heads",
    "moe_num_experts": "n_routed_experts",
    "moe_top_k": "num_experts_per_tok",
    "share_expert_dims": "share_expert_dim",
}


def step3_names(fields: Fields) -> None:
    """The publisher's names of fields beside those of transformers, which may only agree."""
    for name, other in STEP_NAMES.items():
        value = fields.raw(name)
        if value is not None:
            fields.fill(**{other: value})
            fields.expect(other, value)


def step3_experts(fields: Fields, listed: object, count: int) -> list[str]:
    """mlp_layer_types from positions as a list or as a text with commas."""
    items = listed.split(",") if isinstance(listed, str) else listed
    if not isinstance(items, list) or not all(str(item).strip().isdigit() for item in items):
        raise fields.refuse("moe_layers_enum", f"{short(listed)} does not list positions of layers")
    sparse = {int(item) for item in items}
    return ["sparse" if index in sparse else "dense" for index in range(count)]


@family("mimo_v2_flash")
def mimo_v2_flash(fields: Fields) -> Model:
    """Its class in transformers fixes which layers have a window, and twice the KV heads there."""
    kv_heads = fields.integer("num_key_value_heads", default=4)
    fields.expect("add_swa_attention_sink_bias", True)
    fields.expect("add_full_attention_sink_bias", False)
    fields.derive(add_swa_attention_sink_bias=True)
    own = {
        "num_attention_heads": fields.integer("num_attention_heads"),
        "num_key_value_heads": 2 * kv_heads,
        "head_dim": fields.integer("head_dim", default=192),
        "v_head_dim": fields.integer("v_head_dim", default=128),
    }
    for name, value in own.items():
        fields.expect(f"swa_{name}", value)
        fields.settle(f"swa_{name}", value)
    fields.derive(layer_types=mimo_types(fields, fields.integer("num_hidden_layers")))
    return mimo(fields)


@family("mimo_v2")
def mimo_v2(fields: Fields) -> Model:
    """MiMo-V2.5, whose own code reads window layers and layers with experts from two lists.

    Source: SGLang 0.5.23 (srt/models/mimo_v2.py).
    """
    count = fields.integer("num_hidden_layers")
    for name, kinds, settled in (
        ("hybrid_layer_pattern", ("full_attention", "sliding_attention"), "layer_types"),
        ("moe_layer_freq", ("dense", "sparse"), "mlp_layer_types"),
    ):
        listed = fields.sequence(name, length=count)
        if listed is None or any(type(one) is not int or one not in (0, 1) for one in listed):
            raise fields.refuse(name, f"does not say with 0 or 1 what each of {count} layers is")
        found = [kinds[one] for one in listed]
        fields.expect(settled, found)
        fields.settle(settled, found)
    fields.expect("attention_projection_layout", "fused_qkv", "split")
    fields.ignore("processor_config", "vision_model_type")
    return mimo(fields)


def mimo(fields: Fields) -> Model:
    """Window layers have heads of their own; learned sinks stand in some layers."""
    own = {
        name: fields.integer(f"swa_{name}")
        for name in ("num_attention_heads", "num_key_value_heads", "head_dim", "v_head_dim")
    }
    value_dim = fields.integer("v_head_dim", default=128)
    size = fields.optional("sliding_window_size")
    window = fields.integer("sliding_window", default=129) if size is None else size + 1
    fields.settle("sliding_window", window)
    sunk = {
        kind: fields.flag(f"add_{kind}_attention_sink_bias", default=False)
        for kind in ("full", "swa")
    }

    def adjust(attention: Attention, index: int, keep: Keep) -> Attention:
        full = keep.window is None
        changed = attention.model_copy(update={"v_head_dim": value_dim} if full else own)
        if sunk["full" if full else "swa"]:
            return changed.model_copy(update={"extras": sinks(changed, 0)})
        return changed

    return sparse_decoder(fields, MIMO, adjust)


def mimo_types(fields: Fields, count: int) -> list[str]:
    """Full layers first and every sixth; a hybrid_layer_pattern may only agree, with 0 for full."""
    slides = [bool(i) and (i + 1) % 6 != 0 for i in range(count)]
    if "layer_types" not in fields:
        fields.expect("hybrid_layer_pattern", [int(flag) for flag in slides])
    fields.ignore("hybrid_layer_pattern")
    return ["sliding_attention" if flag else "full_attention" for flag in slides]
