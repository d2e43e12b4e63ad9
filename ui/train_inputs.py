"""What the Train page asks besides model and GPU; every input is bound to the link."""

from typing import Any, get_args

import streamlit as st
from pydantic import ValidationError

from planner.errors import PlanRefused
from planner.export import first_error
from planner.training.optimizers import OPTIMIZERS
from planner.training.recipe import (
    GradientDtype,
    Lora,
    Loss,
    Place,
    Precision,
    Recipe,
    Recomputation,
    Schedule,
    Sharding,
)

BOUND: dict[str, Any] = {"bind": "query-params"}
METHODS = ("Full", "LoRA", "QLoRA")
WORDS = {
    **{name: optimizer.description for name, optimizer in OPTIMIZERS.items()},
    "ddp": "every GPU holds everything",
    "zero1": "optimizer states sharded",
    "zero2": "gradients too",
    "zero3": "parameters too",
    "fsdp2": "all of it, as fp32 shards",
    "none": "nothing",
    "cpu": "to host memory",
    "nvme": "to NVMe (ZeRO-Infinity)",
    "eager": "PyTorch, fp32 logits",
    "in_place": "as Megatron-LM",
    "chunked": "fused with the head, in chunks",
    "selective": "attention only",
    "full": "every layer",
    "16-bit": "as the ZeRO paper",
    "both": "16-bit and fp32, as DeepSpeed's estimators",
    "nf4": "4 bits",
}


def draw(gpus: int, gpus_per_node: int) -> Recipe:
    """Draw the inputs; the recipe they make. Raises PlanRefused, one sentence.

    gpus: those of the sidebar; what parallelism leaves of them are data-parallel replicas.
    """
    values: dict[str, Any] = {"gpus_per_node": gpus_per_node}
    method = st.segmented_control(
        "Method", METHODS, default="LoRA", key="method", required=True, **BOUND
    )
    st.caption(
        "Model, GPU and their number are chosen on the left; formats, context and users there are "
        "for serving."
    )
    columns = st.columns(4)
    with columns[0]:
        values["sequence_length"] = _count("Sequence", "seq", 4096, "Tokens a sequence.", 2**27)
        values["micro_batch_size"] = _count("Micro-batch", "micro", 1, "Sequences a GPU takes.")
        values["gradient_accumulation_steps"] = _count(
            "Micro-batches a step", "accum", 8, "Gradient accumulation; they fill a pipeline."
        )
    with columns[1]:
        values["precision"] = _choice("Precision", "precision", get_args(Precision))
        values["optimizer"] = _choice("Optimizer", "optimizer", tuple(OPTIMIZERS))
        values["sharding"] = _choice("Sharding", "sharding", get_args(Sharding), "zero1")
    with columns[2]:
        values["recomputation"] = _choice(
            "Recomputation", "recompute", get_args(Recomputation), "full"
        )
        values["attention"] = _choice("Attention", "attention", ("flash", "naive"))
        values["loss"] = _choice("Loss", "loss", get_args(Loss))
    with columns[3]:
        values["offload_optimizer"] = _choice("Offload optimizer", "offload", get_args(Place))
        values["offload_parameters"] = _choice(
            "Offload parameters", "offload_params", get_args(Place)
        )
        values["gradient_dtype"] = _choice("Gradients", "grads", get_args(GradientDtype))
    values["lora"] = _lora(method)
    values |= _parallel(gpus)
    try:
        return Recipe(**values)
    except ValidationError as error:
        raise PlanRefused(first_error(error)) from None


def _lora(method: str) -> Lora | None:
    if method == "Full":
        return None
    left, right = st.columns(2)
    with left:
        rank = _count("Rank", "rank", 16, "Width of the adapters.", 4096)
    with right:
        targets = _choice("Adapters beside", "targets", ("all", "attention"))
    base = "nf4" if method == "QLoRA" else "16-bit"
    return Lora.model_validate({"rank": rank, "targets": targets, "base": base})


def _parallel(gpus: int) -> dict[str, Any]:
    with st.expander("Parallelism and kernels", key="open_train_parallelism"):
        columns = st.columns(4)
        with columns[0]:
            tp = _count("Tensor parallel", "t_tp", 1, "GPUs that share each layer.")
            cp = _count("Context parallel", "t_cp", 1, "GPUs that share each sequence.")
        with columns[1]:
            pp = _count("Pipeline stages", "t_pp", 1, "Layers are dealt over these.")
            ep = _count("Expert parallel", "t_ep", 1, "GPUs that share the experts.")
        with columns[2]:
            schedule = _choice("Schedule", "schedule", get_args(Schedule), "1f1b")
            virtual = _count("Chunks a stage", "chunks", 2, "Interleaved schedule only.", 1024)
        with columns[3]:
            sequence = st.toggle("Sequence parallel", value=True, key="t_sp", **BOUND)
            dropout = st.toggle("Dropout", key="dropout", help="Its masks are kept.", **BOUND)
            fused = st.toggle(
                "Fused activation", value=True, key="fused",
                help="Activation and gate in one kernel, which keeps less.", **BOUND,
            )  # fmt: skip
        if gpus % (tp * pp * cp):
            raise PlanRefused(
                f"{gpus:,} GPUs cannot be split into tensor {tp} x pipeline {pp} x context {cp}: "
                "change one of them, or the number of GPUs on the left"
            )
        st.caption(
            f"{gpus:,} GPU{'s' if gpus > 1 else ''} = data {gpus // (tp * pp * cp)} × tensor {tp} "
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
    }


def _choice(label: str, key: str, options: tuple[str, ...], default: str = "") -> str:
    index = options.index(default) if default else 0
    known = [f"{name}: {WORDS[name]}" for name in options if name in WORDS]
    chosen = st.selectbox(
        label, options, index=index, key=key, help="; ".join(known) + "." if known else None,
        **BOUND,
    )  # fmt: skip
    return str(chosen)


def _count(label: str, key: str, value: int, help_text: str, most: int = 65536) -> int:
    return int(
        st.number_input(
            label, min_value=1, max_value=most, value=value, key=key, help=help_text, **BOUND
        )
    )
