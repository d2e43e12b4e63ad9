"""Memory that sharding and the allocator need beside states and activations: ranges."""

from math import prod

from planner.estimate import Estimate
from planner.training.recipe import Recipe
from planner.training.states import (
    States,
    gradient_bytes,
    has_master,
    parameter_bytes,
    reduced_bytes,
    shard_bytes,
)
from planner.training.tensors import Held

BUCKET = 5 * 10**8
PREFETCH = 5 * 10**7
PIPELINE_BUFFERS = 2
FRAGMENTATION = (0.0, 0.05, 0.30)
FRAGMENTATION_SOURCE = (
    "0 to 30 % of what comes and goes; ZeRO (Rajbhandari et al. 2020, 3.2) met over 30 % in "
    "extreme cases; 5 % is taken here"
)
HOST_FACTOR = (1.0, 1.5, 1.5)
HOST_SOURCE = "DeepSpeed's estimators add half for buffers; the states alone are the low end"


def buffers(
    held: tuple[Held, ...], found: States, recipe: Recipe, hidden_size: int,
    largest_layer: tuple[Held, ...],
) -> dict[str, Estimate]:  # fmt: skip
    """Communication and work buffers of one rank by name; empty on a single GPU without LoRA."""
    result: dict[str, Estimate] = {}
    gathers = recipe.sharding == "fsdp2" and has_master(recipe)
    if recipe.shards > 1 or recipe.offload_optimizer != "none" or gathers:
        name, estimate = _data_parallel(held, found, recipe, largest_layer)
        result[name] = estimate
    if recipe.pipeline_parallel_size > 1:
        cut = recipe.tensor_parallel_size if recipe.sequence_parallel else 1
        edge = recipe.micro_batch_tokens * hidden_size * recipe.element_bytes // cut
        size = PIPELINE_BUFFERS * edge
        result["pipeline_buffers"] = Estimate(
            size, size, 2 * size, "one activation and one gradient at a stage's edge; two of each "
            "where sends overlap",
        )  # fmt: skip
    quantised = [prod(t.shape) for t in held if t.base != "16-bit"]
    if quantised:
        experts = sum(
            t.parameters
            for t in largest_layer
            if t.expert and t.base != "16-bit" and not t.name.startswith("experts.down_proj")
        )
        size = 2 * max(*quantised, experts)
        result["dequantised_matrix"] = Estimate(
            size, size, 2 * size, "the largest frozen matrix in 16 bits while it is multiplied; "
            "experts of a layer are one (bitsandbytes pull request 1720)",
        )  # fmt: skip
    return result


def _data_parallel(
    held: tuple[Held, ...], found: States, recipe: Recipe, largest: tuple[Held, ...]
) -> tuple[str, Estimate]:
    n, p, g = found.trainable, parameter_bytes(recipe), gradient_bytes(recipe)
    if recipe.sharding == "ddp":
        return "ddp_buckets", Estimate(
            n * g, 0, n * g, "PyTorch DDP copies gradients to buckets; none with "
            "gradient_as_bucket_view",
        )  # fmt: skip
    if recipe.sharding == "fsdp2":
        return "fsdp_gathered", _fsdp_gathered(held, recipe, largest)
    bucket = min(BUCKET, n) * 2
    if recipe.sharding == "zero3":
        whole = sum(t.gathered_bytes(p) for t in held)
        live = min(p * recipe.stage3_max_live_parameters, whole)
        beside = max(live - p * max(prod(t.shape) for t in held), p * min(PREFETCH, n))
        return "zero_buckets", Estimate(
            bucket + beside, bucket, bucket + max(live, beside),
            "DeepSpeed: reduce bucket of 5e8 and prefetch bucket of 5e7 elements; up to "
            "stage3_max_live_parameters stay gathered, the largest module apart",
        )  # fmt: skip
    return "zero_buckets", Estimate(
        2 * bucket, bucket, 3 * bucket,
        "DeepSpeed: reduce and all-gather buckets of 5e8 elements; overlap_comm adds one",
    )  # fmt: skip


def _fsdp_gathered(
    held: tuple[Held, ...], recipe: Recipe, largest: tuple[Held, ...]
) -> Estimate:  # fmt: skip
    """What FSDP2 has whole at a time, and what passes between GPU and host."""
    p, reduced = parameter_bytes(recipe), reduced_bytes(recipe)
    one, everything = (sum(t.gathered_bytes(p) for t in some) for some in (largest, held))
    root = sum(t.gathered_bytes(p) for t in held if t.outside)
    gradient, gradients, root_gradient = (
        reduced * sum(t.parameters for t in some if t.trainable)
        for some in (largest, held, [t for t in held if t.outside])
    )
    passing, source = 0, ""
    if recipe.offload_parameters != "none":
        trained = [t for t in largest if t.trainable]
        passing = sum(shard_bytes(t, recipe) for t in (*largest, *trained))
        source = "; a layer's shards and their gradients on their way from and to the host"
    if recipe.pipeline_parallel_size > 1:
        size = everything + gradients + passing
        return Estimate(
            size, size, size + gradient,
            "FSDP2 in a pipeline keeps a stage's parameters gathered, and its gradients whole, "
            f"until the last micro-batch is reduced{source}",
        )  # fmt: skip
    if recipe.reshard_after_forward == "never":
        size = everything + gradient + passing
        return Estimate(
            size, size, size + max(gradient, root_gradient),
            "FSDP2 that does not reshard after forward: all parameters, a layer's gradients"
            f"{source}",
        )  # fmt: skip
    return Estimate(
        root + 2 * one + gradient + passing, one + gradient + passing,
        root + root_gradient + 2 * one + 2 * gradient + passing,
        "FSDP2: a layer, the prefetched one and a layer's gradients, beside embedding and head, "
        f"which stay gathered unless they are wrapped themselves{source}",
    )  # fmt: skip


def fragmentation(transient_bytes: int) -> Estimate:
    """What the caching allocator holds and cannot use, of `transient_bytes` that come and go."""
    low, central, high = (int(share * transient_bytes) for share in FRAGMENTATION)
    return Estimate(central, low, high, FRAGMENTATION_SOURCE)


def host(states_bytes: int) -> Estimate:
    """Host memory of one machine for states moved there."""
    low, central, high = (int(factor * states_bytes) for factor in HOST_FACTOR)
    return Estimate(central, low, high, HOST_SOURCE)


def pinned_host(states_bytes: int, pinned_bytes: int) -> Estimate:
    """Host memory of one machine for FSDP2's states, of which these are pinned."""
    return Estimate(
        states_bytes + pinned_bytes // 2, states_bytes, states_bytes + pinned_bytes,
        "PyTorch rounds each pinned shard and gradient up to a power of two "
        "(CachingHostAllocator): none to all of their bytes again, half is taken",
    )  # fmt: skip


def nvme_buffers(largest_tensor: int) -> Estimate:
    """Pinned host memory of one rank that swaps states to NVMe."""
    central = 4 * 4 * largest_tensor
    return Estimate(
        central, central // 2, 5 * 10**8 * 2 + central,
        "ZeRO-Infinity: four optimizer buffers of the largest tensor; five of 1e8 parameters",
    )  # fmt: skip
