"""Prefills that leave a state behind where a cached prefix ends, without a step of their own.

A request holds a block more for it, and blocks are multiples of what the kernel can export at.
Source: vLLM 0.30.0 to 0.33.0, layers/mamba (mamba_mixer2, gdn) and platforms/interface.
"""

from planner.engines.vllm.compressed import HOPPER
from planner.engines.vllm.versions import Rules
from planner.kinds.recurrent import GatedDeltaNet, Mamba2, Recurrent
from planner.model import Model

MAMBA2_SINCE, DELTA_SINCE = 32, 33
FLASHINFER_STEP = 64
BLACKWELL, BLACKWELL_KEYS = 10.0, 128
OTHER_DELTA = ("olmo_hybrid",)
"""Delta rules whose layers in vLLM export nothing."""


def export_step(model: Model, capability: float, rules: Rules) -> int | None:
    """Tokens that exported states are apart; None where prefills export none.

    Mamba-2 exports at any token. Qwen's delta rule does with FlashInfer's kernel, which runs on
    Hopper and, for keys of 128 under CUDA 13, on Blackwell.
    """
    mixers = [m for g in model.groups for m in g.mixers if isinstance(m, Recurrent)]
    if mixers and all(isinstance(m, Mamba2) for m in mixers):
        return 1 if rules.since(MAMBA2_SINCE) else None
    keys = {m.head_k_dim for m in mixers if isinstance(m, GatedDeltaNet)}
    if not keys or model.model_type in OTHER_DELTA or not rules.since(DELTA_SINCE):
        return None
    fast = capability == HOPPER or (capability >= BLACKWELL and keys == {BLACKWELL_KEYS})
    return FLASHINFER_STEP if fast else None
