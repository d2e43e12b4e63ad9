"""Softmax attention in its forms. Each says which weights it has and what it caches per token.

Field names are Hugging Face's. `extras` holds tensors that change neither cache nor sharding
(norms, sinks, odd biases), so that a family's oddity is data and not a new class.
"""

from typing import Literal

from planner.frozen import Frozen
from planner.kinds.indexer import Indexer
from planner.tensors import CacheTensor, StateTensor, Weight, linear, norm


class Attention(Frozen):
    """Multi-head, grouped-query and multi-query attention, with or without a window.

    window counts the tokens a layer keeps; window_type says whether it slides or jumps in chunks.
    shares_cache: the layer reads keys and values that another layer computed and stored.
    projections: whether the layer has the usual four; without them, `extras` says what it has
    (Zamba's layers share one block's, JetMoE's are experts). values_from_keys: values are what
    k_proj gives, and are cached as well. output_gate: q_proj gives a gate for the output too.
    """

    type: Literal["attention"] = "attention"
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    v_head_dim: int | None = None
    window: int | None = None
    window_type: Literal["sliding", "chunked"] = "sliding"
    qkv_bias: bool = False
    o_bias: bool = False
    qk_norm: Literal["none", "head", "width"] = "none"
    qk_norm_bias: bool = False
    output_gate: bool = False
    shares_cache: bool = False
    projections: bool = True
    values_from_keys: bool = False
    indexer: Indexer | None = None
    extras: tuple[Weight, ...] = ()

    @property
    def kind(self) -> str:
        base: str = "full" if self.window is None else self.window_type
        if self.shares_cache:
            base += "+shared"
        return base if self.indexer is None else f"{base}+indexer"

    @property
    def value_dim(self) -> int:
        return self.head_dim if self.v_head_dim is None else self.v_head_dim

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        if not self.projections:
            return self.extras
        q = self.num_attention_heads * self.head_dim
        k = self.num_key_value_heads * self.head_dim
        v = self.num_key_value_heads * self.value_dim
        o = self.num_attention_heads * self.value_dim
        kv_heads = self.num_key_value_heads
        q_out = q + o if self.output_gate else q
        found = linear("q_proj", q_out, hidden_size, "column", bias=self.qkv_bias)
        if not self.shares_cache:
            found += linear("k_proj", k, hidden_size, "kv", bias=self.qkv_bias, kv_heads=kv_heads)
            if not self.values_from_keys:
                found += linear(
                    "v_proj", v, hidden_size, "kv", bias=self.qkv_bias, kv_heads=kv_heads
                )
        found += linear("o_proj", hidden_size, o, "row", bias=self.o_bias)
        if self.qk_norm != "none":
            per_head = self.qk_norm == "head"
            found += norm("q_norm", self.head_dim if per_head else q, bias=self.qk_norm_bias)
            if not self.shares_cache:
                found += norm("k_norm", self.head_dim if per_head else k, bias=self.qk_norm_bias)
        if self.indexer is not None:
            found += self.indexer.own_weights()
        return found + self.extras

    def cache(self) -> tuple[CacheTensor, ...]:
        if self.shares_cache:
            return ()
        heads = self.num_key_value_heads
        found = (
            CacheTensor("keys", heads, self.head_dim, self.window),
            CacheTensor("values", heads, self.value_dim, self.window),
        )
        return found + (() if self.indexer is None else self.indexer.cache(self.window))

    def state(self) -> tuple[StateTensor, ...]:
        return ()


class LatentAttention(Frozen):
    """Multi-head latent attention (MLA): one low-rank vector per token stands for all heads.

    Cached: kv_lora_rank + qk_rope_head_dim elements, which tensor parallelism cannot split.
    `expanded_cache` is what an engine stores that does not absorb the up-projections.
    shares_cache: the layer reads the latents that another layer computed and stored.
    """

    type: Literal["latent_attention"] = "latent_attention"
    num_attention_heads: int
    q_lora_rank: int | None
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    a_bias: bool = False
    o_bias: bool = False
    window: int | None = None
    shares_cache: bool = False
    indexer: Indexer | None = None
    extras: tuple[Weight, ...] = ()

    @property
    def kind(self) -> str:
        base = "mla" if self.window is None else "mla+sliding"
        if self.shares_cache:
            base += "+shared"
        return base if self.indexer is None else f"{base}+indexer"

    @property
    def head_dim(self) -> int:
        return self.qk_nope_head_dim + self.qk_rope_head_dim

    @property
    def value_dim(self) -> int:
        return self.v_head_dim

    @property
    def num_key_value_heads(self) -> int:
        return self.num_attention_heads

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        heads = self.num_attention_heads
        if self.q_lora_rank is None:
            found = linear("q_proj", heads * self.head_dim, hidden_size, "column")
        else:
            found = linear("q_a_proj", self.q_lora_rank, hidden_size, bias=self.a_bias)
            found += norm("q_a_layernorm", self.q_lora_rank)
            found += linear("q_b_proj", heads * self.head_dim, self.q_lora_rank, "column")
        latent = self.kv_lora_rank + self.qk_rope_head_dim
        if not self.shares_cache:
            found += linear("kv_a_proj_with_mqa", latent, hidden_size, bias=self.a_bias)
            found += norm("kv_a_layernorm", self.kv_lora_rank)
        up = heads * (self.qk_nope_head_dim + self.v_head_dim)
        found += linear("kv_b_proj", up, self.kv_lora_rank, "column")
        found += linear("o_proj", hidden_size, heads * self.v_head_dim, "row", bias=self.o_bias)
        if self.indexer is not None:
            found += self.indexer.own_weights()
        return found + self.extras

    def cache(self) -> tuple[CacheTensor, ...]:
        chosen = () if self.indexer is None else self.indexer.cache(self.window)
        if self.shares_cache:
            return chosen
        latent = CacheTensor("latent", 1, self.kv_lora_rank + self.qk_rope_head_dim, self.window)
        return (latent, *chosen)

    def expanded_cache(self) -> tuple[CacheTensor, ...]:
        if self.shares_cache:
            return ()
        heads = self.num_attention_heads
        return (
            CacheTensor("keys", heads, self.head_dim, self.window),
            CacheTensor("values", heads, self.v_head_dim, self.window),
        )

    def state(self) -> tuple[StateTensor, ...]:
        return ()
