"""vLLM's peak activation: what its profiling run of a full batch holds at once, beyond weights.

The run ends in a sampler step over max_num_seqs rows, which is the peak of most models; a wide
feed-forward layer over max_num_batched_tokens is that of the others.

Sampler, bytes per logit: 38 up to 0.16 (16-bit and fp32 logits, then sorted values, 64-bit
indices, probabilities and cumulative sums), 14 from 0.17 (Triton top-k and top-p: 16-bit and fp32
logits, probabilities, noise). Logits are not divided by tensor parallelism. Beside them live the
hidden states (from 0.17 the residual too) and about 48 MiB. With the V2 runner first starts, which
compile, show 38 again: 1.46 GiB for both Qwen3-14B-AWQ and -32B-AWQ over 256 rows (38.3); so does
Qwen3.5-4B, 2.17 (35), which does not say which start it was. Later starts find the compiled code
and hold 16-bit and fp32 logits and at times a processed copy, 4 to 10: Llama-3.1-8B over 1,024 rows
1.44 GiB (0.31, H100), over 256 rows Qwen2.5-0.5B 0.25, Qwen3-0.6B 0.26 (0.27.1), Gemma-4-E4B 0.27
and Qwen3-32B-AWQ 0.33 (0.28). No log shows a first start over more than 256 rows. A plan is for
the first; the range reaches down to the others.

Records of 38 (37.9 to 38.1): Qwen3-0.6B, -14B, -32B, Llama-3.1-8B, Llama-3.3-70B and gpt-oss-120b
on H100, 0.11 to 0.16; of 14 (13.8 to 14.2): Llama-3.1-8B (TP 1, 4, PP 2), Qwen2.5-7B, Qwen3-8B,
-14B, granite 2B and 8B and DeepSeek-V2-Lite on H100, 0.18 and 0.19. Width: 2 B x tokens x (3 I / tp
+ 4 h): Qwen2.5-1.5B and -7B over 32,768 tokens (2.02 and 4.35 GiB), Llama-3.1-8B over 20,000
(2.07), CodeLlama-7B 0.77.
"""

from dataclasses import dataclass

from planner.activations import ActivationTerms
from planner.deployment import Deployment
from planner.engines.engine import within
from planner.engines.vision_tower import GATED, Tower
from planner.engines.vllm.versions import Rules
from planner.estimate import Estimate
from planner.formats.dtypes import DTYPE_BYTES
from planner.kinds.mlp import MoE
from planner.model import LayerGroup, Model
from planner.units import MIB, ceil_div

BASE_BYTES = 48 * MIB
SORTED_LOGIT_BYTES, LEAST_BYTES = 38, 4
SORTLESS_LOGIT_BYTES = 14
"""The least: also up to 0.16 where FlashInfer samples. Up to 0.11.0 it does wherever it is
installed, as in the published image, from 0.12 only when asked for (v1/sample/ops
/topk_topp_sampler of 0.11.0 and 0.12.0). Records: Llama-3.2-1B 0.45 GiB in 0.10.0, Qwen3-30B on
GH200 in 0.10.1, Mistral-Small-3.2 2.12 in 0.11.0; Qwen3-8B-FP8 in 0.10.2 sorts (1.40), and a log's
version does not tell which; Qwen3-30B in NVIDIA's 0.13.0 image does not sort."""
REJECTION_BYTES = 10
"""What verifying drafts adds to a logit up to 0.27, whose profiling run also rejects one draft a
request: 16-bit logits of drafts and bonus tokens, fp32 targets and their copy, counted from 0.20.2
(v1/sample/rejection_sampler); no log shows it, so the range reaches down to none of it."""
LEAST_WIDTH = 0.6
"""What is at least held of a layer's widths: 0.22 GiB for OPT-2.7B over 8,192 tokens on four A30
(0.11.1), whose layer counts 0.28 with 48 MiB."""
MOE_TOKENS = 32768
MLA_TOKENS = 65536
IMAGE_PATCHES = 65536
"""Largest image of models with dynamic resolution: 16,384 tokens of four patches."""
LAYERS = "the widest layer over max_num_batched_tokens"
TOWER = "the vision tower over its largest image"
FIRST_ENGINE_TOWER = 0.6
"""Of the tower's own peak, what may stay while V0 goes through the layers in the same step:
Qwen2.5-VL-3B in 0.7.3 takes 4.06 GiB (layers 2.8, tower 2.2)."""
RECORDS = "compared with start-up logs of vLLM 0.7 and later"


@dataclass(frozen=True, slots=True)
class Batch:
    """What the profiling run holds: tokens, sampled rows, and the longest sequence."""

    max_num_batched_tokens: int
    max_num_seqs: int
    max_model_len: int
    block_size: int
    speculative_tokens: int = 0
    second_runner: bool = False

    @property
    def rows(self) -> int:
        """One a request, drafts or not: the profiling run samples a token of each (0.20.2, 0.29.0
        and 0.33.0, profile_run)."""
        return min(self.max_num_seqs, self.max_num_batched_tokens)


