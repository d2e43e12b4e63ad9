"""How a model is trained: precision, optimizer, sharding, parallelism, what is kept and recomputed.

Recipe(sequence_length=4096, optimizer="adamw", sharding="zero3", data_parallel_size=8)
"""

from typing import Literal

from pydantic import Field, PositiveFloat

from planner.deployment import Deployment
from planner.formats.dtypes import DTYPE_BYTES
from planner.frozen import Frozen
from planner.model import Model
from planner.positions import reach

Precision = Literal["bf16", "fp16", "fp32", "fp8"]
GradientDtype = Literal["auto", "16-bit", "fp32", "both"]
ReduceDtype = Literal["auto", "16-bit", "fp32"]
Reshard = Literal["default", "always", "never"]
OptimizerName = Literal[
    "adamw", "adam", "adamw_bf16", "adamw_8bit", "adafactor", "muon", "lion", "sgd", "sgd_momentum"
]
Sharding = Literal["ddp", "zero1", "zero2", "zero3", "fsdp2"]
Place = Literal["none", "cpu", "nvme"]
Schedule = Literal["gpipe", "1f1b", "interleaved"]
Recomputation = Literal["none", "selective", "full"]
AttentionKernel = Literal["flash", "naive", "naive_16_bit"]
Loss = Literal["eager", "in_place", "chunked"]
SHARDING_NAMES: dict[Sharding, str] = {
    "ddp": "DDP", "zero1": "ZeRO-1", "zero2": "ZeRO-2", "zero3": "ZeRO-3", "fsdp2": "FSDP2",
}  # fmt: skip
Size = Field(default=1, ge=1, le=65536)


class Lora(Frozen):
    """Adapters of `rank` beside frozen matrices; base: how the frozen ones are stored (QLoRA).

    Both mean linear layers, which routed experts are not: transformers 5 holds those of a layer in
    one tensor, which PEFT's all-linear passes over (peft issue 3009) and bitsandbytes leaves in 16
    bits (issue 1849). targets "experts": all, and experts as PEFT's target_parameters adapt them.
    quantize_moe_experts: axolotl's, which quantises them too.
    """

    rank: int = Field(default=16, ge=1, le=4096)
    targets: Literal["attention", "all", "experts"] = "all"
    base: Literal["16-bit", "nf4", "int8"] = "16-bit"
    quantize_moe_experts: bool = False


