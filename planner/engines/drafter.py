"""What drafts for another model: a model of its own, an EAGLE, EAGLE3 or DFlash head, or Medusa's.

A head is a few decoder layers that read the target's hidden states through a projection (`fc`),
which every rank holds whole. It has no embedding of its own in memory: the target's serves both.
EAGLE's logits go through the target's head too; EAGLE3 and DFlash may have one over a smaller
vocabulary. Medusa's heads are a few linear layers and an output head for each token, without a
cache. Source: vLLM 0.29.0, models/llama_eagle, llama_eagle3, qwen3_dflash, medusa and
v1/worker/gpu/spec_decode/eagle/utils.

    drafter(config, "yuhuili/EAGLE3-LLaMA3.1-Instruct-8B", "eagle3")
"""

from collections.abc import Mapping
from typing import Any

from planner.errors import ConfigRefused, PlanRefused
from planner.hf_config import parse
from planner.hf_config.reader import Fields
from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp
from planner.model import LayerGroup, Model
from planner.tensors import Weight, linear, norm

HEADS = ("eagle", "eagle3", "dflash")
OWN = (
    "draft_vocab_size", "target_hidden_size", "target_hidden_layers", "target_num_layers",
    "eagle_config", "dflash_config", "norm_before_residual", "norm_before_fc", "fc_norm",
    "norm_output", "use_aux_hidden_state", "num_aux_hidden_states",
    "eagle_aux_hidden_state_layer_ids", "speculators_config", "speculators_model_type",
    "speculators_version", "has_no_defaults_at_init", "embed_requires_grad", "num_target_layers",
    "block_size", "bias", "truncated_vocab_size", "parallel_drafting", "tie_word_embeddings",
)  # fmt: skip
"""Fields of a head's configuration that no decoder has; `bias` is of EAGLE's fc, and left out."""
MEDUSA_HEADS = 5
"""Where a Medusa configuration names no number."""
UNSTATED_MTP = ("qwen3_next",)
"""vLLM's qwen3_next_mtp has num_nextn_predict_layers or else one such layer."""
AUX_STATES = 3
"""Hidden states of the target that EAGLE3 reads where its configuration names no layers."""
MAP_ENTRY = 4
"""The map from draft to target tokens is int64: four 16-bit elements."""


def drafter(
    config: Mapping[str, Any], source: str, method: str, draft_tokens: int | None = None
) -> Model:
    """The tensors that drafting by `method` adds to the target's, as a model.

    draft_tokens: those of a step, for which Medusa has a head each. Raises ConfigRefused for
    configurations that are not understood.
    """
    if method == "medusa":
        return _medusa(config, source, draft_tokens)
    if method not in HEADS:
        return parse(dict(config), source)
    layers, own = _split(config)
    model = parse(layers, source)
    for group in model.groups:
        if not all(isinstance(m, Attention) for m in group.mixers) or not isinstance(
            group.mlp, Mlp
        ):
            raise ConfigRefused(
                f"model_type: {method} heads with layers of {model.model_type} are not described"
            )
    hidden = model.hidden_size
    vocab = own.integer("draft_vocab_size", default=model.vocab_size)
    target = own.integer("target_hidden_size", default=hidden)
    head: tuple[Weight, ...] = ()
    groups, extras = model.groups, (*norm("norm", hidden),)
    if method == "eagle":
        groups, extras = _eagle_layers(model.groups), _fc(hidden, 2 * target)
    elif method == "eagle3":
        groups = _eagle3_layers(model.groups, hidden)
        head = linear("lm_head", vocab, hidden, "vocab", role="embedding")
        extras += _map(vocab) + _eagle3_inputs(own, hidden, target)
    else:
        if vocab != model.vocab_size:
            head = linear("lm_head", vocab, hidden, "vocab", role="embedding")
            extras += _map(vocab)
        named = own.part("dflash_config").sequence("target_layer_ids")
        read = len(named) if named else model.num_hidden_layers
        extras += norm("hidden_norm", hidden) + norm("mask_embedding", hidden)
        extras += _fc(hidden, read * target)
    return model.model_copy(
        update={"groups": groups, "head": head, "extras": extras, "tie_word_embeddings": False}
    )


