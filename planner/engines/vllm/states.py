"""Recurrent states as vLLM's layers register them: shapes and dtypes of its mamba_utils.

A convolution keeps kernel - 1 columns, and one a speculative token where the layer's shape has
room for them. States follow the model's dtype unless a flag or a field that the version reads says
otherwise. Source: vLLM 0.10.2 to 0.33.0, model_executor/layers/mamba, models/config.
"""

from collections.abc import Mapping
from typing import Any

from planner.engines.vllm.kv_pages import LayerSpec
from planner.engines.vllm.options import Settings
from planner.engines.vllm.versions import Rules
from planner.errors import PlanRefused
from planner.formats.dtypes import DTYPE_BYTES
from planner.kinds.linear_attention import KimiDeltaAttention
from planner.model import Mixer, Model
from planner.tensors import StateTensor

KNOWN = {
    "mamba1": (10, 99), "mamba2": (10, 99), "gated_deltanet": (10, 99), "conv": (10, 99),
    "lightning": (10, 24), "kda": (12, 99),
}  # fmt: skip
"""Kind of layer -> minor versions that keep its states in the pool, the last excluded. Before 0.10
states lay outside of it (the V0 engine); MiniMax's lightning layers went after 0.23."""
LIGHTNING_FP32_SINCE = 20
SPECULATIVE_SINCE = {"gated_deltanet": 10, "mamba2": 17, "kda": 27, "conv": 29}
"""Kind -> the minor version from which its convolution has columns for speculative tokens."""
NEMOTRON_SINCE, NEMOTRON_FP32_SINCE = 13, 20
"""Nemotron's field is read, and its states are float32 where nothing is said (0.19.1: float16)."""
QWEN_SINCE = 17
SSM_FLAG_SINCE = {"gated_deltanet": 17, "kda": 99}
"""Kind -> from when --mamba-ssm-cache-dtype counts, where not from the start. Kimi's delta rule
never looks at it in the classes of Kimi-Linear and Ling 3."""


def state_spec(
    mixer: Mixer,
    model: Model,
    tp: int,
    settings: Settings,
    config: Mapping[str, Any] | None,
) -> LayerSpec:
    """What one layer registers. Raises PlanRefused for layers that the version has not."""
    rules, kind = settings.rules, mixer.kind
    if kind == "lightning_fp32":
        raise PlanRefused(
            "vLLM's states of lightning layers that are not MiniMax's are not described: plan "
            "without --engine"
        )
    since, until = KNOWN.get(kind, (99, 99))
    if not rules.since(since) or rules.since(until):
        raise PlanRefused(
            f"vLLM {rules.name} does not keep the states of {kind} layers in its pool: plan "
            + (f"0.{since} to 0.{min(until - 1, 33)}" if kind in KNOWN else "without --engine")
        )
    fp32 = settings.state_dtype == "float32"
    if kind == "lightning" and fp32 and not rules.since(LIGHTNING_FP32_SINCE):
        raise PlanRefused(
            f"mamba_cache_dtype float32: vLLM {rules.name} keeps no lightning states in it; "
            "choose auto"
        )
    size = sum(
        _elements(tensor, kind, tp, settings) * _bytes(tensor, mixer, model, settings, config)
        for tensor in mixer.state()
    )
    blocks = 1
    if rules.lets_states_be_cached:
        blocks += settings.speculative_tokens + settings.prefix_caching
        blocks += settings.prefix_caching and settings.export_step is not None
    return LayerSpec("mamba", settings.max_model_len, state_bytes=size, state_blocks=blocks)


def _elements(tensor: StateTensor, kind: str, tp: int, settings: Settings) -> int:
    if not tensor.is_convolution:
        return tensor.on_rank(tp)
    columns = tensor.shape[-1] - 1
    if settings.rules.since(SPECULATIVE_SINCE.get(kind, 99)):
        columns += settings.speculative_tokens
    return tensor.on_rank_with(columns, tp)


def _bytes(
    tensor: StateTensor,
    mixer: Mixer,
    model: Model,
    settings: Settings,
    config: Mapping[str, Any] | None,
) -> int:
    """Of one element. Recurrent states that no flag or field speaks of are like convolutions."""
    common: str = model.dtype if settings.state_dtype == "auto" else settings.state_dtype
    if tensor.is_convolution or mixer.kind == "lightning":
        return DTYPE_BYTES[common]
    own: str = settings.ssm_dtype
    rules = settings.rules
    if own == "auto":
        own = _stated(model, rules, config)
    if not rules.since(SSM_FLAG_SINCE.get(mixer.kind, 0)):
        own = "auto"
    if own == "auto":
        own = "float32" if isinstance(mixer, KimiDeltaAttention) else common
    return DTYPE_BYTES[own]


def _stated(model: Model, rules: Rules, config: Mapping[str, Any] | None) -> str:
    """What the configuration says in a field that vLLM reads for these models, else "auto"."""
    text = (config or {}).get("text_config")
    fields = text if isinstance(text, Mapping) else (config or {})
    found = None
    if model.model_type.startswith("nemotron_h") and rules.since(NEMOTRON_SINCE):
        default = "float32" if rules.since(NEMOTRON_FP32_SINCE) else "float16"
        found = fields.get("mamba_ssm_cache_dtype") or default
    elif model.model_type.startswith("qwen3_5") and rules.since(QWEN_SINCE):
        found = fields.get("mamba_ssm_dtype")
    return "auto" if found is None else str(found)
