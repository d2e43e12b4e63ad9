"""What each engine is told so that it stretches positions.

for name, words, remark in commands(extend(model, 131072), config): ...
"""

import shlex
from collections.abc import Mapping
from typing import Any

from planner.engines.extended import in_copy
from planner.engines.llama_cpp import command as llama_cpp
from planner.engines.sglang import command as sglang
from planner.engines.transformers import command as transformers
from planner.engines.vllm import command as vllm
from planner.engines.vllm.versions import NEWEST_NAME
from planner.rope.extension import Extension

NOT_DYNAMIC = (
    "The base is fixed at the start by a rule of their own (in vLLM it changed with vllm#41277), "
    "or there is none (llama.cpp): choose yarn."
)


def commands(
    found: Extension, config: Mapping[str, Any] | None
) -> tuple[tuple[str, str, str], ...]:
    """What each engine is told: its name, the words, and what to know of them."""
    length = str(found.context_tokens)
    in_transformers = ", ".join(transformers.scaling_arguments(found, config))
    last = (
        ("TensorRT-LLM", f"--max_seq_len {length}",
         f"No flag stretches positions: {in_copy(found, config)}."),
        ("transformers", f"from_pretrained(..., {in_transformers})", ""),
    )  # fmt: skip
    if found.method == "dynamic":
        return (("vLLM, SGLang and llama.cpp", "", NOT_DYNAMIC), *last)
    words = {
        "vLLM": ["--max-model-len", length, *vllm.scaling_flags(found, config, NEWEST_NAME)],
        "SGLang": ["--context-length", length, *sglang.scaling_flags(found, config)],
        "llama.cpp": ["-c", length, *llama_cpp.scaling_flags(found)],
    }
    remarks = {"llama.cpp": llama_cpp.length_cap(found)}
    return (
        *((name, shlex.join(told), remarks.get(name, "")) for name, told in words.items()),
        *last,
    )
