"""llama.cpp's flags as inputs.

Sources: llama.cpp of 2026 (tools/server, src/llama-model, src/llama-kv-cache, common/fit).
"""

from typing import Any, Literal

from pydantic import Field

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.formats.dtypes import ALIASES, KV_FORMATS, KvFormat
from planner.frozen import Frozen

VERSION = "2026"
AUTO_PARALLEL = 4
COUNT: Any = Field(default=None, ge=1, le=2**31)
CACHE_TYPES = {
    "fp32": "f32", "fp16": "f16", "bf16": "bf16", "q8_0": "q8_0", "q5_1": "q5_1", "q5_0": "q5_0",
    "q4_1": "q4_1", "q4_0": "q4_0", "iq4_nl": "iq4_nl",
}  # fmt: skip
UNQUANTISED = ("fp32", "fp16", "bf16")


class LlamaCppOptions(Frozen):
    """Flags of `llama-server`; None leaves its default.

    n_gpu_layers counts the output as one layer: N blocks are all on the GPU from N + 1; None: as
    many as fit (--fit). ctx_size None: the model's own, reduced to what fits (--fit); 0: the
    model's own, whatever fits.
    mla_cache says what the file is: newer ones cache the latent alone, builds before 2026 also its
    values, old files keys and values of all heads.
    """

    version: str = VERSION
    n_gpu_layers: int | None = Field(default=None, ge=0, le=65536)
    n_cpu_moe: int = Field(default=0, ge=0, le=65536)
    cpu_moe: bool = False
    ctx_size: int | None = Field(default=None, ge=0, le=2**31)
    parallel: int | None = COUNT
    kv_unified: bool | None = None
    cache_type_k: str | None = None
    cache_type_v: str | None = None
    no_kv_offload: bool = False
    flash_attn: bool = True
    batch_size: int = Field(default=2048, ge=1)
    ubatch_size: int = Field(default=512, ge=1)
    swa_full: bool = False
    mla_cache: Literal["latent", "latent+values", "expanded"] = "latent"

    @property
    def slots(self) -> int:
        return self.parallel or AUTO_PARALLEL

    @property
    def unified(self) -> bool:
        """One buffer for all slots: the default where their number is llama-server's choice."""
        return self.parallel is None if self.kv_unified is None else self.kv_unified


def slots_of(options: LlamaCppOptions, slots: int, context: int) -> tuple[LlamaCppOptions, str]:
    """The options with so many slots of so many tokens each, and the flags that ask for them."""
    update, words = {"ctx_size": slots * context}, f"-c {slots * context}"
    if slots > options.slots:
        update, words = {**update, "parallel": slots}, f"-np {slots} {words}"
    return options.model_copy(update=update), words


def cache_types(deployment: Deployment, options: LlamaCppOptions) -> tuple[KvFormat, KvFormat]:
    """Formats of keys and values: -ctk and -ctv, else the Deployment's, else f16.

    Raises PlanRefused for formats that GGUF has not, and for quantised values without flash
    attention, which llama.cpp refuses too.
    """
    common = "fp16" if deployment.kv_cache_dtype == "auto" else deployment.kv_cache_dtype
    keys = _cache_type(options.cache_type_k or common)
    values = _cache_type(options.cache_type_v or common)
    if values.name not in UNQUANTISED and not options.flash_attn:
        raise PlanRefused(
            f"-ctv {values.name}: a quantised V cache needs flash attention; add --flash-attn on"
        )
    return keys, values


def _cache_type(name: str) -> KvFormat:
    key = ALIASES.get(name.lower(), name.lower())
    if key not in CACHE_TYPES:
        known = ", ".join(CACHE_TYPES.values())
        raise PlanRefused(f"llama.cpp has no cache type {name[:40]}; choose one of {known}")
    return KV_FORMATS[key]
