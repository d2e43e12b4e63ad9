"""What a training plan assumes, in sentences."""

from planner.kinds.mlp import MoE
from planner.positions import beyond_stated
from planner.training.plan import TrainingPlan
from planner.training.states import shard_bytes
from planner.units import format_bytes

STORED_SCORES = {
    "naive": "Probabilities are stored as transformers' eager attention does: the softmax's in "
    "fp32 and a copy cast back for the product with the values.",
    "naive_16_bit": "Probabilities are stored once, in the precision of training, as Megatron-LM's "
    "softmax leaves them.",
}  # fmt: skip


def notes(plan: TrainingPlan) -> tuple[str, ...]:
    """What the figures assume."""
    found = ["Attention, feed-forward and norms keep what fused kernels keep (one kernel for "
             "activation and gate)." if plan.recipe.fused_kernels else
             "Activation and gate are separate operations, each keeping its input."]  # fmt: skip
    if plan.model.quantization:
        method = plan.model.quantization.get("quant_method", "its own format")
        found.append(f"The checkpoint is quantised ({method}): it is taken to be dequantised "
                     "before training.")  # fmt: skip
    if plan.recipe.attention != "flash":
        found.append(STORED_SCORES[plan.recipe.attention])
    if any(isinstance(part.group.mlp, MoE) for part in plan.stage.parts):
        found.append("Routing is taken to be balanced: a popular expert's GPU needs more.")
    if any(s.estimated for part in plan.stage.parts for s in part.saved):
        found.append("Recurrent layers' activations are an estimate: kernels differ in what they "
                     "keep.")  # fmt: skip
    if plan.recipe.sharding == "fsdp2" and plan.recipe.offload_parameters == "cpu":
        found.append("FSDP2 keeps shards, gradients and optimizer states on the host together: "
                     "fully_shard(..., offload_policy=CPUOffloadPolicy()), and an optimizer with "
                     "fused=True, which is not PyTorch's default on a CPU.")  # fmt: skip
    recipe = plan.recipe
    if beyond := beyond_stated(plan.model, recipe.sequence_length, served=False):
        found.append(beyond)
    if recipe.sequence_length % recipe.sequence_multiple:
        found.append(f"Sequences are padded: frameworks that share them out ask for a multiple of "
                     f"{recipe.sequence_multiple:,} tokens.")  # fmt: skip
    if recipe.sharding == "fsdp2" and recipe.pipeline_parallel_size > 1:
        found.append("FSDP2 in a pipeline adds gradients up unsharded and reshards after the last "
                     "micro-batch only: a stage's parameters and gradients are whole until "
                     "then.")  # fmt: skip
    found += _lora_notes(plan)
    if plan.model.mtp:
        found.append("Multi-token-prediction layers are not trained in this plan.")
    if plan.model.parameters_elsewhere:
        found.append(f"Not counted: {', '.join(plan.model.parameters_elsewhere)}.")
    return tuple(found)


def _lora_notes(plan: TrainingPlan) -> list[str]:
    lora, recipe = plan.recipe.lora, plan.recipe
    if lora is None:
        return []
    found = []
    if any(isinstance(part.group.mlp, MoE) for part in plan.stage.parts):
        frozen = [] if lora.targets == "experts" else ["have no adapters"]
        if lora.base != "16-bit" and not lora.quantize_moe_experts:
            frozen.append("stay in 16 bits")
        if frozen:
            found.append(f"Routed experts {' and '.join(frozen)}: transformers 5 holds those of a "
                         "layer in one tensor, which PEFT's all-linear and bitsandbytes pass "
                         "over.")  # fmt: skip
        if lora.targets == "experts":
            found.append("PEFT's target_parameters also write out what the adapters of a layer's "
                         "experts add, as large as the experts: not counted, since kernels for it "
                         "need not.")  # fmt: skip
    codes = [t for t in plan.stage.held if t.base == "nf4"]
    if recipe.sharding == "fsdp2" and recipe.shards > 1 and codes:
        more = sum(t.gathered_bytes(0) - shard_bytes(t, recipe) for t in codes)
        found.append("4-bit matrices are shared out where they are stored in the dtype of training "
                     "(bnb_4bit_quant_storage); as uint8, bitsandbytes' default, accelerate leaves "
                     f"them whole on every GPU (pull request 3987): {format_bytes(more)} "
                     "more.")  # fmt: skip
    return found
