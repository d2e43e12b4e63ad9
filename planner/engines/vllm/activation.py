"""vLLM's peak activation: what its profiling run of a full batch holds at once, beyond weights.

The run ends in a sampler step over max_num_seqs rows, which is the peak of most models; a wide
feed-forward layer over max_num_batched_tokens is that of the others.

Sampler, bytes per logit: 38 up to 0.16 (16-bit and fp32 logits, then sorted values, 64-bit
indices, probabilities and cumulative sums), 14 from 0.17 (Triton top-k and top-p: 16-bit and fp32
logits, probabilities, noise). Logits are not divided by tensor parallelism. Beside them live the
hidden states (from 0.17 the residual too) and about 48 MiB. The second model runner profiles with
no request that asks for anything, and so samples from 16-bit logits as they are (0.27.1,
v1/worker/gpu/sample/sampler): what remains are the layers and, on a first start, a matrix as large
as the embedding while kernels are compiled. From 0.33 it profiles all that sampling can ask for,
14 bytes a logit again (16-bit, fp32, masked, probabilities); no log shows that yet. Records: 1.46
GiB for both Qwen3-14B-AWQ and -32B-AWQ (0.28; embedding 1.45), Qwen3-8B 1.18 (0.27.1; 1.16) and
Qwen3-4B 0.80 (0.72). Later starts do without: 0.33 of the 32B, Qwen3-8B 0.19, Qwen3-4B 0.11. A
plan is for the first; the range reaches down to the others.

Records of 38 (37.9 to 38.1): Qwen3-0.6B, -14B, -32B, Llama-3.1-8B, Llama-3.3-70B and gpt-oss-120b
on H100, 0.11 to 0.16; of 14 (13.8 to 14.2): Llama-3.1-8B (TP 1, 4, PP 2), Qwen2.5-7B, Qwen3-8B,
-14B, granite 2B and 8B and DeepSeek-V2-Lite on H100, 0.18 and 0.19. Width: 2 B x tokens x (3 I / tp
+ 4 h): Qwen2.5-1.5B and -7B over 32,768 tokens (2.02 and 4.35 GiB), Llama-3.1-8B over 20,000
(2.07), CodeLlama-7B 0.77.
"""

from dataclasses import dataclass

from planner.activations import MLA_WORKSPACE_TOKENS, MOE_TOKENS, ActivationTerms
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
SORTED_LOGIT_BYTES, SORTLESS_LOGIT_BYTES = 38, 14
"""Sortless: also from 0.8 to 0.11 where FlashInfer is installed, as in the published image, which
then samples; by the V0 engine and from 0.12 to 0.16 only when asked for (v1/sample/ops
/topk_topp_sampler of 0.10.1, 0.11.0 and 0.13.0). Records: Llama-3.2-1B 0.45 GiB in 0.10.0,
Mistral-Small-3.2 2.12 in 0.11.0; Qwen3-8B-FP8 in 0.10.2 and Qwen3-30B on GH200 in 0.10.1, which
says that it is not installed, sort, and a log's version does not tell which."""
SECOND_RUNNER_LOGIT_BYTES = 4
"""16-bit logits of a rank and those gathered of all."""
TRITON_LOGIT_BYTES = 10
"""Where the second runner's profile samples, and FlashInfer does not: masked in place."""
REJECTION_BYTES = 10
"""What verifying drafts adds to a logit up to 0.27, whose profiling run also rejects one draft a
request: 16-bit logits of drafts and bonus tokens, fp32 targets and their copy, counted from 0.20.2
(v1/sample/rejection_sampler); no log shows it, so the range reaches down to none of it."""
LEAST_WIDTH = 0.6
"""What is at least held of a layer's widths: 0.22 GiB for OPT-2.7B over 8,192 tokens on four A30
(0.11.1), whose layer counts 0.28 with 48 MiB."""
TEXT_RANGE = (0.94, 1.08)
"""Text models from 0.10 were 3.2 % below to 3.9 % above their logs (-0.4 to 0.2 % where it sorts);
those that hold pictures 6 % above to 7 % below."""
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
    compiles: bool = True

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

    packed_experts: Triton's kernels for MXFP4 keep no workspace between layers. samples: False for
    pooling.
    """
    size = DTYPE_BYTES[model.dtype]
    tokens = batch.max_num_batched_tokens
    hidden = tokens * model.hidden_size * size
    moe = 0 if packed_experts else _expert_workspace(groups, deployment, rules, batch, model)
    layer = tokens * terms.layer_bytes_per_token + 3 * hidden + moe
    latent = terms.mla_bytes_per_token * _latent_tokens(batch)
    sampler, each = 0, logit_bytes(rules, size, batch)
    if last and samples:
        kept = 2 if rules.since(17) else 1
        under = moe if rules.keeps_expert_workspace else 0
        sampler = batch.rows * model.vocab_size * each + kept * hidden + under
    compiled = 0
    if first and batch.second_runner and batch.compiles:
        compiled = model.vocab_size * model.hidden_size * size // deployment.tensor_parallel_size
    received = 0 if first else 2 * hidden
    images = _images(tower, hidden) if first else 0
    later = max(layer, sampler, latent)
    peak = max(later, compiled) + received + images
    encoder = _encoder(tower)
    found = max(peak, encoder) + BASE_BYTES
    if encoder > peak:
        return within(found, 0.6 * found, 2.2 * found, f"{TOWER}; {RECORDS}")
    low, high = (0.9, 1.15) if tower is not None or not rules.since(10) else TEXT_RANGE
    if rules.first_engine:
        high += FIRST_ENGINE_TOWER * encoder / found
    source = LAYERS
    if compiled > later:
        low *= (found - compiled + later) / found
        source = (
            "a matrix as large as the embedding while a first start compiles; the low end is a "
            "later start, which finds the compiled code"
        )
    elif sampler > max(layer, latent):
        logits = batch.rows * model.vocab_size
        if rules.samples_with_flashinfer:
            least = max(logits * min(each, SORTLESS_LOGIT_BYTES), LEAST_WIDTH * layer, latent)
            low = min(low, (found - sampler + least) / found)
        elif batch.second_runner and rules.second_runner_profiles_sampling:
            low -= logits * (each - TRITON_LOGIT_BYTES) / found
        source = (
            f"sampling {batch.rows:,} rows of {model.vocab_size:,} logits at {each} bytes each"
            f"{_why(rules, batch)}"
        )
    return within(found, low * found, high * found, f"{source}; {RECORDS}")


def _why(rules: Rules, batch: Batch) -> str:
    """The versions' jump in words: which copies of a logit the sampler holds."""
    if batch.second_runner and rules.second_runner_profiles_sampling:
        return ": from 0.33 profiling samples with all that a request can ask for"
    if batch.second_runner:
        return ", as the second model runner holds them while profiling"
    if rules.since(17):
        return ": from 0.17 sampling does not sort (38 bytes before)"
    if not rules.samples_with_flashinfer:
        return (
            f": it sorts them, unless VLLM_USE_FLASHINFER_SAMPLER=1 has it sample in "
            f"{SORTLESS_LOGIT_BYTES}"
        )
    return (
        f": it sorts them; where FlashInfer is installed, which it then samples with, it is "
        f"{SORTLESS_LOGIT_BYTES}, which is the low end, so the middle is near the top of the range"
    )