def activation(
    model: Model,
    groups: list[tuple[LayerGroup, int]],
    terms: ActivationTerms,
    deployment: Deployment,
    rules: Rules,
    batch: Batch,
    *,
    tower: Tower | None = None,
    first: bool = True,
    last: bool = True,
    packed_experts: bool = False,
    samples: bool = True,
) -> Estimate:
    """Peak of a rank with these layers; terms are its widths.

    packed_experts: MXFP4 kernels keep no workspace between layers. samples: False for pooling.
    """
    size = DTYPE_BYTES[model.dtype]
    tokens = batch.max_num_batched_tokens
    hidden = tokens * model.hidden_size * size
    moe = 0 if packed_experts else _expert_workspace(groups, deployment, tokens, model.hidden_size)
    layer = tokens * terms.layer_bytes_per_token + 3 * hidden + moe
    latent = terms.mla_bytes_per_token * _latent_tokens(batch)
    later = batch.second_runner
    sampler, each = 0, logit_bytes(rules, size, drafts=batch.speculative_tokens > 0, later=later)
    if last and samples:
        kept = 2 if rules.since(17) else 1
        sampler = batch.rows * model.vocab_size * each + kept * hidden + moe
    received = 0 if first else 2 * hidden
    images = _images(tower, hidden) if first else 0
    peak = max(layer, sampler, latent) + received + images
    encoder = _encoder(tower)
    found = max(peak, encoder) + BASE_BYTES
    low, high = (0.9, 1.15) if encoder <= peak else (0.6, 2.2)
    if rules.first_engine and encoder <= peak:
        high += FIRST_ENGINE_TOWER * encoder / found
    source = f"{LAYERS if encoder <= peak else TOWER}; {RECORDS}"
    if encoder <= peak and sampler > max(layer, latent):
        logits = batch.rows * model.vocab_size
        plain = (
            LEAST_BYTES
            if rules.second_runner
            else min(logit_bytes(rules, size), SORTLESS_LOGIT_BYTES)
        )
        least = max(logits * plain, LEAST_WIDTH * layer, latent)
        low = min(low, (found - sampler + least) / found)
        if later:
            high = (found - sampler + 1.15 * logits * SORTED_LOGIT_BYTES) / found
        source = (
            f"sampling {batch.rows:,} rows of {model.vocab_size:,} logits at {each} bytes each"
            f"{_why(rules, later=later)}; {RECORDS}"
        )
    return within(found, low * found, high * found, source)


def _why(rules: Rules, *, later: bool) -> str:
    """The versions' jump in words: which copies of a logit the sampler holds."""
    if rules.since(17) and not later:
        return ": from 0.17 sampling does not sort (38 bytes before)"
    if later:
        return (
            ", as logs of first starts, which compile, show above 256 rows; later starts show "
            f"{LEAST_BYTES} to 10"
        )
    if rules.since(12):
        since = "it sorts them; with VLLM_USE_FLASHINFER_SAMPLER=1"
    else:
        since = "it sorts them; where FlashInfer is installed, which it then samples with,"
    return (
        f": {since} it is {SORTLESS_LOGIT_BYTES}, which is the low end, so the middle is near the "
        "top of the range"
    )


def logit_bytes(
    rules: Rules, element_bytes: int, *, drafts: bool = False, later: bool = False
) -> int:
    """Bytes of all copies of one logit at the sampler's peak."""
    each = SORTLESS_LOGIT_BYTES if rules.since(17) and not later else SORTED_LOGIT_BYTES
    if drafts and not later:
        each += REJECTION_BYTES
    return each + (element_bytes - 2)


def _expert_workspace(
    groups: list[tuple[LayerGroup, int]], deployment: Deployment, tokens: int, hidden_size: int
) -> int:
    """Two buffers of expert kernels, kept from layer to layer and alive under the sampler.

    2 B x tokens x top_k x (max(N, K) + max(N / 2, K)), N = 2 x expert width on the rank, K the
    hidden size. Records (0.19.0): Qwen3-30B 2.68 GiB, DeepSeek-V2-Lite 1.93, Qwen1.5-MoE 2.47,
    Mixtral at TP 2 1.21: within 0.05.
    """
    found = 0
    for group, _ in groups:
        if isinstance(group.mlp, MoE):
            split = 1 if deployment.enable_expert_parallel else deployment.tensor_parallel_size
            n = 2 * ceil_div(group.mlp.moe_intermediate_size, split)
            k = group.mlp.input_size or hidden_size
            width = group.mlp.num_experts_per_tok * (max(n, k) + max(n // 2, k))
            found = max(found, 2 * min(tokens, MOE_TOKENS) * width)
    return found


def _latent_tokens(batch: Batch) -> int:
    """Tokens whose latents MLA expands at a time: min(max(8 L, 4 S x block), 65536)."""
    wanted = max(8 * batch.max_model_len, 4 * batch.max_num_seqs * batch.block_size)
    return min(wanted, MLA_TOKENS)


def _images(tower: Tower | None, hidden: int) -> int:
    """Embeddings of images and of the whole batch, which a text model does not hold."""
    return 0 if tower is None else 2 * hidden


def _encoder(tower: Tower | None) -> int:
    """The tower's own peak over its largest image, where the resolution is dynamic."""
    if tower is None or not tower.dynamic:
        return 0
    matrices = 3 if tower.kind.startswith(GATED) else 2
    return 2 * IMAGE_PATCHES * (matrices * tower.intermediate_size + 6 * tower.hidden_size)
