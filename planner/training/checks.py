"""Which recipes contradict themselves or the model, refused with what would do.

check(model, recipe)
"""

from math import gcd

from planner.errors import PlanRefused
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.mlp import MoE
from planner.model import Model, kind_name
from planner.parallelism import check as check_shapes
from planner.positions import beyond_stated
from planner.training.recipe import Recipe, position_table

FSDP2_PLACES = (("none", "none"), ("cpu", "cpu"))
"""Of optimizer and parameters: `CPUOffloadPolicy` has one switch for all
(pytorch torch/distributed/fsdp/_fully_shard/_fsdp_api.py)."""


def check(model: Model, recipe: Recipe) -> None:
    """Refuse what contradicts itself or the model, saying what would do."""
    check_shapes(model, recipe.deployment())
    beyond = beyond_stated(model, recipe.sequence_length, served=False)
    if beyond is not None and (table := position_table(model)) is not None:
        raise PlanRefused(f"{beyond} Choose sequence_length {table:,} or less")
    _check_lora(recipe)
    _check_offload(recipe)
    _check_gradients(recipe)
    _check_pipeline(recipe)
    experts = [g.mlp.num_experts for g in model.groups if isinstance(g.mlp, MoE)]
    ep = recipe.expert_parallel_size
    if ep > 1:
        if not experts:
            raise PlanRefused("expert_parallel_size is set, but the model has no routed experts")
        allowed = gcd(recipe.shards, *experts)
        if allowed % ep:
            raise PlanRefused(
                f"expert_parallel_size {ep} must divide both {recipe.shards} (data x context "
                f"parallel) and {min(experts)} experts; {allowed} would"
            )
    if recipe.context_parallel_size > 1:
        for mixer in (m for group in model.groups for m in group.mixers):
            if not isinstance(mixer, (Attention, LatentAttention)):
                raise PlanRefused(
                    f"context_parallel_size: {kind_name(mixer.kind)} layers cannot be split"
                )
    if recipe.context_parallel_size > recipe.sequence_length:
        raise PlanRefused("context_parallel_size is more than the sequence has tokens")


def _check_lora(recipe: Recipe) -> None:
    lora = recipe.lora
    if lora is None:
        return
    if recipe.precision == "fp8" and lora.base != "16-bit":
        raise PlanRefused(
            f"precision fp8 multiplies fp8 copies of 16-bit matrices, and lora.base is "
            f"{lora.base}: choose precision bf16, or base 16-bit (LoRA)"
        )
    if lora.quantize_moe_experts and lora.base == "16-bit":
        raise PlanRefused(
            "quantize_moe_experts stores experts in the format of the base, which is 16-bit: "
            "choose base nf4 or int8 (QLoRA), or leave it out"
        )


def _check_offload(recipe: Recipe) -> None:
    if recipe.sharding == "fsdp2":
        if (recipe.offload_optimizer, recipe.offload_parameters) not in FSDP2_PLACES:
            raise PlanRefused(
                "FSDP2 offloads parameters, gradients and optimizer together and to the host only: "
                "set offload_optimizer and offload_parameters both to cpu or both to none, or "
                "choose sharding zero3"
            )
        return
    if recipe.offload_optimizer != "none" and recipe.sharding == "ddp":
        raise PlanRefused("offload_optimizer needs sharding zero1, zero2, zero3 or fsdp2")
    if recipe.offload_optimizer == "nvme" and recipe.sharding != "zero3":
        raise PlanRefused("offload_optimizer nvme (ZeRO-Infinity) needs sharding zero3")
    if recipe.offload_parameters != "none" and recipe.sharding != "zero3":
        raise PlanRefused("offload_parameters needs sharding zero3 or fsdp2")


def _check_gradients(recipe: Recipe) -> None:
    if recipe.sharding != "fsdp2" or recipe.gradient_dtype == "auto":
        return
    own = "fp32" if recipe.master_weights or recipe.precision == "fp32" else "16-bit"
    if recipe.gradient_dtype != own:
        raise PlanRefused(
            f"FSDP2 keeps gradients in the dtype of its shards, here {own}: leave gradient_dtype "
            "on auto; reduce_dtype says what they are sent in"
        )


def _check_pipeline(recipe: Recipe) -> None:
    stages = recipe.pipeline_parallel_size
    if stages == 1:
        return
    if recipe.sharding in ("zero2", "zero3"):
        raise PlanRefused(
            f"{recipe.sharding} does not run with pipeline stages, since every micro-batch would "
            "reduce its gradients: choose zero1, fsdp2, or pipeline_parallel_size 1"
        )
    if recipe.pipeline_schedule == "interleaved":
        if recipe.virtual_stages < 2:
            raise PlanRefused("virtual_stages must be at least 2 for the interleaved schedule")
        if recipe.gradient_accumulation_steps % stages:
            raise PlanRefused(
                f"the interleaved schedule needs gradient_accumulation_steps "
                f"{recipe.gradient_accumulation_steps} to be a multiple of "
                f"pipeline_parallel_size {stages}"
            )
