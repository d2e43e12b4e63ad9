"""Working memory of one forward pass: an estimate from the widths of the layers.

The peak is the largest of a few moments, which follow each other and do not add up. In a layer, T
tokens hold the residual and what the widest part of the layer reads and writes; routed experts
hold their input and two workspaces beside the residual, latent attention the keys and values that
it multiplies out. At the end, the sampler holds several copies of the logits of every sequence.
Coefficients come from published start-up logs of vLLM and are given with the range they were seen
in; the moments were held against dry runs on an H200.
"""

from dataclasses import dataclass

from planner.estimate import Estimate
from planner.formats.dtypes import DTYPE_BYTES
from planner.kinds.attention import LatentAttention
from planner.kinds.mlp import MoE
from planner.memo import memo
from planner.model import FeedForward, LayerGroup, Mixer, Model
from planner.units import ceil_div

LAYER_RANGE = (0.95, 1.10)
LAYER_SOURCE = (
    "layer widths x tokens; measured Llama-3.1-8B peaks were -2 to +4 % off (vLLM issue 10517)"
)
MOE_RANGE = (0.88, 1.10)
MOE_SOURCE = (
    "tokens x two expert workspaces; Qwen3-30B-A3B took 0.90 of it on an H200, letting go of "
    "experts' inputs"
)
LOGIT_BYTES = (10, 15, 39)
LOGIT_SOURCE = (
    "10 to 39 B per logit by sampler: 14.7 to 15.1 in vLLM 0.17 to 0.20 start-up logs, 38 to 39 "
    "before, when sampling sorted them"
)
MOE_TOKENS = 32768
MLA_WORKSPACE_TOKENS = 65536
"""Most tokens of a chunk that vLLM routes at a time (VLLM_FUSED_MOE_CHUNK_SIZE of envs), and most
whose latents it expands at a time (chunked_prefill_workspace_size of v1/attention/backends/mla)."""


@dataclass(frozen=True, slots=True)
class ActivationTerms:
    """Coefficients of one rank: bytes per token in flight, and how many logits a row has.

    layer: the widest part of any layer, with the residual. moe, mla: workspaces of routed experts
    and keys and values multiplied out of latents; beside_moe, beside_mla: what lives beside them.
    """

    layer_bytes_per_token: int
    moe_bytes_per_token: int
    beside_moe_bytes_per_token: int
    mla_bytes_per_token: int
    beside_mla_bytes_per_token: int
    vocab_size: int

    def layer_bytes(self, tokens: int) -> int:
        """Peak inside a layer for a chunk of `tokens`: the largest of its moments."""
        latent = tokens * self.beside_mla_bytes_per_token
        latent += min(tokens, MLA_WORKSPACE_TOKENS) * self.mla_bytes_per_token
        return max(tokens * self.layer_bytes_per_token, self._routed_bytes(tokens), latent)

    def _routed_bytes(self, tokens: int) -> int:
        workspaces = min(tokens, MOE_TOKENS) * self.moe_bytes_per_token
        return tokens * self.beside_moe_bytes_per_token + workspaces

    def peak_bytes(self, tokens: int, sequences: int) -> int:
        """The central value of `peak`."""
        return max(self.layer_bytes(tokens), sequences * self.vocab_size * LOGIT_BYTES[1])

    def layers(self, tokens: int) -> Estimate:
        """`layer_bytes` with its range."""
        central = self.layer_bytes(tokens)
        routed = central == self._routed_bytes(tokens)
        low, high = MOE_RANGE if routed else LAYER_RANGE
        source = MOE_SOURCE if routed else LAYER_SOURCE
        return Estimate(central, int(central * low), int(central * high), source)

    def sampler(self, sequences: int) -> Estimate:
        """Copies of the logits when `sequences` rows are sampled; the logits are not split."""
        low, central, high = (sequences * self.vocab_size * b for b in LOGIT_BYTES)
        return Estimate(central, low, high, LOGIT_SOURCE)

    def peak(self, tokens: int, sequences: int) -> Estimate:
        """The larger of both moments, and of the ends of their ranges."""
        layers, sampler = self.layers(tokens), self.sampler(sequences)
        larger = layers if layers.bytes >= sampler.bytes else sampler
        return Estimate(
            larger.bytes,
            max(layers.low_bytes, sampler.low_bytes),
            max(layers.high_bytes, sampler.high_bytes),
            larger.source,
        )


def activation_terms(
    model: Model,
    groups: list[tuple[LayerGroup, int]],
    *,
    tensor_parallel_size: int = 1,
    expert_parallel: bool = False,
    last_stage: bool = True,
) -> ActivationTerms:
    """Coefficients for a rank with these layers; only the last stage samples."""
    size, hidden = DTYPE_BYTES[model.dtype], model.hidden_size
    tp = tensor_parallel_size
    layer = moe = mla = beside_mla = 0
    for group, _ in groups:
        dense = [_width(mixer, hidden) for mixer in group.mixers]
        if isinstance(group.mlp, MoE):
            shared = group.mlp.shared
            dense.append(_width(shared, hidden) if shared else 0)
            moe = max(moe, size * _moe_width(group.mlp, hidden, tp, expert_parallel))
        elif group.mlp is not None:
            dense.append(_width(group.mlp, hidden))
        layer = max(layer, size * (hidden + ceil_div(max(dense, default=0), tp)))
        for mixer in group.mixers:
            if isinstance(mixer, LatentAttention):
                heads = mixer.num_attention_heads // tp
                mla = max(mla, size * heads * (mixer.qk_nope_head_dim + mixer.v_head_dim))
                width = ceil_div(_width(mixer, hidden), tp)
                beside_mla = max(beside_mla, size * (hidden + width))
    beside_moe = 2 * size * hidden if moe else 0
    vocab = model.vocab_size if last_stage else 0
    return ActivationTerms(layer, moe, beside_moe, mla, beside_mla, vocab)


@memo(maxsize=1024)
def _width(part: Mixer | FeedForward, hidden_size: int) -> int:
    """Elements per token that the split projections of one part write and read."""
    weights = part.weights(hidden_size)
    matrices = [w for w in weights if w.role == "linear" and len(w.shape) == 2]
    written = sum(w.shape[0] for w in matrices if w.split in ("column", "kv"))
    return written + sum(w.shape[1] for w in matrices if w.split == "row")


def _moe_width(moe: MoE, hidden_size: int, tp: int, expert_parallel: bool) -> int:
    """Elements per token of the two expert workspaces.

    top_k x max(N / 2, K) + top_k x max(N, K) with N = 2 x expert width on the rank and K the
    hidden size. Source: vLLM fused_moe workspaces (0.33).
    """
    n = 2 * ceil_div(moe.moe_intermediate_size, 1 if expert_parallel else tp)
    k = moe.input_size or hidden_size
    return moe.num_experts_per_tok * (max(n // 2, k) + max(n, k))
