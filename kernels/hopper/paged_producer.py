"""The producer warp of Hopper's paged decode: it loads a program's share by TMA."""

# ruff: noqa: RUF005 (Gluon has no unpacking into a tuple)

from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import mbarrier

from kernels.hopper.names import load_tile
from kernels.hopper.notes import tell
from kernels.hopper.paged_work import all_tiles, count_tiles, find, share, tiles_of, unmasked

# The producer's notes about the next row, each for two turns. PIECE is where its result goes: -1,
# or which of the two pieces that a program may have to leave for others to join.
ROW, FIRST, LAST, SEQLEN, PIECE = (gl.constexpr(i) for i in range(5))
NOTES = gl.constexpr(10)
KNOWN = gl.constexpr(64)  # pages that are known at a time, some to each lane
LAST_KEY = gl.constexpr(2**31 - KNOWN.value)


@gluon.jit
def _places():
    return gl.arange(0, KNOWN, gl.BlockedLayout([KNOWN // 32], [32], [1], [0]))


@gluon.jit
def _pages(table, box, stop, BOX: gl.constexpr, BLOCK_SIZE: gl.constexpr):
    """Pages of the next boxes, spread over lanes: so a load is waited for only when used."""
    box += _places()
    return gl.load(table + box * BOX // BLOCK_SIZE, mask=box < stop, other=-1)


@gluon.jit
def _keys(pages, box, free, stop):
    """What to sort pages by: their number and place; those of boxes that are masked stay where
    they are, first or last. All multiprocessors so read the same part of memory at about one time.
    """
    place = _places()
    keys = gl.where(box + place < free, place - KNOWN, pages * KNOWN + place)
    return gl.where(box + place >= stop, LAST_KEY + place, keys)


@gluon.jit
def _next(keys, key):
    return gl.min(gl.where(keys > key, keys, 2147483647), 0)


@gluon.jit
def _page(pages, place):
    return gl.max(gl.where(_places() == place, pages, -1), 0)


@gluon.jit
def _load_queries(desc, smem, full, empty, turn, seq, block, CUTS: gl.constexpr):
    HEADS: gl.constexpr = desc.block_type.shape[1]
    WIDTH: gl.constexpr = desc.block_type.shape[4]
    BOXES: gl.constexpr = smem.shape[0]
    mbarrier.wait(empty, turn & 1 ^ 1)
    mbarrier.expect(full, BOXES * desc.block_type.nbytes)
    for i in gl.static_range(BOXES):
        column = i // CUTS * WIDTH
        load_tile(desc, [seq, block * HEADS, 0, 0, column], full, smem.index(i))


@gluon.jit
def _fill(
    desc, ring, full, empty, count, pages, boxes, head, CUTS: gl.constexpr, BLOCK_SIZE: gl.constexpr
):
    """One slot of the ring: a tile's keys or values, by boxes. Page -1 is outside: zeros."""
    SLOTS: gl.constexpr = full.shape[0]
    HELD: gl.constexpr = ring.shape[0] // SLOTS
    PARTS: gl.constexpr = HELD // len(pages)  # of head_dim
    BOX: gl.constexpr = desc.block_type.shape[2]
    WIDTH: gl.constexpr = desc.block_type.shape[3]
    slot = count % SLOTS
    mbarrier.wait(empty.index(slot), count // SLOTS & 1 ^ 1)
    mbarrier.expect(full.index(slot), HELD * desc.block_type.nbytes)
    for i in gl.static_range(len(pages)):
        row = boxes[i] * BOX % BLOCK_SIZE
        for part in gl.static_range(PARTS):
            target = ring.index(slot * HELD + (i // CUTS * PARTS + part) * CUTS + i % CUTS)
            load_tile(desc, [pages[i], head, row, part * WIDTH], full.index(slot), target)


@gluon.jit
def produce(
    q_desc, k_desc, v_desc, block_table, lengths, q_smem, ring, notes, q_full, q_empty, full, empty,
    note_full, note_empty, batch, head_blocks, max_blocks, left, stride_table,
    MOST: gl.constexpr, Q_TOKENS: gl.constexpr, BLOCK_SIZE: gl.constexpr, BOXES: gl.constexpr,
    CUTS: gl.constexpr,
):  # fmt: skip
    HEADS: gl.constexpr = k_desc.block_type.shape[1]
    BOX: gl.constexpr = k_desc.block_type.shape[2]  # keys of one page
    TILE: gl.constexpr = BOX * BOXES
    AHEAD: gl.constexpr = KNOWN // BOXES  # tiles
    program = gl.program_id(0)
    programs = gl.num_programs(0)
    every = all_tiles(lengths, batch, max_blocks, left, MOST, TILE, BLOCK_SIZE, Q_TOKENS)
    total, _ = count_tiles(every, head_blocks, 0)
    begin = share(program, programs, total)
    end = share(program + 1, programs, total)
    seq = 0
    before = 0
    if program > 0:  # the first has the empty sequences before the first tile
        seq, before = find(begin, every, batch, head_blocks)
    seqlen, low, tiles = tiles_of(lengths, seq, batch, max_blocks, left, TILE, BLOCK_SIZE, Q_TOKENS)
    block = (begin - before) // gl.maximum(tiles, 1)
    row_begin = before + block * tiles
    table = block_table + seq.to(gl.int64) * stride_table  # type: ignore[attr-defined]
    first = low + begin - row_begin
    last = low + gl.minimum(end - row_begin, tiles)
    stop = gl.minimum(last * BOXES, gl.cdiv(seqlen, BOX))
    pages = _pages(table, first * BOXES, stop, BOX, BLOCK_SIZE)
    gl.inline_asm_elementwise(  # `join` finds out what it will read while this kernel runs
        "griddepcontrol.launch_dependents; mov.b32 $0, 0;", "=r", [], dtype=gl.int32,
        is_pure=False, pack=1,
    )  # fmt: skip
    count = 0
    turn = 0
    more = (seq < batch) & ((begin < end) | (tiles == 0))
    if more:
        _load_queries(q_desc, q_smem, q_full, q_empty, turn, seq, block, CUTS)
    while more:
        row_end = row_begin + tiles
        piece = 2 * program
        if begin <= row_begin:
            piece += 1
            if end >= row_end:
                piece = -1
        head = block * HEADS
        mbarrier.wait(note_empty, turn & 1 ^ 1)
        free, whole = unmasked(seqlen, left, TILE, Q_TOKENS)
        tell(notes, turn, ROW, seq * head_blocks + block)
        tell(notes, turn, FIRST, first)
        tell(notes, turn, LAST, last)
        tell(notes, turn, SEQLEN, seqlen)
        tell(notes, turn, PIECE, piece)
        mbarrier.arrive(note_full, count=1)
        turn += 1
        # The next row's: asked for now, needed when this one ends.
        next_low = low
        block += 1
        if block == head_blocks:
            block = 0
            seq += 1
            seqlen, next_low, tiles = tiles_of(
                lengths, seq, batch, max_blocks, left, TILE, BLOCK_SIZE, Q_TOKENS
            )
        more = (seq < batch) & ((row_end < end) | ((tiles == 0) & (row_end <= end)))
        next_table = block_table + seq.to(gl.int64) * stride_table  # type: ignore[attr-defined]
        next_last = next_low + gl.minimum(end - row_end, tiles)
        next_stop = gl.minimum(next_last * BOXES, gl.cdiv(seqlen, BOX))
        if first >= last:
            pages = _pages(next_table, next_low * BOXES, next_stop, BOX, BLOCK_SIZE)
        for start in range(first, last, AHEAD):
            inside = start + AHEAD < last
            following = _pages(
                gl.where(inside, table, next_table),
                gl.where(inside, start + AHEAD, next_low) * BOXES,
                gl.where(inside, stop, next_stop),
                BOX,
                BLOCK_SIZE,
            )
            keys = _keys(pages, start * BOXES, free * BOXES, gl.minimum(whole, last) * BOXES)
            key = gl.full([], -(2**31), gl.int32)
            for _ in range(start, gl.minimum(start + AHEAD, last)):
                found = ()
                boxes = ()
                for _ in gl.static_range(BOXES):
                    key = _next(keys, key)
                    place = key & (KNOWN - 1)
                    found = found + (_page(pages, place),)  # type: ignore[assignment]
                    boxes = boxes + (start * BOXES + place,)  # type: ignore[assignment]
                _fill(k_desc, ring, full, empty, count, found, boxes, head, CUTS, BLOCK_SIZE)
                _fill(v_desc, ring, full, empty, count + 1, found, boxes, head, CUTS, BLOCK_SIZE)
                count += 2
            pages = following
        if more:
            _load_queries(q_desc, q_smem, q_full, q_empty, turn, seq, block, CUTS)
        row_begin = row_end
        low = next_low
        first = next_low
        last = next_last
        stop = next_stop
        table = next_table
    mbarrier.wait(note_empty, turn & 1 ^ 1)
    tell(notes, turn, ROW, -1)
    mbarrier.arrive(note_full, count=1)
