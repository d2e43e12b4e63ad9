"""Cache formats and lengths that engines take beside vLLM, which checks its own by version."""

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.formats.dtypes import NAME_OF_DTYPE, kv_format
from planner.model import Model
from planner.positions import reach
from planner.rope.words import cannot_extend

E5M2 = "fp8_e5m2"
"""fp8 with five exponent bits and no scales: as many bytes as fp8, and a flag of its own."""


def cache_name(model: Model, deployment: Deployment) -> str:
    """The cache's format as engines tell them apart."""
    asked = deployment.kv_cache_dtype.lower()
    return E5M2 if asked == E5M2 else kv_format(asked, model.own_cache).name


def check_cache_dtype(
    engine: str, known: tuple[str, ...], model: Model, deployment: Deployment
) -> None:
    """Refuse a kv_cache_dtype that the engine has not; the model's own is always taken."""
    name = cache_name(model, deployment)
    if name != NAME_OF_DTYPE[model.dtype] and name not in known:
        raise PlanRefused(
            f"kv_cache_dtype {name}: {engine} has no such cache; choose auto, {', '.join(known)}"
        )


def check_length(engine: str, flag: str, length: int | None, model: Model, allowed_by: str) -> None:
    """Refuse a length beyond what the configuration states, naming what would allow it."""
    stated = reach(model).supported_tokens
    if length is not None and stated is not None and length > stated:
        raise PlanRefused(
            f"{flag} {length:,} is beyond the {stated:,} tokens that the configuration states, "
            f"which {engine} refuses unless {allowed_by}, and {cannot_extend(model, length)}: plan "
            f"{stated:,} or fewer"
        )
