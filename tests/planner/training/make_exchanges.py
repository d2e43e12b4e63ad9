"""Bytes that training frameworks gather and reduce in a step, counted on CPU processes.

    python tests/planner/training/make_exchanges.py tests/planner/data/exchanges.json

Every case holds fields of a recipe and of a model; this adds what PyTorch's DDP and FSDP2 and
DeepSpeed hand to their collectives on rank 0 of each pipeline stage: whole gathered tensors, whole
reduce-scattered and all-reduced ones. Nothing here imports the planner. torch 2.13 and DeepSpeed
0.19.8 are needed to make the file, not to run the tests.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

WIDTH, INNER, VOCABULARY, RANK = 64, 96, 320, 4
PROJECTIONS = {
    "q": (WIDTH, WIDTH), "k": (WIDTH, WIDTH // 2), "v": (WIDTH, WIDTH // 2), "o": (WIDTH, WIDTH),
    "gate": (WIDTH, INNER), "up": (WIDTH, INNER), "down": (INNER, WIDTH),
}  # fmt: skip
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "16-bit": "bfloat16"}


def decoder(layers: int, first: bool, last: bool, tied: bool, lora: bool) -> Any:
    """Layers with a Llama's tensors, and an embedding and a head where they are first and last."""
    import torch
    from torch import nn

    class Projection(nn.Module):
        def __init__(self, wide: int, high: int) -> None:
            super().__init__()
            self.base = nn.Linear(wide, high, bias=False)
            if lora:
                self.base.requires_grad_(False)
                self.down = nn.Linear(wide, RANK, bias=False)
                self.up = nn.Linear(RANK, high, bias=False)

        def forward(self, x: Any) -> Any:
            return self.base(x) + self.up(self.down(x)) if lora else self.base(x)

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norms = nn.ModuleList(nn.RMSNorm(WIDTH) for _ in range(2))
            self.of = nn.ModuleDict({name: Projection(*s) for name, s in PROJECTIONS.items()})
            self.norms.requires_grad_(not lora)

        def forward(self, x: Any) -> Any:
            of, h = self.of, self.norms[0](x)
            x = x + of["o"](of["q"](h) * torch.cat((of["k"](h), of["v"](h)), -1))
            h = self.norms[1](x)
            return x + of["down"](of["gate"](h) * of["up"](h))

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, WIDTH) if first else None
            self.layers = nn.ModuleList(Layer() for _ in range(layers))
            self.norm = nn.RMSNorm(WIDTH) if last else None
            self.head = nn.Linear(WIDTH, VOCABULARY, bias=False) if last else None
            if tied and self.head is not None and self.embedding is not None:
                self.head.weight = self.embedding.weight
            for outside in (self.embedding, self.norm, self.head):
                if outside is not None:
                    outside.requires_grad_(not lora)

        def forward(self, x: Any) -> Any:
            x = x if self.embedding is None else self.embedding(x)
            for layer in self.layers:
                x = layer(x)
            return x if self.head is None or self.norm is None else self.head(self.norm(x))

    torch.manual_seed(0)
    return Decoder()


def watch(log: list[tuple[str, int]]) -> None:
    """Have torch.distributed's collectives say what they are given."""
    import torch.distributed as dist

    def wrap(name: str, kind: str, position: int, word: str) -> None:
        original = getattr(dist, name)

        def counted(*positional: Any, **named: Any) -> Any:
            tensor = named[word] if word in named else positional[position]
            log.append((kind, tensor.numel() * tensor.element_size()))
            return original(*positional, **named)

        setattr(dist, name, counted)

    wrap("all_gather_single", "gathered", 0, "output_tensor")
    wrap("all_gather_into_tensor", "gathered", 0, "output_tensor")
    wrap("reduce_scatter_single", "scattered", 1, "input")
    wrap("reduce_scatter_tensor", "scattered", 1, "input")
    wrap("reduce", "scattered", 0, "tensor")
    wrap("all_reduce", "all_reduced", 0, "tensor")


def recomputed(model: Any, case: dict[str, Any]) -> Any:
    """With every layer under activation checkpointing, where the recipe says so."""
    from torch.distributed.algorithms._checkpoint import checkpoint_wrapper as checkpointing

    if case["recipe"].get("recomputation") == "full":
        for i, layer in enumerate(model.layers):
            model.layers[i] = checkpointing.checkpoint_wrapper(layer)
    return model


