"""Reads a configuration field by field and remembers which fields it has read.

What nobody read and nobody declared harmless is refused by name: a field we do not understand
could change memory.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from planner.errors import ConfigRefused, about

LARGEST = 2**31 - 1
# Activation functions that bring parameters of their own.
LEARNED = ("xielu", "prelu")
# Fields that make a list as long as they say.
COUNTS = ("layers", "layer", "depth", "blocks")
MOST_NAMED = 5
"""Fields that one refusal names beside the first."""
MOST_LAYERS = 10_000

# Fields that change no weight, no cache and no state: tokens, positions, losses, numerics.
HARMLESS = re.compile(
    r"""_name_or_path|_attn_implementation.*|_commit_hash|_num_labels|_flash_attn_2_enabled
    |architectures|auto_map|transformers_version|transformers\.js_config|model_type|name_or_path
    |torch_dtype|dtype|use_cache|is_decoder|return_dict|torchscript|unsloth_.*
    |output_(attentions|hidden_states|scores|router_logits|past)|use_return_dict
    |(bos|eos|pad|sep|unk|mask|cls|decoder_start|forced_.*|image|video|audio|boi|eoi|boa|eoa)_token_id
    |.*_token_(id|index|ids)|tokenizer_class|id2label|label2id|num_labels|problem_type
    |task_specific_params|finetuning_task|license|language|model_name|tokenizer_.*
    |(attention|attn|hidden|residual|resid|embd|embedding|ffn|mlp|activation|classifier|summary_first
      |feed_forward|hidden_states|residue|emb|embed|expert|token|final|output|layer|attention_probs)_?(dropout|pdrop)
      (_prob|_rate|_p)?|dropout(_rate|_p|_prob)?|layerdrop
    |initializer_(range|factor|std|.*_scale)|init_(std|method|method_std|scale|device|config|.*_range)
    |embed_init_.*|emb_init_range|.*_initializer_range
    |rope_(theta|scaling|parameters|type|ratio|pct|percent|local_base_freq|interleave|interleaved
      |dim|base|global_base_freq|mscale|ntk.*|style)|rotary_(pct|emb_base|base|percent|dim)
    |partial_rotary_factor|partial_rotary_factors|use_mrope|mrope_.*|global_rope_theta|local_rope_theta
    |sliding_rope_theta|layer_rope_theta|rotary_emb_.*|use_dynamic_ntk|use_logn_attn
    |max_position_embeddings|original_max_position_embeddings|max_sequence_length|seq_length
    |model_max_length|n_ctx|initial_context_length|max_seq_len|context_length|max_seq_length
    |(rms_norm|layer_norm|layernorm|norm|rmsnorm|layer_norms|ln)_(eps|epsilon)
    |norm_epsilon|rms_eps|eps|epsilon
    |hidden_act|hidden_activation|activation_function|activation|(mlp|mamba|ffn|moe|projector)_hidden_act
    |swiglu_(alpha|limit)|clip_qkv|.*logit_softcapping|query_pre_attn_scalar|logit_scale|logits_scaling
    |(embedding|residual|logits|attention|lm_head|key|query|ssm|mlp|ssm_in|ssm_out|attention_in
      |attention_out)_(multiplier|multipliers|scale|scaling)|scale_(emb|depth|embeddings)
    |attn_temperature_.*|attn_scale|floor_scale|scale_attn_weights|scale_attn_by_inverse_layer_idx
    |reorder_and_upcast_attn|dim_model_base
    |router_(aux_loss_coef|aux_loss_factor|jitter_noise|z_loss_coef|dtype|temperature)
    |(input_|moe_)?(aux_loss|z_loss|jitter)_?(coef|coeff|alpha|noise|eps|weight)?|seq_aux
    |aux_loss_alpha|norm_topk_prob|topk_(group|method)|n_group|scoring_func|scoring_function
    |moe_scoring_func|moe_router_(dtype|activation_func|.*coef.*|topk_scaling_factor)
    |routed_scaling_factor|router_scaling_factor|moe_routed_scaling_factor|route_(scale|norm)
    |pretraining_tp|ep_size|tensor_parallel.*|gradient_checkpointing.*|chunk_size_feed_forward
    |num_image_tokens|attn_implementation|cache_implementation|prefill_chunk_size|context_window_size
    |pad_id|summary_(type|use_proj|activation|proj_to_labels|first_dropout)|predict_special_tokens|n_special
    |use_bfloat16|tf_legacy_loss|remove_invalid_values|num_logits_to_keep|logits_to_keep
    |keys_to_ignore_at_inference|scale_embedding
    |typical_p|top_[kp]|temperature|do_sample|num_beams
    |num_beam_groups|num_return_sequences|max_length|min_length|length_penalty|repetition_penalty
    |no_repeat_ngram_size|encoder_no_repeat_ngram_size|early_stopping|bad_words_ids
    |diversity_penalty|begin_suppress_tokens|suppress_tokens|exponential_decay_length_penalty
    |prefix|special_tokens|is_composition|(scale_)?(attention_)?softmax_in_fp32
    |(im|text|image|video|audio|mask)_(start|end|newline|init)_id|use_flash_attn|use_flash_attention|flash_attention|fused?_(bias_fc|dropout_add_ln|mlp|norm|rms_norm|swiglu|(linear_)?cross_entropy|qkv)
    """,
    re.VERBOSE,
)


class Fields:
    """One configuration object under reading."""

    def __init__(self, config: Mapping[str, Any], path: str = "") -> None:
        self.config = config
        self.path = path
        self.read: set[str] = set()
        self.aliases: dict[str, tuple[str, ...]] = {}

    def fill(self, **defaults: Any) -> None:
        """Values of the model type's own class for fields that the configuration leaves out."""
        absent = {name: value for name, value in defaults.items() if name not in self.config}
        self.config = {**absent, **self.config}
        self.read.update(absent)

    def derive(self, **values: Any) -> None:
        """As `fill`, but also for fields that are null: what the class derives for itself."""
        absent = {name: value for name, value in values.items() if name not in self}
        self.config = {**self.config, **absent}
        self.read.update(absent)

    def settle(self, name: str, value: Any) -> None:
        """Put what the model type's own class makes of a field in its place."""
        self.config = {**self.config, name: value}
        self.read.add(name)

    def __contains__(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.config.get(name) is not None

    def given(self, name: str) -> bool:
        """Whether the field is there under any of its names, null or not."""
        return any(n in self.config for n in self.names_of(name))

    def names_of(self, *names: str) -> list[str]:
        """These names and the family's other names for the same fields."""
        return [n for name in names for n in (name, *self.aliases.get(name, ()))]

    def name_of(self, name: str) -> str:
        return f"{self.path}{name}"

    def refuse(self, name: str, why: str) -> ConfigRefused:
        """A refusal that names the field; raise what it returns."""
        return ConfigRefused(about(self.name_of(name), why), field=self.name_of(name))

    def raw(self, *names: str) -> Any:
        """The first of `names` that is there and not null, else None. Marks all as read."""
        return self._pick(names)[1]

    def _pick(self, names: Sequence[str]) -> tuple[str, Any]:
        every = self.names_of(*names)
        self.read.update(every)
        found = [name for name in every if self.config.get(name) is not None]
        if not found:
            return every[0], None
        first = self.config[found[0]]
        for other in found[1:]:
            if self.config[other] != first:
                raise self.refuse(other, f"{short(self.config[other])} contradicts {found[0]}")
        return found[0], first

    def integer(
        self, *names: str, default: int | None = None, least: int = 1, most: int = LARGEST
    ) -> int:
        """A whole number under the first of `names` that is there; refused when out of range."""
        name, value = self._pick(names)
        if value is None:
            if default is None:
                raise self.refuse(name, "is missing, and the model cannot be sized without it")
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            limits = f"from {least} to {most:,}" if most < LARGEST else f"of at least {least}"
            if isinstance(value, int) and value > most:
                limits = f"from {least} to {most:,}"
            raise self.refuse(name, f"{short(value)} is not a whole number {limits}")
        if value > MOST_LAYERS and name.endswith(COUNTS):
            raise self.refuse(name, f"{value:,} is more layers than any model has")
        return value

    def optional(self, *names: str, least: int = 1) -> int | None:
        """As `integer`, or None where the field is absent or null."""
        name, value = self._pick(names)
        return None if value is None else self.integer(name, least=least)

    def flag(self, *names: str, default: bool) -> bool:
        """A true or false; refused when it is anything else.

        A null counts as false where code asks for it, and as nothing said where a class reads it:
        it is refused where the two differ.
        """
        name, value = self._pick(names)
        if value is None:
            nulls = [n for n in self.names_of(*names) if n in self.config] if default else []
            if nulls:
                raise self.refuse(nulls[0], "is null, which may mean true or false; say which")
            return default
        if not isinstance(value, bool):
            raise self.refuse(name, f"{short(value)} is neither true nor false")
        return value

    def text(self, *names: str, default: str | None = None) -> str:
        """A string; refused when it is missing without a default or something else."""
        name, value = self._pick(names)
        if value is None:
            if default is None:
                raise self.refuse(name, "is missing, and the model cannot be sized without it")
            return default
        if not isinstance(value, str):
            raise self.refuse(name, f"{short(value)} is not a text")
        return value

    def sequence(self, *names: str, length: int | None = None) -> list[Any] | None:
        """A list, or None where absent; refused when its length is not `length`."""
        name, value = self._pick(names)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.refuse(name, f"{short(value)} is not a list")
        if length is not None and len(value) != length:
            raise self.refuse(name, f"has {len(value)} entries for {length} layers")
        return value

    def positions(self, *names: str) -> list[int] | None:
        """A list of positions of layers, or None where absent."""
        found = self.sequence(*names)
        for index in found or []:
            if isinstance(index, bool) or not isinstance(index, int) or index < 0:
                raise self.refuse(names[0], f"{short(index)} is not the position of a layer")
        return found

    def child(self, name: str) -> "Fields | None":
        """A nested object under its own reader, or None where absent."""
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.refuse(name, f"{short(value)} is not an object")
        return Fields(value, f"{self.name_of(name)}.")

    def part(self, name: str) -> "Fields":
        """A nested object under its own reader, an empty one where absent."""
        return self.child(name) or Fields({}, f"{self.name_of(name)}.")

    def expect(self, name: str, *allowed: Any) -> None:
        """Refuse unless the field is absent, null or one of `allowed`."""
        value = self.raw(name)
        if value is not None and value not in allowed:
            expected = " or ".join(short(a) for a in allowed)
            only = f" (only {expected} is)" if allowed else ""
            raise self.refuse(name, f"{short(value)} is not understood here{only}")

    def ignore(self, *names: str) -> None:
        """Declare fields as known to change no memory in this family."""
        self.read.update(names)

    def finish(self) -> None:
        """Refuse fields that nobody read and that are not known to be harmless."""
        left: dict[str, Any] = {}
        for name, value in self.config.items():
            if name in self.read or (HARMLESS.fullmatch(name) and value not in LEARNED):
                continue
            if value is None or value is False or value in ("", [], {}):
                continue
            left[name] = value
        if not left:
            return
        first, *more = left
        others = f", nor {' and '.join(map(self.name_of, more[:MOST_NAMED]))}" if more else ""
        rest = f" and {len(more) - MOST_NAMED:,} more" if len(more) > MOST_NAMED else ""
        them, they = ("them", "they do") if more else ("it", "it does")
        raise self.refuse(
            first,
            f"{short(left[first])} is not understood for this model type{others}{rest}, and could "
            f"change memory: take {them} out if {they} not",
        )


def short(value: Any) -> str:
    """A value as it may stand in a sentence: never long."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
