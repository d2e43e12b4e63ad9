"""One row per family with multi-head latent attention; see mla.

Source of the rows: the reference implementation of each type in Hugging Face transformers 5.24.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from planner.hf_config.layers.experts import Experts


@dataclass(frozen=True)
class Latent:
    """Traits of a model type with latent attention; see experts.traits.Sparse for `defaults`.

    sparse_norms: norms that only layers with experts have. streams: parallel residual streams
    (hyper-connections), with learned sinks and an output gate in attention. norm_gates: low-rank
    gates behind the norms, and an output gate that reads the low-rank query. divides: an absent
    v_head_dim is hidden_size / heads. mlp_bias: the dense part may have biases. expects: what
    fields may only say. aliases: other names this family uses for a field.
    """

    experts: Experts | None = field(
        default_factory=lambda: Experts(where="first", shared=True, mlp_bias="mlp_bias")
    )
    indexer: bool = False
    tied: bool = False
    sparse_norms: int = 0
    streams: bool = False
    norm_gates: bool = False
    divides: bool = False
    mlp_bias: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)
    expects: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def indexed(heads: int) -> dict[str, int]:
    """The defaults of an indexer with so many heads."""
    return {"index_n_heads": heads, "index_head_dim": 128, "index_topk": 2048}


def hy_v4(q_lora_rank: int, heads: int) -> Latent:
    """The text model and the one in the VL model, which differ in these two."""
    chooses = {"index_topk_freq": 4, "index_skip_topk_offset": 2}
    return Latent(
        experts=Experts(where="but_one", listed=True, shared=True),
        indexer=True,
        streams=True,
        defaults={"n_shared_experts": 1, "q_lora_rank": q_lora_rank, **indexed(heads), **chooses},
        expects={**chooses, "index_topk_pattern": None},
    )


DEEPSEEK_V3 = Latent(
    experts=Experts(where="first", shared=True),
    defaults={"first_k_dense_replace": 3, "q_lora_rank": 1536, "n_shared_experts": 1},
)

TRAITS = {
    "deepseek_v2": Latent(defaults={"q_lora_rank": 1536, "n_shared_experts": 2}),
    "deepseek_v3": DEEPSEEK_V3,
    "kimi_k2": DEEPSEEK_V3,
    "deepseek_v32": Latent(
        experts=Experts(where="first", listed=True, shared=True),
        indexer=True,
        defaults={
            "first_k_dense_replace": 3,
            "q_lora_rank": 1536,
            "n_shared_experts": 1,
            **indexed(64),
        },
        expects={"index_topk_freq": 1, "index_topk_pattern": None, "indexer_types": None},
    ),
    "glm_moe_dsa": Latent(
        experts=Experts(where="first", listed=True, shared=True),
        indexer=True,
        defaults={
            "first_k_dense_replace": 3,
            "q_lora_rank": 2048,
            "n_shared_experts": 1,
            **indexed(32),
        },
    ),
    "glm4_moe_lite": Latent(
        experts=Experts(where="but_one", listed=True, shared=True),
        defaults={"q_lora_rank": 768, "n_shared_experts": 1},
        aliases={"qk_rope_head_dim": ("head_dim",)},
    ),
    "mistral4": Latent(
        experts=Experts(where="first", shared=True),
        defaults={"first_k_dense_replace": 0, "q_lora_rank": 1024, "n_shared_experts": 1},
    ),
    "axk1": Latent(
        experts=Experts(where="first", listed=True, shared=True),
        sparse_norms=1,
        defaults={"first_k_dense_replace": 1, "q_lora_rank": 1536, "n_shared_experts": 1},
    ),
    "hy_v4": hy_v4(q_lora_rank=1536, heads=16),
    "hy_v4_vl_text": hy_v4(q_lora_rank=2048, heads=32),
    "sarvam_mla": Latent(
        experts=Experts(where="first", shared=True, least_shared=1),
        defaults={"first_k_dense_replace": 1},
    ),
    "axk2": Latent(
        experts=Experts(where="first", listed=True, shared=True),
        indexer=True,
        norm_gates=True,
        defaults={
            "first_k_dense_replace": 1, "q_lora_rank": 384, "n_shared_experts": 1, **indexed(16),
        },
        expects={"index_topk_freq": 1, "index_topk_pattern": None, "indexer_types": None},
    ),
    "minicpm3": Latent(
        experts=None, tied=True, divides=True, mlp_bias=True, defaults={"q_lora_rank": 768}
    ),
    "youtu": Latent(experts=None, tied=True, defaults={"q_lora_rank": 1536}),
}  # fmt: skip
TRAITS["youtu_llm"] = TRAITS["youtu"]
"""The name in its publisher's files."""
