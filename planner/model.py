"""A model as a list of layer groups: what is stored, cached and carried, per layer."""

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from planner.files.weight_files import WeightFiles
from planner.frozen import Frozen
from planner.kinds.attention import Attention, LatentAttention
from planner.kinds.compressed import CompressedAttention
from planner.kinds.convolution import (
    CompressedConvolution,
    NgramContext,
    ResidualConvolutions,
    RgLru,
    ShortConvolution,
)
from planner.kinds.linear_attention import (
    KimiDeltaAttention,
    LightningAttention,
    MatrixLstm,
    Rwkv4,
    Rwkv7,
)
from planner.kinds.mlp import Mlp, MoE
from planner.kinds.recurrent import GatedDeltaNet, Mamba1, Mamba2
from planner.tensors import CacheTensor, StateTensor, Weight

Mixer = Annotated[
    Attention
    | LatentAttention
    | CompressedAttention
    | GatedDeltaNet
    | KimiDeltaAttention
    | LightningAttention
    | Mamba1
    | Mamba2
    | MatrixLstm
    | CompressedConvolution
    | NgramContext
    | ResidualConvolutions
    | RgLru
    | Rwkv4
    | Rwkv7
    | ShortConvolution,
    Field(discriminator="type"),
]
FeedForward = Annotated[Mlp | MoE, Field(discriminator="type")]


NO_MIXER = "none"


KIND_NAMES = {
    NO_MIXER: "without a mixer",
    "mla": "MLA",
    "csa": "CSA",
    "hca": "HCA",
    "kda": "KDA",
    "mamba1": "Mamba-1",
    "mamba2": "Mamba-2",
    "gated_deltanet": "Gated DeltaNet",
    "lightning_fp32": "lightning",
    "mlstm": "mLSTM",
    "rwkv4": "RWKV-4",
    "rwkv7": "RWKV-7",
    "rg_lru": "RG-LRU",
}


def kind_name(kind: str) -> str:
    """What a person reads for a layer's kind; mixers side by side are joined by a plus."""
    return " + ".join(KIND_NAMES.get(part, part) for part in kind.split("+"))


class LayerGroup(Frozen):
    """Layers of equal structure. `layers` are their positions, `norms` all that is left over.

    A layer may lack a mixer or a feed-forward part (Nemotron-H), and may have several mixers
    side by side (Falcon-H1).
    """

    layers: tuple[int, ...]
    mixers: tuple[Mixer, ...] = ()
    mlp: FeedForward | None = None
    norms: tuple[Weight, ...] = ()

    @property
    def count(self) -> int:
        return len(self.layers)

    @property
    def kind(self) -> str:
        return "+".join(mixer.kind for mixer in self.mixers) or NO_MIXER

    def weights(self, hidden_size: int) -> tuple[Weight, ...]:
        """Every tensor of one layer."""
        found = self.norms
        for mixer in self.mixers:
            found += mixer.weights(hidden_size)
        return found if self.mlp is None else found + self.mlp.weights(hidden_size)

    def cache(self) -> tuple[CacheTensor, ...]:
        return tuple(tensor for mixer in self.mixers for tensor in mixer.cache())

    def state(self) -> tuple[StateTensor, ...]:
        return tuple(tensor for mixer in self.mixers for tensor in mixer.state())


class Model(Frozen):
    """The text decoder of a published model, from its configuration alone.

    embedding, head and extras are the tensors outside the layers (head is empty when the
    embedding is tied). mtp are the multi-token-prediction layers, counted apart.
    dtype is what it runs in, saved_dtype what the checkpoint is saved in, where that differs.
    declared_cache is the KV cache format that a quantised checkpoint asks for.
    towers are the tensors of towers for images and sound, where the fields settle them;
    parameters_elsewhere names the towers (vision, audio) that nothing here counts.
    quantization is the configuration's own `quantization_config`, verbatim; files what the weight
    files beside it hold, where their headers were read; rope its scaling of
    rotary positions, or {"alibi": True}.
    """

    source: str
    model_type: str
    hidden_size: int
    vocab_size: int
    tie_word_embeddings: bool
    groups: tuple[LayerGroup, ...]
    embedding: tuple[Weight, ...]
    head: tuple[Weight, ...] = ()
    extras: tuple[Weight, ...] = ()
    mtp: tuple[LayerGroup, ...] = ()
    mtp_extras: tuple[Weight, ...] = ()
    dtype: str = "bfloat16"
    saved_dtype: str | None = None
    declared_cache: str | None = None
    max_position_embeddings: int | None = None
    rope: dict[str, Any] | None = None
    quantization: dict[str, Any] | None = None
    files: WeightFiles | None = None
    towers: tuple[Weight, ...] = ()
    parameters_elsewhere: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def own_cache(self) -> str:
        """What its cache is kept in where a deployment says "auto": a format, or its dtype."""
        return self.declared_cache or self.dtype

    @cached_property
    def tower_name(self) -> str:
        """What to call the towers that are counted."""
        kinds = [k for k in ("vision", "audio") if any(w.name.startswith(k) for w in self.towers)]
        return f"{' and '.join(kinds)} tower{'s' if len(kinds) > 1 else ''}"

    @cached_property
    def num_hidden_layers(self) -> int:
        return sum(group.count for group in self.groups)

    @property
    def has_experts(self) -> bool:
        return any(isinstance(group.mlp, MoE) for group in self.groups)

    @cached_property
    def layer_counts(self) -> dict[str, int]:
        """Layers by kind, in order of first appearance."""
        counts: dict[str, int] = {}
        for group in self.groups:
            counts[group.kind] = counts.get(group.kind, 0) + group.count
        return counts

    def layer_of(self, index: int) -> LayerGroup:
        """The group that layer `index` belongs to."""
        return next(group for group in self.groups if index in group.layers)

    def outside(self) -> Iterator[Weight]:
        """Tensors outside the layers."""
        yield from self.embedding
        yield from self.head
        yield from self.extras
