"""What DeepSpeed's and Megatron-LM's own estimators say of a model, restated from their formulas.

Sources: DeepSpeed 0.18 to 0.19 `estimate_zero2_model_states_mem_needs`, `estimate_zero3_...`;
Megatron-LM megatron/training/theoretical_memory_usage.py. They stand beside a plan for comparison.
"""

from dataclasses import dataclass
from math import prod

from planner.kinds.attention import Attention
from planner.kinds.mlp import Mlp, MoE
from planner.model import Model
from planner.training.recipe import Recipe
from planner.units import round_up

HOST_FACTOR = 1.5


@dataclass(frozen=True, slots=True)
class Published:
    """One tool's figures for one GPU, and for one machine's host memory where it gives them."""

    tool: str
    states_bytes: int
    activation_bytes: int | None = None
    host_bytes: int | None = None


def published(model: Model, recipe: Recipe, parameters: int) -> tuple[Published, ...]:
    """The estimators that know such a recipe: Adam of all parameters, no sequence or expert shared.

    DeepSpeed's do not know NVMe, and Megatron-LM's activations only selective recomputation.
    """
    shared = recipe.context_parallel_size * recipe.expert_parallel_size > 1
    nvme = "nvme" in (recipe.offload_optimizer, recipe.offload_parameters)
    known = recipe.lora is None and recipe.optimizer in ("adam", "adamw")
    if shared or nvme or not known:
        return ()
    found: list[Published] = []
    plain = recipe.tensor_parallel_size * recipe.pipeline_parallel_size == 1
    if plain and recipe.sharding in ("zero2", "zero3"):
        found.append(deepspeed(recipe, parameters, largest_module(model)))
    if recipe.sharding in ("ddp", "zero1") and recipe.offload_optimizer == "none":
        report = megatron(model, recipe)
        found += [] if report is None else [report]
    return tuple(found)


def largest_module(model: Model) -> int:
    """Parameters of the largest single module: a matrix, most often the embedding."""
    layers = (w for g in model.groups for w in g.weights(model.hidden_size))
    return max(prod(w.shape) for w in (*layers, *model.outside()))


def deepspeed(recipe: Recipe, parameters: int, largest: int) -> Published:
    """DeepSpeed's estimate for ZeRO-2 and, of a model made in parts, ZeRO-3; states only."""
    p, gpus, nodes = parameters, recipe.gpus, recipe.nodes
    per_node = min(gpus, recipe.gpus_per_node)
    if recipe.sharding == "zero2":
        if recipe.offload_optimizer == "none":
            gpu, host = 2 * p + 18 * p // gpus, float(p * 4 * per_node)
        else:
            gpu, host = 2 * p, float(p * max(4 * gpus, 16))
        return Published("DeepSpeed ZeRO-2 estimator", gpu, None, int(host * HOST_FACTOR))
    live = 4 * largest
    if recipe.offload_optimizer == "none":
        gpu = live + 18 * p // gpus
        host = largest * 4.0 * per_node
    else:
        on_host = 16 if recipe.offload_parameters == "none" else 18
        gpu = live + (2 * p // gpus if on_host == 16 else 0)
        host = p * on_host / nodes
    return Published("DeepSpeed ZeRO-3 estimator", gpu, None, int(host * HOST_FACTOR))


def megatron(model: Model, recipe: Recipe, *, padding: int = 128) -> Published | None:
    """Megatron-LM's theoretical report; None for models whose layers it cannot express."""
    shape = _shape(model)
    if shape is None:
        return None
    mixer, dense, moe, gated = shape
    hidden, layers = model.hidden_size, model.num_hidden_layers
    tp, pp = recipe.tensor_parallel_size, recipe.pipeline_parallel_size
    norm = 2 if any(w.name.endswith(".bias") for w in model.groups[0].norms) else 1
    width = mixer.num_attention_heads * mixer.head_dim
    kv_share = mixer.num_key_value_heads / mixer.num_attention_heads
    attention = 2 * hidden * width * (1 + kv_share)
    factor = 1.5 if gated else 1
    ffn = dense.intermediate_size if dense else (moe.moe_intermediate_size if moe else 0)
    inner = ffn if moe is None else moe.num_experts * moe.moe_intermediate_size
    layer = 2 * hidden * (inner * factor + norm) + attention
    block = layer * layers + norm * hidden
    vocab = round_up(model.vocab_size, padding * tp)
    shard = (block / pp + hidden * vocab) / tp
    if not model.tie_word_embeddings and pp == 1:
        shard += hidden * vocab / tp
    each = 18 if recipe.sharding == "ddp" else 6 + 12 / recipe.data_parallel_size
    kept = None
    if recipe.recomputation != "full":
        kept = int(_megatron_activations(recipe, hidden, ffn, layers, vocab))
    return Published("Megatron-LM theoretical report", int(shard * each), kept)


def _megatron_activations(recipe: Recipe, hidden: int, ffn: int, layers: int, vocab: int) -> float:
    """With sequence parallelism and selective recomputation, and the rest without."""
    tp, pp = recipe.tensor_parallel_size, recipe.pipeline_parallel_size
    tokens = recipe.sequence_length * recipe.micro_batch_size
    sharded = recipe.sequence_parallel and recipe.recomputation == "selective"
    per_layer = hidden * ((18 + 4 * ffn / hidden) if sharded else (10 + 24 / tp))
    kept = tokens * (per_layer * layers + 8 * pp + hidden * pp)
    if pp > 1 and recipe.pipeline_schedule == "interleaved":
        kept *= 1 + (pp - 1) / (pp * recipe.virtual_stages)
    elif pp > 1:
        kept *= min(1.0, recipe.gradient_accumulation_steps / pp)
    if sharded:
        return (kept + (4 * tokens * (hidden + vocab) if pp == 1 else 0)) / tp
    return 1.05 * (kept + (2 * tokens * (vocab / tp + hidden) if pp == 1 else 0))


def _shape(model: Model) -> tuple[Attention, Mlp | None, MoE | None, bool] | None:
    """The one kind of layer that all of the model's are; None if they differ."""
    if len(model.groups) != 1 or len(model.groups[0].mixers) != 1:
        return None
    mixer, mlp = model.groups[0].mixers[0], model.groups[0].mlp
    if not isinstance(mixer, Attention) or mlp is None:
        return None
    if isinstance(mlp, Mlp):
        return mixer, mlp, None, mlp.gated
    return (mixer, None, mlp, mlp.gated) if mlp.shared is None else None
