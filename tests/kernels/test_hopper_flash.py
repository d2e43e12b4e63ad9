"""What of the Hopper path runs without a Hopper card; test_flash_attention runs the rest on one."""

import torch

from kernels import hopper_flash
from kernels.tiles import HopperTile, hopper_tile


def test_values_transposed_with_keys_renamed_and_padding_zero(device):
    v = torch.randn(2, 37, 3, 80, device=device).to(torch.float8_e4m3fn)
    out = hopper_flash.transpose_values(v).float()
    assert out.shape == (2, 3, 80, 48)
    order = [0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15]  # as a quad's lanes hold them
    padded = torch.zeros(2, 48, 3, 80, device=device)
    padded[:, :37] = v.float()
    keys = torch.tensor([16 * block + key for block in range(3) for key in order], device=device)
    assert torch.equal(out, padded[:, keys].permute(0, 2, 3, 1))


def test_only_a_hopper_card_is_supported():
    q = torch.zeros(1, 8, 2, 128, dtype=torch.bfloat16)
    assert not hopper_flash.supports(q, q, q, torch.bfloat16, (-1, 0))


def test_tiles_cover_the_head_dims():
    for head_dim in (64, 80, 96, 128, 192, 256):
        for element_bytes in (1, 2):
            for causal in (True, False):
                tile = hopper_tile(head_dim, head_dim, element_bytes, causal, 8192)
                assert isinstance(tile, HopperTile)
    assert hopper_tile(192, 128, 2, True, 100) is not None
    assert hopper_tile(64, 128, 2, True, 100) is None