def medusa(
    hidden: int, vocab: int, heads: int, dtype: str, source: str, *, layers: int = 1,
    bias: bool = False, shared: bool = False,
) -> Model:  # fmt: skip
    """`heads` stacks of `layers` linear layers, each whole on every rank, with an output head each
    or one for all (shared)."""
    blocks = tuple(
        weight
        for head in range(heads)
        for layer in range(layers)
        for weight in linear(f"blocks.{head}.layers.{layer}", hidden, hidden, bias=bias)
    )
    outputs = tuple(
        Weight(f"lm_heads.{i}", (vocab, hidden), "embedding", "vocab")
        for i in range(1 if shared else heads)
    )
    return Model(
        source=source, model_type="medusa", hidden_size=hidden, vocab_size=vocab,
        tie_word_embeddings=False, groups=(LayerGroup(layers=(0,), norms=blocks),),
        embedding=(), head=outputs, dtype=dtype,
    )  # fmt: skip


def self_drafting(model: Model) -> Model:
    """The model with the multi-token-prediction layers that its checkpoint has but its
    configuration does not state: one full-attention layer of Qwen3-Next."""
    if model.mtp or model.model_type not in UNSTATED_MTP:
        return model
    full = next((g for g in model.groups if g.kind == "full"), None)
    if full is None:
        return model
    hidden = model.hidden_size
    norms = tuple(Weight(name, (hidden,), "norm") for name in ("enorm", "hnorm", "norm"))
    extras = (Weight("eh_proj", (hidden, 2 * hidden), split="column"), *norms)
    layer = full.model_copy(update={"layers": (0,)})
    return model.model_copy(update={"mtp": (layer,), "mtp_extras": extras})


def check_fits(draft: Model, model: Model, method: str) -> None:
    """Raises PlanRefused for a draft that vLLM would not run beside this model."""
    if method == "draft_model" and draft.vocab_size != model.vocab_size:
        raise PlanRefused(
            f"speculative_config: the draft model's vocabulary has {draft.vocab_size:,} tokens and "
            f"the model's {model.vocab_size:,}; vLLM wants the same"
        )
    if method == "medusa" and draft.hidden_size != model.hidden_size:
        raise PlanRefused(
            f"speculative_config: Medusa's heads read hidden states {draft.hidden_size:,} wide and "
            f"the model's are {model.hidden_size:,}: they draft for another"
        )
    check_width(draft, model, "speculative_config")


def check_width(draft: Model, model: Model, option: str) -> None:
    """Raises PlanRefused for a head whose projection reads other hidden states than this model's.

    option: the engine's, that names the head.
    """
    fc = next((weight for weight in draft.extras if weight.name == "fc"), None)
    if fc is not None and fc.shape[1] % model.hidden_size:
        raise PlanRefused(
            f"{option}: the head reads hidden states {fc.shape[1]:,} wide, which are not "
            f"whole ones of this model (hidden_size {model.hidden_size:,}): it drafts for another"
        )