class Recipe(Frozen):
    """One way to train. A step is gradient_accumulation_steps micro-batches on every replica.

    gradient_dtype: "16-bit" as in the ZeRO paper, "fp32" as Megatron-LM keeps them, "both" as
    DeepSpeed's estimators count them; auto is fp32 for FSDP2, the parameters' own otherwise.
    reduce_dtype: what gradients are sent in, FSDP2's name (torchtitan sets fp32) and DeepSpeed's
    communication_data_type; auto is the precision of training, and fp32 where DDP or ZeRO-1 keep
    gradients in it, as Megatron-LM does. reshard_after_forward: FSDP2's, in torchtitan's words; the
    default is every module but the root, and none in a pipeline; accelerate sets always.
    use_multi_rank_bucket_allreduce (of ZeRO-1 and 2) and stage3_max_live_parameters: DeepSpeed's.
    sequence_parallel splits what tensor parallelism leaves whole. dropout: masks are kept.
    attention: "naive" stores probabilities as transformers' eager attention does, whose softmax is
    in fp32 and cast back; "naive_16_bit" as Megatron-LM does, whose softmax stays in 16 bits.
    fused_kernels: activation and gate are one kernel, which keeps its inputs only. loss: see
    `planner.training.loss`. virtual_stages: chunks of layers a pipeline rank holds, interleaved.
    host_memory_bytes_per_s, nvme_bytes_per_s (reads): of one machine, as measured there; where they
    are not given `planner.training.offload` assumes them.
    """

    sequence_length: int = Field(default=4096, ge=1, le=2**27)
    micro_batch_size: int = Field(default=1, ge=1, le=2**20)
    gradient_accumulation_steps: int = Field(default=1, ge=1, le=2**20)
    precision: Precision = "bf16"
    master_weights: bool = True
    gradient_dtype: GradientDtype = "auto"
    reduce_dtype: ReduceDtype = "auto"
    optimizer: OptimizerName = "adamw"
    lora: Lora | None = None
    sharding: Sharding = "zero1"
    reshard_after_forward: Reshard = "default"
    use_multi_rank_bucket_allreduce: bool = True
    stage3_max_live_parameters: int = Field(default=10**9, ge=0, le=2**50)
    offload_optimizer: Place = "none"
    offload_parameters: Place = "none"
    data_parallel_size: int = Size
    tensor_parallel_size: int = Size
    sequence_parallel: bool = True
    context_parallel_size: int = Size
    pipeline_parallel_size: int = Size
    pipeline_schedule: Schedule = "1f1b"
    virtual_stages: int = Field(default=2, ge=1, le=1024)
    expert_parallel_size: int = Size
    attention: AttentionKernel = "flash"
    recomputation: Recomputation = "none"
    dropout: bool = False
    fused_kernels: bool = True
    loss: Loss = "eager"
    gpus_per_node: int = Field(default=8, ge=1, le=1024)
    host_memory_bytes_per_s: PositiveFloat | None = None
    nvme_bytes_per_s: PositiveFloat | None = None

    @property
    def gpus(self) -> int:
        return (
            self.tensor_parallel_size
            * self.pipeline_parallel_size
            * self.context_parallel_size
            * self.data_parallel_size
        )

    @property
    def nodes(self) -> int:
        return -(-self.gpus // self.gpus_per_node)

    @property
    def stage(self) -> int:
        """The ZeRO stage that the sharding amounts to."""
        return {"ddp": 0, "zero1": 1, "zero2": 2, "zero3": 3, "fsdp2": 3}[self.sharding]

    @property
    def shards(self) -> int:
        """Ranks that hold the same dense parameters; ZeRO and FSDP shard over them."""
        return self.data_parallel_size * self.context_parallel_size

    def replicas(self, expert: bool) -> int:
        """Ranks that hold the same tensors: fewer have the same experts."""
        return self.shards // (self.expert_parallel_size if expert else 1)

    @property
    def micro_batch_tokens(self) -> int:
        """Tokens of one micro-batch on one GPU."""
        return self.micro_batch_size * -(-self.sequence_length // self.context_parallel_size)

    @property
    def sequence_multiple(self) -> int:
        """Of what frameworks that share sequences out want their length to be a multiple: tensor
        parallel x 2 context parallel (torchtitan, llama3/infra/parallelize.py)."""
        context = self.context_parallel_size
        tensor = self.tensor_parallel_size if self.sequence_parallel else 1
        return tensor * (context if context == 1 else 2 * context)

    @property
    def step_tokens(self) -> int:
        """Tokens of one optimizer step, over all replicas."""
        sequences = self.micro_batch_size * self.gradient_accumulation_steps
        return sequences * self.sequence_length * self.data_parallel_size

    @property
    def dtype(self) -> str:
        """torch's name for what activations are in, and what is not multiplied in fp8."""
        return {"fp32": "float32", "fp16": "float16"}.get(self.precision, "bfloat16")

    @property
    def element_bytes(self) -> int:
        """An activation's element."""
        return DTYPE_BYTES[self.dtype]

    def deployment(self) -> Deployment:
        """The split of tensors and layers; data parallelism and experts are handled here."""
        return Deployment(
            tensor_parallel_size=self.tensor_parallel_size,
            pipeline_parallel_size=self.pipeline_parallel_size,
        )

    def replace(self, **changes: object) -> "Recipe":
        """A copy with other values, validated."""
        return Recipe(**{**dict(self), **changes})


USUAL = Recipe(lora=Lora(), recomputation="full", gradient_accumulation_steps=8)
"""What is planned until something is chosen, on the page and on the command line alike."""


def position_table(model: Model) -> int | None:
    """Positions of a model that has a table of them; None where nothing ends its sequences."""
    found = reach(model)
    return found.supported_tokens if found.hard else None


def usual(model: Model) -> Recipe:
    """USUAL, with sequences that the model has positions for."""
    longest = position_table(model) or USUAL.sequence_length
    return USUAL.replace(sequence_length=min(USUAL.sequence_length, longest))
