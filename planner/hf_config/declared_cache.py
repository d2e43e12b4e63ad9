"""The KV cache format that a quantised checkpoint asks for where a deployment says "auto".

Sources: vLLM 0.33's resolution of kv_cache_dtype (ModelOpt's `kv_cache_quant_algo`, whose value may
stand under `kv_cache_scheme` too, and the object of that name in compressed-tensors); TensorRT-LLM
reads the same fields.
"""

from collections.abc import Mapping
from typing import Any

from planner.errors import ConfigRefused
from planner.hf_config.reader import short

ASKS = "The checkpoint asks for an {} KV cache: auto is that, and --kv-cache-dtype overrides it."
ALGORITHMS = {"fp8": "fp8", "nvfp4": "nvfp4"}


def declared_cache(quantization: Mapping[str, Any] | None) -> str | None:
    """Name of the cache format in a `quantization_config`; None where it asks for none.

    Raises ConfigRefused, naming the field, for a format that is not known.
    """
    if quantization is None:
        return None
    nested = quantization.get("quantization")
    for config in (quantization, nested if isinstance(nested, Mapping) else {}):
        scheme = config.get("kv_cache_scheme")
        named = "kv_cache_scheme" if isinstance(scheme, str) else "kv_cache_quant_algo"
        algorithm = config.get(named)
        if algorithm is not None:
            found = ALGORITHMS.get(str(algorithm).lower())
            if found is None:
                raise _refusal(named, algorithm)
            return found
        if scheme is not None:
            floats = isinstance(scheme, Mapping) and scheme.get("type") == "float"
            bits = scheme.get("num_bits") if floats else None
            if bits == 4 and str(quantization.get("quant_method")).startswith("modelopt"):
                return "nvfp4"
            if bits != 8:
                raise _refusal("kv_cache_scheme", scheme)
            return "fp8"
    return None


def _refusal(name: str, value: object) -> ConfigRefused:
    name = f"quantization_config.{name}"
    return ConfigRefused(f"{name}: {short(value)} is not a cache Sizewell knows", field=name)