def _medusa(config: Mapping[str, Any], source: str, draft_tokens: int | None) -> Model:
    """num_speculative_tokens says how many heads vLLM builds; fields of their number and depth go
    by any name that has `num` with `heads` or `layers` in it, as it reads them."""
    if config.get("model_type", "medusa") != "medusa":
        raise ConfigRefused(f"model_type: {config['model_type']} is no configuration of Medusa's")
    read = {}
    for name, value in config.items():
        kind = next((k for k in ("heads", "layers") if "num" in name and k in name), None)
        read[f"num_{kind}" if kind else name] = value
    own = Fields(read)
    known = own.integer("num_heads", default=MEDUSA_HEADS)
    heads = known if draft_tokens is None else draft_tokens
    if heads > known:
        raise ConfigRefused(f"num_heads: {known} heads propose no {heads} tokens")
    vocab = own.integer("vocab_size")
    return medusa(
        own.integer("hidden_size"), own.integer("truncated_vocab_size", default=vocab), heads,
        own.text("torch_dtype", "dtype", default="float16"), source,
        layers=own.integer("num_layers", default=1),
        bias=own.flag("medusa_fc_bias", default=False),
        shared=own.flag("original_lm_head", default=False),
    )  # fmt: skip


def _split(config: Mapping[str, Any]) -> tuple[dict[str, Any], Fields]:
    """The decoder's configuration and the head's own fields, in either published form."""
    inner = config.get("transformer_layer_config") or config.get("model")
    layers = {**inner} if isinstance(inner, Mapping) else {**config}
    layers = {k: v for k, v in layers.items() if k not in (*OWN, "architectures")}
    layers.setdefault("torch_dtype", config.get("torch_dtype") or config.get("dtype"))
    return layers, Fields({**(inner if isinstance(inner, Mapping) else {}), **config})


def first_apart(groups: tuple[LayerGroup, ...]) -> tuple[LayerGroup, tuple[LayerGroup, ...]]:
    """Layer 0 by itself, and the others."""
    home = next(group for group in groups if 0 in group.layers)
    rest = home.model_copy(update={"layers": tuple(i for i in home.layers if i)})
    others = tuple(rest if group is home else group for group in groups)
    first = home.model_copy(update={"layers": (0,)})
    return first, tuple(group for group in others if group.layers)


def _eagle_layers(groups: tuple[LayerGroup, ...]) -> tuple[LayerGroup, ...]:
    """The first layer has no norm before its attention; no norm follows the last."""
    first, rest = first_apart(groups)
    return first.model_copy(update={"norms": first.norms[1:]}), *rest


def _eagle3_layers(groups: tuple[LayerGroup, ...], hidden: int) -> tuple[LayerGroup, ...]:
    """Every layer norms the hidden states apart; the first reads the embedding beside them, so
    that its query, key and value matrices are twice as wide."""
    apart = norm("hidden_norm", hidden)
    first, rest = (
        [g.model_copy(update={"norms": g.norms + apart}) for g in part]
        for part in ((first_apart(groups)[0],), first_apart(groups)[1])
    )
    (attention,) = first[0].mixers
    assert isinstance(attention, Attention)
    wider = tuple(
        weight
        for weight in attention.model_copy(update={"qkv_bias": False}).weights(hidden)
        if weight.name in ("q_proj", "k_proj", "v_proj")
    )
    doubled = attention.model_copy(update={"extras": attention.extras + wider})
    return first[0].model_copy(update={"mixers": (doubled,)}), *rest


def _eagle3_inputs(own: Fields, hidden: int, target: int) -> tuple[Weight, ...]:
    eagle = own.part("eagle_config")
    if not eagle.flag("use_aux_hidden_state", default=True):
        return ()
    named = eagle.sequence("eagle_aux_hidden_state_layer_ids")
    states = own.integer("num_aux_hidden_states", default=len(named) if named else AUX_STATES)
    found = _fc(hidden, states * target)
    before = own.flag("norm_before_fc", default=False)
    if eagle.flag("norm_before_fc", default=before):
        found += norm("input_norm", states * target)
    return found + (norm("fc_norm", states * target) if own.flag("fc_norm", default=False) else ())


def _fc(hidden: int, width: int) -> tuple[Weight, ...]:
    return (Weight("fc", (hidden, width)),)


def _map(vocab: int) -> tuple[Weight, ...]:
    return (Weight("draft_id_to_target_id", (vocab, MAP_ENTRY), "vector"),)
