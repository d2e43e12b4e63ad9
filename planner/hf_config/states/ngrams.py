"""Qwen4-Exp: gated residual streams, pooled indexers, and tables of hashed n-grams in some layers.

Source: the reference implementation in Hugging Face transformers 5.24.
"""

from planner.hf_config.families import family
from planner.hf_config.layers.assembly import Layer, assemble, group_layers, heads
from planner.hf_config.layers.experts import Experts, moe
from planner.hf_config.reader import Fields
from planner.hf_config.states.delta import linear_layers
from planner.kinds.attention import Attention
from planner.kinds.convolution import NgramContext
from planner.kinds.indexer import Indexer
from planner.kinds.recurrent import GatedDeltaNet
from planner.model import Mixer, Model
from planner.tensors import Weight, linear, norm
from planner.units import round_up

MOST_TABLES = 4096


@family("qwen4_exp_text", "qwen4_exp")
def qwen4_exp(fields: Fields) -> Model:
    """Three gated delta-rule layers, then one of gated attention; experts in all of them."""
    hidden_size = fields.integer("hidden_size")
    count = fields.integer("num_hidden_layers")
    is_linear = linear_layers(fields, count, also=("indexed_attention",))
    fields.ignore("output_gate_type", "seed", "split_ngram_parts", "number_of_conv_states")
    bias = fields.flag("attention_bias", default=False)
    attention = Attention(
        **heads(fields, hidden_size, head_dim=256, num_key_value_heads=2),
        qkv_bias=bias,
        o_bias=bias,
        qk_norm="head",
        output_gate=True,
        indexer=indexer(fields, hidden_size),
    )
    recurrent = GatedDeltaNet(
        num_key_heads=fields.integer("linear_num_key_heads", default=16),
        num_value_heads=fields.integer("linear_num_value_heads", default=32),
        head_k_dim=fields.integer("linear_key_head_dim", default=128),
        head_v_dim=fields.integer("linear_value_head_dim", default=128),
        conv_kernel=fields.integer("linear_conv_kernel_dim", default=4),
    )
    fields.fill(shared_expert_intermediate_size=512)
    traits = Experts(shared_size="shared_expert_intermediate_size", shared_gate=True)
    experts = moe(fields, traits)
    streams = fields.integer("hc_count", default=4, least=2)
    rank = fields.integer("hc_lowrank", default=320)
    mixing = gated_residual(hidden_size, streams, rank)
    inject = linear("block_inject", streams, streams * hidden_size)
    with_tables = table_layers(fields, is_linear)

    def layer(index: int) -> Layer:
        mixer: Mixer = recurrent if is_linear[index] else attention
        left_over = (*mixing, *inject) * 2
        if index not in with_tables:
            return (mixer,), experts, left_over
        context, tables = ngrams(fields, hidden_size * streams, with_tables.index(index))
        return (mixer, context), experts, (*left_over, *tables)

    groups = group_layers(count, layer)
    for name in ("ple_embed_dim", "ple_conv_kernel_size", "ngram_size", "heads_per_ngram"):
        fields.ignore(name)
    fields.ignore("ngram_vocab_size_base", "make_ngram_vocab_size_divisible_by")
    return assemble(
        fields, groups, hidden_size=hidden_size, tied=False, final_norm=False, extras=mixing
    )


def gated_residual(hidden_size: int, streams: int, rank: int) -> tuple[Weight, ...]:
    """What reads one input out of parallel residual streams."""
    width = streams * hidden_size
    return (
        *norm("hc_norm", width),
        *linear("input_mix_down", rank, width),
        *linear("input_mix_up", width, rank),
    )


def indexer(fields: Fields, hidden_size: int) -> Indexer:
    """An indexer that keeps a key per token, and averages keys where it scores them.

    transformers also keeps three positions of 8 bytes per token, which is a copy of its input and
    not counted.
    """
    num_heads = fields.integer("indexer_n_heads")
    fields.expect("indexer_kv_heads", 1)
    head_dim = fields.integer("indexer_head_dim")
    fields.integer("indexer_compress_ratio")
    return Indexer(
        num_heads=num_heads,
        head_dim=head_dim,
        topk=fields.integer("indexer_budget"),
        weights=(
            *linear("indexer.index_qk_proj", (num_heads + 1) * head_dim, hidden_size),
            *norm("indexer.q_layernorm", head_dim),
            *norm("indexer.k_layernorm", head_dim),
        ),
    )


def table_layers(fields: Fields, is_linear: list[bool]) -> list[int]:
    """Positions of the layers with tables of n-grams, from numbers that start at 1."""
    found = sorted(set(fields.positions("ple_layer_ids") or []))
    for number in found:
        if not 0 < number <= len(is_linear) or not is_linear[number - 1]:
            raise fields.refuse("ple_layer_ids", f"{number} is no layer of linear attention")
    return [number - 1 for number in found]


def ngrams(fields: Fields, width: int, which: int) -> tuple[NgramContext, tuple[Weight, ...]]:
    """The tables of the `which`-th layer that has them, and what stands around them.

    Every hash has a table of its own, whose rows are the next prime number from a base on; the
    rows of a layer are padded together.
    """
    hidden_size = fields.integer("hidden_size")
    size = fields.integer("ple_embed_dim", default=hidden_size)
    longest = fields.integer("ngram_size", default=3, least=2)
    hashes = (longest - 1) * fields.integer("heads_per_ngram", default=8)
    if size % hashes or hashes * (which + 1) > MOST_TABLES:
        raise fields.refuse("heads_per_ngram", f"makes {hashes} tables of {size} numbers in all")
    base = fields.integer("ngram_vocab_size_base", default=20_000_000, most=2**31)
    divisor = fields.integer("make_ngram_vocab_size_divisible_by", default=128)
    sizes = primes_from(base, hashes * (which + 1))[hashes * which :]
    rows = round_up(sum(sizes), divisor)
    kernel = fields.integer("ple_conv_kernel_size", default=4)
    context = NgramContext(channels=width, conv_kernel=kernel, dilation=longest, tokens=longest - 1)
    return context, (
        Weight("ngram_embedding", (rows, size // hashes), "embedding"),
        *linear("ple.key_proj", width, size),
        *linear("ple.value_proj", hidden_size, size),
        *norm("ple.norm", width) * 3,
    )


def primes_from(base: int, count: int) -> list[int]:
    """The first `count` prime numbers of at least `base`."""
    found: list[int] = []
    number = max(base, 2)
    while len(found) < count:
        if all(number % factor for factor in range(2, int(number**0.5) + 1)):
            found.append(number)
        number += 1
    return found
