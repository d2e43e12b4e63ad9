"""What the Train page asks besides model and GPU; every input is bound to the link."""

from typing import Any, get_args

import streamlit as st
from pydantic import ValidationError

from planner.errors import PlanRefused
from planner.export import first_error
from planner.training.optimizers import OPTIMIZERS
from planner.training.recipe import (
    USUAL,
    AttentionKernel,
    GradientDtype,
    Lora,
    Loss,
    Place,
    Precision,
    Recipe,
    Recomputation,
    ReduceDtype,
    Reshard,
    Schedule,
    Sharding,
)
from planner.units import counted
from planner.workload import MAX_TOKENS
from ui.bound import BOUND
from ui.whole import count, token_count

METHODS = ("Full", "LoRA", "QLoRA")
USUAL_LORA = USUAL.lora or Lora()
USUAL_METHOD = "Full" if USUAL.lora is None else "LoRA" if USUAL.lora.base == "16-bit" else "QLoRA"
WORDS = {
    **{name: optimizer.description for name, optimizer in OPTIMIZERS.items()},
    "ddp": "every GPU holds everything",
    "zero1": "optimizer states sharded",
    "zero2": "gradients too",
    "zero3": "parameters too",
    "fsdp2": "all of it, as fp32 shards, offloaded all together or not at all",
    "none": "nothing",
    "cpu": "to host memory",
    "nvme": "to NVMe (ZeRO-Infinity)",
    "all": "every linear layer, which routed experts are not",
    "attention": "its projections only",
    "experts": "linear layers and routed experts",
    "naive": "probabilities stored, softmax in fp32 as transformers' eager attention",
    "naive_16_bit": "softmax in 16 bits, as Megatron-LM",
    "eager": "PyTorch, fp32 logits",
    "in_place": "as Megatron-LM",
    "chunked": "fused with the head, in chunks",
    "selective": "attention only",
    "full": "every layer",
    "16-bit": "as the ZeRO paper",
    "both": "16-bit and fp32, as DeepSpeed's estimators",
    "default": "the layers; in a pipeline nothing",
    "always": "embedding and head too, as accelerate sets it",
    "never": "nothing: less to send, more memory",
}


def draw(gpus: int, gpus_per_node: int, usual: Recipe = USUAL) -> Recipe:
    """Draw the inputs; the recipe they make. Raises PlanRefused, one sentence.

    gpus: those of the sidebar; what parallelism leaves of them are data-parallel replicas.
    usual: of the model.
    """
    values: dict[str, Any] = {"gpus_per_node": gpus_per_node}
    method = st.segmented_control(
        "Method", METHODS, default=USUAL_METHOD, key="method", required=True, **BOUND
    )
    st.caption(
        "Model, GPU and their number are chosen in the sidebar; formats, context and users there "
        "are for serving."
    )
    columns = st.columns(4)
    with columns[0]:
        values["sequence_length"] = token_count(
            "Sequence", "seq", 1, MAX_TOKENS, usual.sequence_length, help="Tokens a sequence.",
            **BOUND,
        )  # fmt: skip
        values["micro_batch_size"] = _count(
            "Micro-batch", "micro", USUAL.micro_batch_size, "Sequences a GPU takes."
        )
        values["gradient_accumulation_steps"] = _count(
            "Micro-batches a step",
            "accum",
            USUAL.gradient_accumulation_steps,
            "Gradient accumulation; they fill a pipeline.",
        )
    with columns[1]:
        values["precision"] = _choice(
            "Precision", "precision", get_args(Precision), USUAL.precision
        )
        values["optimizer"] = _choice("Optimizer", "optimizer", tuple(OPTIMIZERS), USUAL.optimizer)
        values["sharding"] = _choice("Sharding", "sharding", get_args(Sharding), USUAL.sharding)
    with columns[2]:
        values["recomputation"] = _choice(
            "Recomputation", "recompute", get_args(Recomputation), USUAL.recomputation
        )
        values["attention"] = _choice(
            "Attention", "attention", get_args(AttentionKernel), USUAL.attention
        )
        values["loss"] = _choice("Loss", "loss", get_args(Loss), USUAL.loss)
    with columns[3]:
        values["offload_optimizer"] = _choice(
            "Offload optimizer", "offload", get_args(Place), USUAL.offload_optimizer
        )
        values["offload_parameters"] = _choice(
            "Offload parameters", "offload_params", get_args(Place), USUAL.offload_parameters
        )
        values["gradient_dtype"] = _choice(
            "Gradients", "grads", get_args(GradientDtype), USUAL.gradient_dtype
        )
    if not values["offload_optimizer"] == values["offload_parameters"] == "none":
        values |= _rates()
    values["lora"] = _lora(method)
    values |= _parallel(gpus, values["sharding"])
    try:
        return Recipe(**values)
    except ValidationError as error:
        raise PlanRefused(first_error(error)) from None


def _rates() -> dict[str, Any]:
    """What one machine's memory and drives sustain; nothing where they are left to be assumed."""
    columns = st.columns(2)
    asked = (
        ("host_memory_bytes_per_s", "Host memory, GB/s", "host_gbs",
         "What the optimizer reaches in a machine's memory. 0: assumed."),
        ("nvme_bytes_per_s", "NVMe, GB/s", "nvme_gbs",
         "Reads of a machine's drives; writes are taken as half. 0: assumed."),
    )  # fmt: skip
    found = {}
    for column, (name, label, key, help_text) in zip(columns, asked, strict=True):
        with column:
            rate = count(label, key, 0, 10_000, 0, help=help_text, **BOUND)
        if rate:
            found[name] = rate * 1e9
    return found