def fsdp2(case: dict[str, Any], batches: list[Any], log: list[tuple[str, int]]) -> None:
    """A step under fully_shard: layers, then the root; in a pipeline where there are stages."""
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    recipe, layers = case["recipe"], case["model"]["num_hidden_layers"]
    stages = recipe.get("pipeline_parallel_size", 1)
    mesh = init_device_mesh("cpu", (stages, 2), mesh_dim_names=("stage", "shard"))
    stage = mesh.get_local_rank("stage")
    compute = getattr(torch, DTYPES[recipe.get("precision", "bf16")])
    sent = recipe.get("reduce_dtype", "auto")
    policy = MixedPrecisionPolicy(
        param_dtype=compute,
        reduce_dtype=None if sent == "auto" else getattr(torch, DTYPES[sent]),
    )
    resharded = {"default": None if stages == 1 else False, "always": True, "never": False}
    given: dict[str, Any] = {
        "mesh": mesh["shard"], "mp_policy": policy,
        "reshard_after_forward": resharded[recipe.get("reshard_after_forward", "default")],
    }  # fmt: skip
    model = decoder(
        layers // stages, stage == 0, stage == stages - 1,
        case["model"].get("tie_word_embeddings", False), "lora" in recipe,
    )  # fmt: skip
    model = model if recipe.get("master_weights", True) else model.to(compute)
    for layer in recomputed(model, case).layers:
        fully_shard(layer, **given)
    fully_shard(model, **given)
    log.clear()
    if stages == 1:
        for batch in batches:
            model(batch).float().sum().backward()
        return
    part = PipelineStage(model, stage, stages, torch.device("cpu"), group=mesh.get_group("stage"))
    schedule = Schedule1F1B(part, len(batches), loss_fn=lambda out, _: out.float().sum())
    tokens = torch.cat(batches)
    for _ in range(2):
        log.clear()
        schedule.step(*([tokens] if stage == 0 else []), target=tokens)


def ddp(case: dict[str, Any], batches: list[Any], log: list[tuple[str, int]]) -> None:
    """A step under DistributedDataParallel, gradients reduced after the last micro-batch."""
    import torch
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
    from torch.nn.parallel import DistributedDataParallel

    compute = getattr(torch, DTYPES[case["recipe"].get("precision", "bf16")])
    model = DistributedDataParallel(
        decoder(case["model"]["num_hidden_layers"], True, True, False, False).to(compute)
    )

    model.register_comm_hook(None, allreduce_hook)
    log.clear()
    for i, batch in enumerate(batches):
        model.require_backward_grad_sync = i == len(batches) - 1
        model(batch).float().sum().backward()


def zero(case: dict[str, Any], batches: list[Any], log: list[tuple[str, int]]) -> None:
    """The third step under DeepSpeed, whose ZeRO-3 has traced its modules by then."""
    import deepspeed

    recipe = case["recipe"]
    stage = int(recipe["sharding"].removeprefix("zero"))
    settings: dict[str, Any] = {"stage": stage}
    if stage == 3:
        live = recipe.get("stage3_max_live_parameters", 10**9)
        settings |= {
            "stage3_max_live_parameters": live, "stage3_max_reuse_distance": live,
            "stage3_prefetch_bucket_size": live // 20, "stage3_param_persistence_threshold": 0,
        }  # fmt: skip
    else:
        name = "use_multi_rank_bucket_allreduce"
        settings[name] = recipe.get(name, True)
    model = decoder(case["model"]["num_hidden_layers"], True, True, False, False)
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": len(batches),
        "bf16": {"enabled": True}, "zero_optimization": settings,
        "optimizer": {"type": "AdamW", "params": {"torch_adam": True}},
    }  # fmt: skip
    if recipe.get("reduce_dtype") == "fp32":
        config["communication_data_type"] = "fp32"
    engine, *_ = deepspeed.initialize(
        model=recomputed(model, case), model_parameters=model.parameters(), config=config
    )
    for _ in range(3):
        log.clear()
        for batch in batches:
            engine.backward(engine(batch).float().sum())
            engine.step()
    log[:] = [(kind, size) for kind, size in log if size > 100]


def count(rank: int, ranks: int, numbered: list[tuple[int, dict[str, Any]]], out: str) -> None:
    """What one process of `ranks` counts of the cases, written where it is first of its stage."""
    os.environ |= {
        "MASTER_ADDR": "localhost", "MASTER_PORT": str(29600 + ranks), "DS_ACCELERATOR": "cpu",
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
    }  # fmt: skip
    import torch

    log: list[tuple[str, int]] = []
    watch(log)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=ranks)
    for number, case in numbered:
        recipe = case["recipe"]
        steps = recipe.get("gradient_accumulation_steps", 1)
        batches = [torch.randint(0, VOCABULARY, (2, 8)) for _ in range(steps)]
        step = {"ddp": ddp, "fsdp2": fsdp2}.get(recipe["sharding"], zero)
        step(case, batches, log)
        found = {kind: sum(size for each, size in log if each == kind) for kind, _ in log}
        if rank % 2 == 0:
            Path(out, f"{number}-{rank // 2}.json").write_text(json.dumps(found), "utf-8")
    torch.distributed.destroy_process_group()


def main() -> None:
    """Recount every case of the file."""
    from tempfile import TemporaryDirectory

    from torch.multiprocessing.spawn import spawn

    path = Path(sys.argv[1])
    cases = json.loads(path.read_text("utf-8"))
    with TemporaryDirectory() as out:
        for stages in (1, 2):
            numbered = [
                (i, case)
                for i, case in enumerate(cases)
                if case["recipe"].get("pipeline_parallel_size", 1) == stages
            ]
            spawn(count, (2 * stages, numbered, out), nprocs=2 * stages)
        for i, case in enumerate(cases):
            files = sorted(Path(out).glob(f"{i}-*.json"))
            case["stages"] = [json.loads(file.read_text("utf-8")) for file in files]
    path.write_text(json.dumps(cases, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
