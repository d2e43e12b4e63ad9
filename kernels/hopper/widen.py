"""8-bit latents for Hopper's MLA decode of 64 query rows: widened to fp16 between two rings.

One warpgroup brings pages in by TMA, a few steps ahead, and writes them as fp16 to where the 16-bit
kernel's producer would have put them. Everything behind it is that kernel's.
"""

import triton
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from kernels.hopper.mla_kept import pages_of
from kernels.hopper.mla_work import KEYS, sequence_of, turns
from kernels.hopper.names import barrier, fence, load_tile, view
from kernels.packed_bytes import neighbours

STEP = gl.constexpr(16)  # keys brought in and widened at once: no page is smaller
AHEAD = gl.constexpr(3)  # steps on their way at once; a fourth's room holds the rope of all


@triton.constexpr_function
def _scattered(words):
    """Layout of [STEP, words]: 8 words to a thread, 4 threads to a row, rows far apart.

    Eight threads that read or write at once have rows that differ in bits 0 and 2: of the swizzled
    words as of the fp16 they become, they meet every bank once.
    """
    further = (words // 64).bit_length() - 1
    registers = [[0, 1], [0, 2], [0, 4]] + [[0, 64 << i] for i in range(further)]
    lanes = [[0, 8], [0, 16], [5, 0], [2, 0], [4, 0]]
    warps = [[8, 0], [0, 32] if words > 32 else [0, 0]]
    return gl.DistributedLinearLayout(registers, lanes, warps, [], [16, words])


@gluon.jit
def _bring(nope_desc, rope_desc, page, key, nope, rope, staged, step, BLOCK_SIZE: gl.constexpr):
    """Ask for STEP keys of one page. Page -1 is outside the cache: TMA fills in zeros."""
    RANK: gl.constexpr = nope_desc.block_type.shape[2]  # words
    ROPE: gl.constexpr = rope_desc.block_type.shape[2]
    place = step % AHEAD
    full = staged.index(place)
    row = key % BLOCK_SIZE
    mbarrier.expect(full, STEP * (RANK + ROPE) * 2)
    load_tile(nope_desc, [page, row, 0], full, nope.index(place))
    load_tile(rope_desc, [page, row, RANK], full, rope.index(step % rope.shape[0]))


@gluon.jit
def _widened(words, PACKED: gl.constexpr):
    """[STEP, n] words of two 8-bit entries as [STEP, 2 n] of fp16."""
    WORDS: gl.constexpr = words.shape[1]
    first, second = neighbours(words, PACKED)
    pairs = gl.join(
        first.reshape([STEP, WORDS // 2, 2]), second.reshape([STEP, WORDS // 2, 2])
    )  # [STEP, words / 2, entry of a pair, pair]
    return pairs.permute([0, 1, 3, 2]).reshape([STEP, 2 * WORDS])


@gluon.jit
def _halves(values):
    """The left and the right half of the columns."""
    COLUMNS: gl.constexpr = values.shape[1] // 2
    halves = values.reshape([STEP, 2, COLUMNS]).permute([0, 2, 1])
    return gl.split(halves)


@gluon.jit
def widen(
    work, held, kept, nope_desc, rope_desc, staging, staged, free, nope_ring, rope_ring, k_full,
    k_empty, BLOCK_SIZE: gl.constexpr, PACKED: gl.constexpr, OVERLAP_LAUNCH: gl.constexpr,
):  # fmt: skip
    """Fill the ring of fp16 tiles through `staging`: a sequence's queries have been there, and it
    may be written once `free` says so.
    """
    RANK: gl.constexpr = nope_desc.block_type.shape[2]  # words
    ROPE: gl.constexpr = rope_desc.block_type.shape[2]
    STEPS: gl.constexpr = KEYS // STEP
    STAGES: gl.constexpr = k_full.shape[0]
    nope = view(staging, gl.int16, [AHEAD + 1, 1, STEP, RANK], nope_desc.layout)
    rope = view(nope.index(AHEAD), gl.int16, [RANK // ROPE, 1, STEP, ROPE], rope_desc.layout)
    if OVERLAP_LAUNCH:
        gl.inline_asm_elementwise(
            "griddepcontrol.launch_dependents; mov.b32 $0, 0;", "=r", [], dtype=gl.int32,
            is_pure=False, pack=1,
        )  # fmt: skip
    before = 0  # tiles before a sequence's first one
    turn = 0
    while turn < turns(work):
        seq, seqlen, first, last = sequence_of(work, held, turn)
        before -= first
        table = pages_of(kept, seq)
        page = gl.load(table + first * KEYS // BLOCK_SIZE, mask=first * KEYS < seqlen, other=-1)
        mbarrier.wait(free, turn & 1)
        for early in gl.static_range(AHEAD):
            key = first * KEYS + early * STEP
            if first < last:
                _bring(
                    nope_desc, rope_desc, page, key, nope, rope, staged,
                    (before + first) * STEPS + early, BLOCK_SIZE,
                )  # fmt: skip
            key += STEP
            page = gl.load(table + key // BLOCK_SIZE, mask=key < seqlen, other=-1)
        for tile in range(first, last):
            count = before + tile
            slot = count % STAGES
            mbarrier.wait(k_empty.index(slot), count // STAGES & 1 ^ 1)
            for part in gl.static_range(STEPS):
                step = count * STEPS + part
                place = step % AHEAD
                mbarrier.wait(staged.index(place), step // AHEAD & 1)
                words = nope.index(place).reshape([STEP, RANK]).load(_scattered(RANK))
                barrier()  # all have read the step
                key = tile * KEYS + (part + AHEAD) * STEP
                if key < last * KEYS:
                    _bring(
                        nope_desc, rope_desc, page, key, nope, rope, staged, step + AHEAD,
                        BLOCK_SIZE,
                    )  # fmt: skip
                key += STEP
                page = gl.load(table + key // BLOCK_SIZE, mask=key < seqlen, other=-1)
                left, right = _halves(_widened(words, PACKED))
                target = nope_ring.index(slot * 2).reshape([KEYS, RANK])
                target.slice(part * STEP, STEP, dim=0).store(left)
                target = nope_ring.index(slot * 2 + 1).reshape([KEYS, RANK])
                target.slice(part * STEP, STEP, dim=0).store(right)
                words = rope.index(step % rope.shape[0]).reshape([STEP, ROPE])
                words = words.load(_scattered(ROPE))
                target = rope_ring.index(slot).reshape([KEYS, 2 * ROPE])
                target.slice(part * STEP, STEP, dim=0).store(_widened(words, PACKED))
            fence()
            mbarrier.arrive(k_full.index(slot), count=1)
        before += last
        turn += 1