def logit_bytes(rules: Rules, element_bytes: int, batch: Batch) -> int:
    """Bytes of all copies of one logit at the sampler's peak."""
    if batch.second_runner and not rules.second_runner_profiles_sampling:
        return SECOND_RUNNER_LOGIT_BYTES * element_bytes // 2
    each = SORTLESS_LOGIT_BYTES if rules.since(17) else SORTED_LOGIT_BYTES
    if batch.speculative_tokens and not batch.second_runner:
        each += REJECTION_BYTES
    return each + (element_bytes - 2)


def _expert_workspace(
    groups: list[tuple[LayerGroup, int]],
    deployment: Deployment,
    rules: Rules,
    batch: Batch,
    model: Model,
) -> int:
    """Two buffers of expert kernels.

    2 B x tokens x top_k x (max(N, K) + max(N / 2, K)), N = 2 x expert width on the rank, K the
    hidden size; to 0.13 the second is N / 2 wide. Records (0.19.0): Qwen3-30B 2.68 GiB,
    DeepSeek-V2-Lite 1.93, Qwen1.5-MoE 2.47, Mixtral at TP 2 1.21: within 0.05.
    """
    found = 0
    for group, _ in groups:
        if isinstance(group.mlp, MoE):
            split = 1 if deployment.enable_expert_parallel else deployment.tensor_parallel_size
            n = 2 * ceil_div(group.mlp.moe_intermediate_size, split)
            k = group.mlp.input_size or model.hidden_size
            second = max(n // 2, k) if rules.keeps_expert_workspace else n // 2
            width = group.mlp.num_experts_per_tok * (max(n, k) + second)
            found = max(found, 2 * min(batch.max_num_batched_tokens, MOE_TOKENS) * width)
    return found


def _latent_tokens(batch: Batch) -> int:
    """Tokens whose latents MLA expands at a time: min(max(8 L, 4 S x block), 65536)."""
    wanted = max(8 * batch.max_model_len, 4 * batch.max_num_seqs * batch.block_size)
    return min(wanted, MLA_WORKSPACE_TOKENS)


def _images(tower: Tower | None, hidden: int) -> int:
    """Embeddings of images and of the whole batch, which a text model does not hold."""
    return 0 if tower is None else 2 * hidden


def _encoder(tower: Tower | None) -> int:
    """The tower's own peak over its largest image, where the resolution is dynamic."""
    if tower is None or not tower.dynamic:
        return 0
    matrices = 3 if tower.kind.startswith(GATED) else 2
    return 2 * IMAGE_PATCHES * (matrices * tower.intermediate_size + 6 * tower.hidden_size)
