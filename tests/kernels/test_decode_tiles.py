"""Tiles and splits of the decode kernels, chosen from shapes alone; worked out for 132
multiprocessors by hand."""

from kernels.decode_tiles import DecodeTile, mla_tile, paged_tile, split_count, whole_sequences


def test_splits_fill_whole_rounds():
    tile = DecodeTile(16, 64, 4, 3, 4)  # 528 places on 132 multiprocessors
    assert split_count(8, 132 * 64 * 64, tile, sms=132) == 66
    assert split_count(64, 32_768, tile, sms=132) == 8
    assert split_count(512, 8_192, tile, sms=132) == 1
    assert split_count(4_096, 8_192, tile, sms=132) == 1
    assert split_count(1, 200, tile, sms=132) == 4  # a split needs a tile
    # 66 splits of 2,048 tiles: the longest has 32, and 64 splits of 32 end as early
    assert split_count(8, 131_072, tile, sms=132) == 64
    # one program for each sequence and KV head is left alone once it nearly fills the card
    assert split_count(256, 32_768, DecodeTile(16, 32, 4, 4, 2), sms=132) == 1


def test_a_nearly_empty_last_round_is_split_away():
    tile = DecodeTile(16, 16, 4, 3, 2, kv_heads=4)  # 264 places
    for programs in (256, 512):
        assert split_count(programs, 4_096, tile, sms=132) == 1
    for programs in (280, 320, 600):  # 1.06, 1.21 and 2.27 rounds
        splits = split_count(programs, 4_096, tile, sms=132)
        rounds = programs * splits / 264
        assert splits > 1
        assert -(-programs * splits // 264) / rounds < 1.15


def test_full_rounds_are_left_whole_and_only_the_rest_is_split():
    tile = DecodeTile(16, 16, 4, 3, 2, kv_heads=4)  # 264 places
    assert whole_sequences(131, 2, tile, sms=132) == 0
    assert whole_sequences(140, 2, tile, sms=132) == 132
    assert whole_sequences(300, 2, tile, sms=132) == 264
    assert whole_sequences(256, 2, tile, sms=132) == 256  # a last round of 248 is full enough
    assert whole_sequences(90, 3, tile, sms=132) == 88


def test_tiles_by_load():
    """8 KV heads: 17 sequences are one head a multiprocessor, 32 are 1.9."""
    few, some, many = (paged_tile(90, 4, 128, 2, 8, sequences) for sequences in (8, 20, 66))
    assert (few.kv_heads, some.kv_heads, many.kv_heads) == (1, 1, 4)
    assert few != some
    assert paged_tile(90, 4, 128, 2, 8, 1).kv_heads == 2
    assert paged_tile(90, 4, 128, 2, 3, 1) == paged_tile(90, 4, 128, 2, 8, 8)  # no pairs in 3
    assert paged_tile(90, 4, 128, 2, 3, 300) == some
    assert paged_tile(90, 17, 128, 2, 8, 66).block_m == 32  # more rows than a warp holds
    for capability in (80, 86, 89, 90, 100, 120):
        for head_dim in (64, 80, 96, 128, 192, 256):
            for element_bytes in (1, 2, 4):
                assert paged_tile(capability, 4, head_dim, element_bytes).block_n >= 16


def test_of_many_sequences_the_tile_that_leaves_the_fewest_over():
    """Rounds hold 66 sequences of four heads a program, 99 of one (six a multiprocessor), 33 of
    two."""

    def heads(sequences: int) -> int:
        return paged_tile(90, 4, 128, 2, 8, sequences).kv_heads

    assert heads(132) == heads(264) == 4
    assert heads(60) == 4  # 0.91 of a round is nearly full
    assert heads(33) == heads(165) == 2
    assert heads(240) == 2  # 9 over of 231; 42 of 198 with one or four heads
    assert heads(110) == heads(512) == 1  # 11 over of 99, 17 of 495
    assert paged_tile(90, 1, 128, 2, 32, 8).kv_heads == 2  # 128 programs for 132


def test_mla_splits_leave_no_nearly_empty_round():
    tile = DecodeTile(64, 64, 8, 2, 1)
    assert split_count(128, 8_192, tile, 132, alone=1.0) == 1
    assert split_count(2, 131_072, tile, 132, alone=1.0) == 64  # 32 tiles, as the longest of 66
    # 160 programs take two rounds of 132; in 4 splits, 640 take five rounds of a quarter each
    assert split_count(160, 8_192, tile, 132, alone=1.0) == 4
    assert split_count(256, 8_192, tile, 132, alone=1.0) == 1
    assert mla_tile(90, 16, 2).block_m == 16
    assert mla_tile(90, 17, 2).block_m == 32
    assert mla_tile(90, 33, 2).block_m == 64
