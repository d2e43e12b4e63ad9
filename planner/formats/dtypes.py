"""Number formats of the KV cache: what one head's key, value or latent of one entry takes.

    kv_format("fp8").entry_bytes(128, "key")  # 128

Sources: vLLM 0.33.0 (page sizes of its attention backends: per-token-head, NVFP4, fp8_ds_mla,
TurboQuant and UltraQuant), gguf 0.19.0 (block sizes). Scales that one layer shares (fp8 per
tensor) live with the weights and are not counted here.
"""

from dataclasses import dataclass
from typing import Literal

from planner.errors import PlanRefused

Kind = Literal["key", "value", "latent", "indexer", "overlap"]
"""Key and value of one head; latent: one vector that is both (MLA, DeepSeek-V4); indexer: a
sparse-attention key; overlap: value of a token that DeepSeek-V4 compresses again."""

DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
"""Bytes of one element in each of torch's names for a model's own dtype."""

NAME_OF_DTYPE = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


@dataclass(frozen=True, slots=True)
class KvFormat:
    """How one entry is stored: blocks of `block` elements in so many bytes, then its scales.

    A key takes key_block_bytes per block and key_scale_bytes besides, a value value_*. A latent
    is stored as a key that carries the scales of both. fixed: the only kinds and widths that a
    packed layout knows, with their bytes.
    """

    name: str
    description: str
    block: int
    key_block_bytes: int
    value_block_bytes: int
    key_scale_bytes: int = 0
    value_scale_bytes: int = 0
    fixed: tuple[tuple[Kind, int, int], ...] = ()

    def entry_bytes(self, width: int, kind: Kind = "key") -> int:
        """Bytes of one head's entry of `width` elements, its scales included.

        Raises PlanRefused where the format has no layout for that width.
        """
        if self.fixed:
            for known, elements, size in self.fixed:
                if (known, elements) == (kind, width):
                    return size
            raise PlanRefused(
                f"{self.name} stores only {self.description}, not a {kind} of {width} elements: "
                "choose another KV cache dtype"
            )
        if width < 1 or width % self.block:
            raise PlanRefused(
                f"{self.name} packs {self.block} elements together, which does not divide a {kind} "
                f"of {width}: choose another KV cache dtype"
            )
        blocks = width // self.block
        if kind == "value":
            return blocks * self.value_block_bytes + self.value_scale_bytes
        size = blocks * self.key_block_bytes + self.key_scale_bytes
        return size + self.value_scale_bytes if kind == "latent" else size

    @property
    def bits_per_element(self) -> float:
        """Bits of an element in a 128-wide head, keys and values averaged, scales included."""
        if self.fixed:
            _, width, size = self.fixed[0]
            return 8 * size / width
        return 8 * (self.entry_bytes(128, "key") + self.entry_bytes(128, "value")) / 256


def _plain(name: str, element_bytes: int, description: str) -> KvFormat:
    return KvFormat(name, description, 1, element_bytes, element_bytes)


def _scaled(name: str, block: int, block_bytes: int, description: str) -> KvFormat:
    """One fp32 scale per token and head, for keys and values each."""
    return KvFormat(name, description, block, block_bytes, block_bytes, 4, 4)


def _blocks(name: str, block: int, block_bytes: int, description: str) -> KvFormat:
    """Scales inside the block."""
    return KvFormat(name, description, block, block_bytes, block_bytes)


_FORMATS = (
    _plain("fp32", 4, "32-bit floats"),
    _plain("bf16", 2, "bfloat16"),
    _plain("fp16", 2, "16-bit floats"),
    _plain("fp8", 1, "8-bit floats, one scale per layer"),
    _scaled("int8_per_token_head", 1, 1, "8-bit integers, an fp32 scale per token and head"),
    _scaled("fp8_per_token_head", 1, 1, "8-bit floats, an fp32 scale per token and head"),
    _scaled("int4_per_token_head", 2, 1, "4-bit integers, an fp32 scale per token and head"),
    _blocks("nvfp4", 16, 9, "4-bit floats, an fp8 scale per 16"),
    _blocks("q8_0", 32, 34, "GGUF 8-bit blocks of 32"),
    _blocks("q5_1", 32, 24, "GGUF 5-bit blocks of 32 with minimum"),
    _blocks("q5_0", 32, 22, "GGUF 5-bit blocks of 32"),
    _blocks("q4_1", 32, 20, "GGUF 4-bit blocks of 32 with minimum"),
    _blocks("q4_0", 32, 18, "GGUF 4-bit blocks of 32"),
    _blocks("iq4_nl", 32, 18, "GGUF 4-bit non-linear blocks of 32"),
    # 512 fp8 + 4 fp32 scales + 64 bf16; DeepSeek-V4: 448 fp8 + 64 bf16 + 8 B of scales.
    # Indexer keys: 128 fp8 and an fp32 scale. What DeepSeek-V4 compresses again stays fp32.
    KvFormat(
        "fp8_ds_mla", "DeepSeek's sparse MLA layout (latents of 576 or 512, indexer keys of 128)",
        1, 1, 1, fixed=(
            ("latent", 576, 656), ("latent", 512, 584), ("indexer", 128, 132),
            ("overlap", 512, 2048), ("overlap", 128, 512),
        ),
    ),
    # 512 elements as NVFP4 (288 B) + 64 fp8.
    KvFormat(
        "nvfp4_ds_mla", "DeepSeek's sparse MLA layout in NVFP4 (latents of 576, keys of 128)",
        1, 1, 1, fixed=(("latent", 576, 352), ("indexer", 128, 132)),
    ),
    # Keys: k bits and 2 B, or 8-bit floats with none; values: v bits and 4 B. In multiples of 16
    # elements, where vLLM's rounding of the slot to an even size never acts.
    KvFormat("tq_k8v4", "TurboQuant, 8-bit keys and 4-bit values", 16, 16, 8, 0, 4),
    KvFormat("tq_4bit_nc", "TurboQuant, 4 bits", 16, 8, 8, 2, 4),
    KvFormat("tq_k3v4_nc", "TurboQuant, 3-bit keys and 4-bit values", 16, 6, 8, 2, 4),
    KvFormat("tq_3bit_nc", "TurboQuant, 3 bits", 16, 6, 6, 2, 4),
    _blocks("ultraquant_4bit", 32, 17, "UltraQuant, 4 bits with a byte of scale per 32"),
)  # fmt: skip

KV_FORMATS = {format.name: format for format in _FORMATS}

ALIASES = {
    "float32": "fp32",
    "float": "fp32",
    "f32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "f16": "fp16",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
    # Bare integers mean vLLM's integer caches, whose scales are per token and head.
    "int8": "int8_per_token_head",
    "int4": "int4_per_token_head",
    "turboquant_k8v4": "tq_k8v4",
    "turboquant_4bit_nc": "tq_4bit_nc",
    "turboquant_k3v4_nc": "tq_k3v4_nc",
    "turboquant_3bit_nc": "tq_3bit_nc",
}


def kv_format(name: str, own: str = "bfloat16") -> KvFormat:
    """The cache format of that name; "auto" is the model's `own_cache`: a dtype (torch's name for
    it), or the format that its checkpoint asks for.

    Raises PlanRefused for a name that no engine here uses.
    """
    key = name.lower()
    if key == "auto":
        return KV_FORMATS[NAME_OF_DTYPE.get(own, own)]
    found = KV_FORMATS.get(ALIASES.get(key, key))
    if found is None:
        raise PlanRefused(
            f"{name!r} is not a KV cache dtype; choose auto or one of {', '.join(KV_FORMATS)}"
        )
    return found
