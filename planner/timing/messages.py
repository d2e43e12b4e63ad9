"""What GPUs of one deployment send each other in a pass, from the model's structure."""

from collections.abc import Iterator
from dataclasses import dataclass

from planner.deployment import Deployment
from planner.formats.dtypes import DTYPE_BYTES
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.mlp import MoE
from planner.model import LayerGroup, Model
from planner.parallelism import layers_in
from planner.run_dtype import plain_dtype
from planner.timing.collectives import Link, all_gather_s, all_reduce_s, all_to_all_s, send_s
from planner.timing.elementwise import Number
from planner.timing.one_pass import Phase

LSE_BYTES = 4
"""A log-sum-exp, in fp32."""


@dataclass(frozen=True, slots=True)
class Message:
    """`times` equal exchanges of one kind between `ranks` GPUs."""

    what: str
    size_bytes: Number
    ranks: int
    times: int

    def seconds(self, link: Link) -> Number:
        if self.what == "all_reduce":
            return self.times * all_reduce_s(self.size_bytes, self.ranks, link)
        if self.what == "all_gather":
            return self.times * all_gather_s(self.size_bytes, self.ranks, link)
        if self.what == "all_to_all":
            return self.times * all_to_all_s(self.size_bytes, self.ranks, link)
        return self.times * send_s(self.size_bytes, link)


def messages(
    model: Model, deployment: Deployment, phase: Phase, rows: Number, sequences: Number, span: range
) -> Iterator[Message]:
    """What a stage exchanges in one pass over `rows` tokens: its layers, its head, the next stage.

    A tensor-parallel layer sums after attention and after its feed-forward part. Experts that
    data-parallel replicas share get their tokens by all-to-all (whole experts) or by gathering all
    tokens and scattering the sums (slices).
    """
    tp, dp = deployment.tensor_parallel_size, deployment.data_parallel_size
    size = DTYPE_BYTES[plain_dtype(deployment.weights_dtype) or model.dtype]
    hidden = rows * model.hidden_size * size
    for group in model.groups:
        count = layers_in(group, span)
        if not count:
            continue
        shared = isinstance(group.mlp, MoE) and dp > 1
        sums = bool(group.mixers) + (group.mlp is not None and not shared)
        if tp > 1:
            yield Message("all_reduce", hidden, tp, count * sums)
        if shared and isinstance(group.mlp, MoE):
            if deployment.enable_expert_parallel:
                sent = hidden * group.mlp.num_experts_per_tok / tp
                yield Message("all_to_all", sent, tp * dp, 2 * count)
            else:
                yield Message("all_gather", hidden * dp, tp * dp, 2 * count)
        yield from _context_messages(group, count, deployment, phase, rows, size)
    if span.stop < model.num_hidden_layers:
        yield Message("send", hidden / tp, tp * deployment.pipeline_parallel_size, 1)
    elif tp > 1:
        yield Message("all_gather", sequences * model.vocab_size * size, tp, 1)


def _context_messages(
    group: LayerGroup, count: int, deployment: Deployment, phase: Phase, rows: Number, size: int
) -> Iterator[Message]:
    """Decode context parallelism: every rank attends with the queries of all, then the outputs are
    merged by their log-sum-exps, each to its rank, which sends as much as gathering them.

    Latents are attended to as they are, and outputs expanded afterwards (vLLM 0.11,
    v1/attention/backends/mla/common).
    """
    ranks = deployment.decode_context_parallel_size
    if ranks == 1 or phase != "decode":
        return
    for mixer in group.mixers:
        if isinstance(mixer, (Attention, LatentAttention)):
            queries = rows * (mixer.num_attention_heads // deployment.tensor_parallel_size * ranks)
            score, value = mixer.head_dim, mixer.value_dim
            if isinstance(mixer, LatentAttention):
                score, value = mixer.kv_lora_rank + mixer.qk_rope_head_dim, mixer.kv_lora_rank
            yield Message("all_gather", queries * score * size, ranks, count)
            yield Message("all_gather", queries * LSE_BYTES, ranks, count)
            yield Message("all_gather", queries * value * size, ranks, count)


def ring_messages(
    model: Model, deployment: Deployment, block: int, span: range
) -> Iterator[Message]:
    """What a prefill ring whose ranks hold `block` tokens each passes around in a stage."""
    ring, tp = deployment.context_parallel_size, deployment.tensor_parallel_size
    size = DTYPE_BYTES[plain_dtype(deployment.weights_dtype) or model.dtype]
    for group in model.groups:
        times = (ring - 1) * layers_in(group, span)
        for mixer in group.mixers if times else ():
            if isinstance(mixer, (Attention, LatentAttention)):
                passed = block * _entry_elements(mixer, tp) * size
                yield Message("send", passed, ring * tp, times)


def _entry_elements(mixer: Attention | LatentAttention, tp: int) -> int:
    """Elements of a token's keys and values on a rank; latents are whole on each."""
    if isinstance(mixer, LatentAttention):
        return mixer.kv_lora_rank + mixer.qk_rope_head_dim
    return max(1, mixer.num_key_value_heads // tp) * (mixer.head_dim + mixer.value_dim)