def _lora(method: str) -> Lora | None:
    if method == "Full":
        return None
    left, right = st.columns(2)
    with left:
        rank = _count("Rank", "rank", USUAL_LORA.rank, "Width of the adapters.", 4096)
    with right:
        known = get_args(Lora.model_fields["targets"].annotation)
        targets = _choice("Adapters beside", "targets", known, USUAL_LORA.targets)
    values: dict[str, Any] = {"rank": rank, "targets": targets}
    if method == "QLoRA":
        values["base"] = "nf4"
        values["quantize_moe_experts"] = st.toggle(
            "Routed experts in 4 bits too", value=USUAL_LORA.quantize_moe_experts, key="moe4",
            help="axolotl's quantize_moe_experts; bitsandbytes leaves them in 16 bits.", **BOUND,
        )  # fmt: skip
    return Lora.model_validate(values)


def _parallel(gpus: int, sharding: str) -> dict[str, Any]:
    with st.expander("Parallelism and kernels", key="open_train_parallelism"):
        columns = st.columns(4)
        with columns[0]:
            tp = _count(
                "Tensor parallel", "t_tp", USUAL.tensor_parallel_size, "GPUs that share each layer."
            )
            cp = _count(
                "Context parallel",
                "t_cp",
                USUAL.context_parallel_size,
                "GPUs that share each sequence.",
            )
        with columns[1]:
            pp = _count(
                "Pipeline stages",
                "t_pp",
                USUAL.pipeline_parallel_size,
                "Layers are dealt over these.",
            )
            ep = _count(
                "Expert parallel",
                "t_ep",
                USUAL.expert_parallel_size,
                "GPUs that share the experts.",
            )
        with columns[2]:
            schedule = _choice("Schedule", "schedule", get_args(Schedule), USUAL.pipeline_schedule)
            virtual = _count(
                "Chunks a stage", "chunks", USUAL.virtual_stages, "Interleaved schedule only.", 1024
            )
        with columns[3]:
            sequence = st.toggle(
                "Sequence parallel", value=USUAL.sequence_parallel, key="t_sp", **BOUND
            )
            dropout = st.toggle(
                "Dropout", value=USUAL.dropout, key="dropout", help="Its masks are kept.", **BOUND
            )
            fused = st.toggle(
                "Fused activation", value=USUAL.fused_kernels, key="fused",
                help="Activation and gate in one kernel, which keeps less.", **BOUND,
            )  # fmt: skip
        sent = _sent(sharding)
        if gpus % (tp * pp * cp):
            raise PlanRefused(
                f"{gpus:,} GPUs cannot be split into tensor {tp} × pipeline {pp} × context {cp}: "
                "change one of them, or the number of GPUs in the sidebar"
            )
        st.caption(
            f"{counted(gpus, 'GPU')} = data {gpus // (tp * pp * cp)} × tensor {tp} "
            f"× pipeline {pp} × context {cp}"
        )
    return {
        "tensor_parallel_size": tp,
        "context_parallel_size": cp,
        "pipeline_parallel_size": pp,
        "expert_parallel_size": ep,
        "data_parallel_size": gpus // (tp * pp * cp),
        "pipeline_schedule": schedule,
        "virtual_stages": virtual,
        "sequence_parallel": sequence,
        "dropout": dropout,
        "fused_kernels": fused,
        **sent,
    }


def _sent(sharding: str) -> dict[str, Any]:
    """What replicas send each other, as far as this sharding leaves a choice."""
    values: dict[str, Any] = {}
    left, right = st.columns(2, vertical_alignment="bottom")
    with left:
        values["reduce_dtype"] = _choice(
            "Gradients are sent in", "reduce", get_args(ReduceDtype), USUAL.reduce_dtype,
            "Auto: the precision of training. FSDP2's reduce_dtype, DeepSpeed's "
            "communication_data_type.",
        )  # fmt: skip
    with right:
        if sharding == "fsdp2":
            values["reshard_after_forward"] = _choice(
                "Freed after forward", "reshard", get_args(Reshard), USUAL.reshard_after_forward
            )
        elif sharding == "zero3":
            values["stage3_max_live_parameters"] = count(
                "Live parameters", "live", 0, 2**50, USUAL.stage3_max_live_parameters,
                help="DeepSpeed's stage3_max_live_parameters: what stays gathered.", **BOUND,
            )  # fmt: skip
        elif sharding != "ddp":
            values["use_multi_rank_bucket_allreduce"] = st.toggle(
                "All-reduce gradients", value=USUAL.use_multi_rank_bucket_allreduce, key="t_ar",
                help="DeepSpeed's use_multi_rank_bucket_allreduce. Off: each GPU gets its part "
                "only, as in the ZeRO paper and Megatron-LM.", **BOUND,
            )  # fmt: skip
    return values


def _choice(
    label: str, key: str, options: tuple[str, ...], default: str, help_text: str | None = None
) -> str:  # fmt: skip
    index = options.index(default)
    if help_text is None:
        known = [f"{name}: {WORDS[name]}" for name in options if name in WORDS]
        help_text = "; ".join(known) + "." if known else None
    chosen = st.selectbox(label, options, index=index, key=key, help=help_text, **BOUND)
    return str(chosen)


def _count(label: str, key: str, value: int, help_text: str, most: int = 65536) -> int:
    return count(label, key, 1, most, value, help=help_text, **BOUND)
