"""The decode steps that are measured."""

import re
from dataclasses import dataclass

import torch

RANK, ROPE = 512, 64
BF16, FP8, INT8 = torch.bfloat16, torch.float8_e4m3fn, torch.int8
DTYPES = {str(dtype)[6:]: dtype for dtype in (BF16, FP8, INT8)}
NAME = re.compile(
    r"(?:MLA (?P<mla>\d+)|(?P<heads>\d+)/(?P<kv>\d+)/(?P<dim>\d+)) (?P<batch>\d+)x(?P<from>1\.\.)?"
    rf"(?P<len>\d+)(?: q(?P<q>\d+))?(?: (?P<dtype>{'|'.join(DTYPES)}))?(?: pages of (?P<page>\d+))?"
)


@dataclass(frozen=True)
class Case:
    """One decode step; kv_heads 0 means MLA. Uneven: lengths from 1 to seqlen, as drawn once."""

    heads: int
    kv_heads: int
    head_dim: int
    batch: int
    seqlen: int
    dtype: torch.dtype = BF16
    q_tokens: int = 1
    block_size: int = 16
    uneven: bool = False

    @staticmethod
    def named(name: str) -> "Case":
        """The case of that name; bfloat16 if it says no other. ValueError if it is no name."""
        found = NAME.fullmatch(name.strip())
        if found is None:
            raise ValueError(
                f"{name!r} is no case: write it like '{PAGED[0].name}' or '{MLA[0].name}'"
            )
        heads, kv_heads, head_dim = (int(found[part] or 0) for part in ("heads", "kv", "dim"))
        return Case(
            heads or int(found["mla"]), kv_heads, head_dim, int(found["batch"]), int(found["len"]),
            DTYPES[found["dtype"] or "bfloat16"], int(found["q"] or 1), int(found["page"] or 16),
            uneven=bool(found["from"]),
        )  # fmt: skip

    @property
    def lengths(self) -> torch.Tensor:
        if not self.uneven:
            return torch.full((self.batch,), self.seqlen, dtype=torch.int32)
        drawn = torch.Generator().manual_seed(self.batch)
        return torch.randint(1, self.seqlen + 1, (self.batch,), generator=drawn, dtype=torch.int32)

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum())

    @property
    def name(self) -> str:
        shape = f"MLA {self.heads}"
        if self.kv_heads:
            shape = f"{self.heads}/{self.kv_heads}/{self.head_dim}"
        tokens = f" q{self.q_tokens}" if self.q_tokens > 1 else ""
        pages = f" pages of {self.block_size}" if self.block_size != 16 else ""
        longest = f"1..{self.seqlen}" if self.uneven else f"{self.seqlen}"
        return f"{shape} {self.batch}x{longest}{tokens} {str(self.dtype)[6:]}{pages}"

    @property
    def bytes(self) -> int:
        width = 2 * self.kv_heads * self.head_dim or RANK + ROPE
        return self.tokens * width * self.dtype.itemsize

    @property
    def flops(self) -> int:
        width = 2 * self.head_dim if self.kv_heads else RANK + ROPE + RANK
        return 2 * self.tokens * self.q_tokens * self.heads * width


PAGED = (
    Case(32, 8, 128, 1, 8_192),
    Case(32, 8, 128, 1, 131_072),
    Case(32, 8, 128, 8, 32_768),
    Case(32, 8, 128, 64, 8_192),
    Case(32, 8, 128, 256, 4_096),
    Case(32, 8, 128, 17, 8_192),  # these three leave a round of programs nearly empty
    Case(32, 8, 128, 140, 4_096),
    Case(32, 8, 128, 300, 4_096),
    Case(32, 8, 128, 33, 4_096),  # SDPA's programs fill rounds of the card, of 132 multiprocessors
    Case(32, 8, 128, 100, 4_096),
    Case(32, 8, 128, 600, 1_024),
    Case(32, 32, 128, 8, 32_768),
    Case(16, 1, 256, 1, 131_072),
    Case(16, 1, 256, 64, 8_192),
    Case(16, 1, 256, 256, 4_096),
    Case(64, 8, 64, 64, 8_192),
    Case(32, 4, 128, 64, 8_192),
    Case(8, 1, 128, 256, 8_192),
    Case(32, 8, 128, 17, 8_192, uneven=True),
    Case(32, 8, 128, 64, 8_192, uneven=True),
    Case(32, 8, 128, 300, 4_096, uneven=True),
    Case(32, 4, 128, 64, 8_192, uneven=True),
    Case(8, 1, 128, 256, 8_192, uneven=True),
    Case(32, 8, 128, 64, 8_192, q_tokens=4),
    Case(32, 8, 128, 64, 8_192, FP8),
    Case(32, 8, 128, 256, 4_096, FP8),
    Case(32, 32, 128, 8, 32_768, FP8),
    Case(32, 8, 128, 64, 8_192, INT8),
    Case(16, 1, 256, 256, 4_096, FP8),
    Case(32, 8, 128, 64, 8_192, FP8, uneven=True),
    Case(8, 1, 128, 256, 8_192, FP8, uneven=True),
)
MLA = (
    Case(128, 0, 0, 1, 131_072),
    Case(128, 0, 0, 66, 8_192),
    Case(128, 0, 0, 128, 4_096),
    Case(64, 0, 0, 128, 8_192),
    Case(32, 0, 0, 64, 16_384),
    Case(16, 0, 0, 1, 131_072),
    Case(16, 0, 0, 32, 32_768),
    Case(16, 0, 0, 128, 8_192),
    Case(16, 0, 0, 128, 8_192, FP8),
    Case(16, 0, 0, 32, 32_768, FP8),
    Case(16, 0, 0, 1, 131_072, FP8),
    Case(32, 0, 0, 64, 16_384, FP8),
    Case(64, 0, 0, 128, 8_192, FP8),
    Case(128, 0, 0, 66, 8_192, FP8),
    Case(16, 0, 0, 32, 32_768, FP8, block_size=64),
    Case(32, 0, 0, 64, 16_384, FP8, block_size=64),
    Case(16, 0, 0, 128, 8_192, INT8),
    Case(32, 0, 0, 64, 16_384, INT8),
    Case(128, 0, 0, 66, 8_192, INT8),
    Case(16, 0, 0, 128, 8_192, uneven=True),
    Case(64, 0, 0, 128, 8_192, uneven=True),
    Case(16, 0, 0, 128, 8_192, FP8, uneven=True),
    Case(32, 0, 0, 64, 16_384, FP8, uneven=True),
    Case(128, 0, 0, 66, 8_192, FP8, uneven=True),
)
