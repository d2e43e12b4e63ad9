"""A planned model on the device, ready to prefill a chunk and to decode a step."""

import torch

from planner.deployment import Deployment
from planner.errors import PlanRefused
from planner.formats.quantization import assign
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.mlp import MoE
from planner.model import LayerGroup, Model
from planner.plan import Plan
from validate.bench import Bench
from validate.kv_pool import Pool, make_pool, newest_slots, prompt_slots
from validate.layer_kernels import add_rms_norm, rope_table
from validate.layer_weights import Weights
from validate.layers import Hidden, Layer, PoolKey, Step, Table, layer_of, refusal
from validate.weight_tensors import towers


def scaled(model: Model, layers: int) -> Model:
    """`model` with only `layers` of its layers: of every kind its share, evenly spread."""
    total = model.num_hidden_layers
    if layers >= total:
        return model
    counts = [group.count * layers // total for group in model.groups]
    by_need = sorted(
        range(len(counts)),
        key=lambda g: counts[g] - model.groups[g].count * layers / total,
    )
    for g in by_need[: layers - sum(counts)]:
        counts[g] += 1
    groups = [
        group.model_copy(update={"layers": tuple(group.layers[i * group.count // n]
                                                 for i in range(n))})
        for group, n in zip(model.groups, counts, strict=True)
        if n
    ]  # fmt: skip
    kept = {index for group in groups for index in group.layers}
    order = {old: new for new, old in enumerate(sorted(kept))}
    renumbered = [
        g.model_copy(update={"layers": tuple(order[i] for i in g.layers)}) for g in groups
    ]
    fields = {name: getattr(model, name) for name in Model.model_fields}
    return Model(**{**fields, "groups": tuple(renumbered), "mtp": (), "mtp_extras": ()})


def runnable(model: Model, deployment: Deployment) -> str:
    """Why this model cannot be run here, or nothing."""
    if deployment.gpus > 1:
        return "a dry run uses one GPU, and this plan has more"
    for part in assign(model, deployment.weights_dtype).layers:
        formats = {fmt.name for weight, fmt in part.weights if len(weight.shape) > 1}
        why = refusal(part.group, formats)
        if why:
            return why
    return ""


class BuiltModel:
    """Weights and pools of a plan. Raises PlanRefused where a format has no kernel here."""

    def __init__(self, bench: Bench, plan: Plan, *, fill: bool = True) -> None:
        self.bench, self.plan, self.model = bench, plan, plan.model
        self.deployment = plan.deployment
        self.pools: dict[PoolKey, Pool] = {}
        self._fill = fill
        places = self._assign_pools()
        assignment = plan.footprint.assignment
        self.outside = Weights(bench, assignment.outside)
        at: dict[int, Layer] = {}
        for part in assignment.layers:
            for index in part.layers:
                at[index] = layer_of(
                    bench, part, self.model.hidden_size, self.pools, places.get(index)
                )
        self.layers = [at[index] for index in sorted(at)]
        self.towers = Weights(bench, towers(self.model))
        for weights in self._weights():
            weights.fill()
        self._rope: dict[int, Table] = {}

    def build_pools(self, sequences: int | None = None, *, extra_blocks: int = 0) -> None:
        """Pools for the planned concurrency, or another, in place of those there were."""
        self.pools.clear()
        self.bench.free_memory()
        work = self.plan.workload
        users = work.concurrency if sequences is None else sequences
        for key, (mixer, indices) in self._kinds.items():
            self.pools[key] = make_pool(
                self.bench, mixer, len(indices), users, work.context, self.deployment.block_size,
                self.plan.footprint.kv_format.name, fill=self._fill, extra_blocks=extra_blocks,
            )  # fmt: skip

    @property
    def block_size(self) -> int:
        return self.deployment.block_size

    @property
    def kinds(self) -> tuple[tuple[Attention | LatentAttention, list[int]], ...]:
        """Every kind of cache with the layers that have it."""
        return tuple(self._kinds.values())

    def weight_bytes(self) -> int:
        return sum(weights.nbytes for weights in self._weights())

    def _weights(self) -> list[Weights]:
        return [self.outside, *(layer.weights for layer in self.layers), self.towers]

    def _assign_pools(self) -> dict[int, tuple[PoolKey, int]]:
        self._kinds: dict[PoolKey, tuple[Attention | LatentAttention, list[int]]] = {}
        places: dict[int, tuple[PoolKey, int]] = {}
        for group in self.model.groups:
            mixer = _mixer(group)
            if mixer is None:
                continue
            key = (f"{type(mixer).__name__} {mixer.cache()}", mixer.window)
            _, indices = self._kinds.setdefault(key, (mixer, []))
            for index in group.layers:
                places[index] = (key, len(indices))
                indices.append(index)
        return places

    def rope(self) -> dict[int, Table]:
        """Rotary tables by width, made when needed: they belong to no plan's weights."""
        for mixer, _ in self._kinds.values():
            latent = isinstance(mixer, LatentAttention)
            dim: int = mixer.qk_rope_head_dim if latent else mixer.head_dim  # type: ignore[union-attr]
            if dim not in self._rope:
                context = self.plan.workload.context
                self._rope[dim] = rope_table(context, dim, self.bench.device)
        return self._rope

    def _choices(self, tokens: int) -> dict[tuple[int, int], torch.Tensor]:
        """Experts drawn uniformly: random weights say nothing about how real ones are chosen."""
        found = {}
        for group in self.model.groups:
            if isinstance(group.mlp, MoE):
                experts, top_k = group.mlp.num_experts, group.mlp.num_experts_per_tok
                drawn = torch.rand(tokens, experts, device=self.bench.device)
                found[experts, top_k] = drawn.topk(top_k, dim=1).indices
        return found

    def step(self, tokens: int, *, decode: bool) -> Step:
        """Where the tokens of a pass stand: a prompt's first, or everyone's newest one."""
        context = self.plan.workload.context
        for (_, window), pool in self.pools.items():
            if decode:
                pool.slots = newest_slots(pool, context - 1)
            else:
                pool.slots = prompt_slots(pool, tokens, window)
        device = self.bench.device
        if decode:
            positions = torch.full((tokens,), context - 1, dtype=torch.int32, device=device)
        else:
            positions = torch.arange(tokens, dtype=torch.int32, device=device)
        return Step(positions, self.rope(), decode, self._choices(tokens))

    def forward(self, ids: torch.Tensor, step: Step) -> torch.Tensor:
        """Next token of every sequence: ids int64 [tokens] in, int64 [sequences] out."""
        return self.logits(ids, step).float().argmax(dim=-1)

    def logits(self, ids: torch.Tensor, step: Step) -> torch.Tensor:
        """[sequences, vocab_size] of the last token of each."""
        table = self._embedding()
        hidden = Hidden(table[ids])
        for layer in self.layers:
            layer.run(hidden, step)
        residual, delta = hidden.residual, hidden.delta
        if not step.decode:
            residual, delta = residual[-1:], None if delta is None else delta[-1:]
        norm = next(
            (t for n, t in self.outside.tensors.items() if t.shape == (self.model.hidden_size,)),
            None,
        )
        last = residual if norm is None else add_rms_norm(residual, delta, norm)
        name = next((n for n in self.outside.tensors if n.startswith("lm_head")), None)
        return self.outside.project(name, last) if name else last @ table.t()

    def _embedding(self) -> torch.Tensor:
        tensor = self.outside.tensors[self.model.embedding[0].name]
        if tensor.dtype == torch.uint8:
            raise PlanRefused("no kernel here reads quantised embeddings")
        return tensor

    def random_ids(self, tokens: int) -> torch.Tensor:
        return torch.randint(0, self.model.vocab_size, (tokens,), device=self.bench.device)


def _mixer(group: LayerGroup) -> Attention | LatentAttention | None:
    for mixer in group.mixers:
        if isinstance(mixer, (Attention, LatentAttention)):
            return mixer
    return None
