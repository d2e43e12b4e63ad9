"""Naive attention and the reference agree with PyTorch's own attention."""

import math

import pytest
import torch

from kernels.naive import naive_attention
from kernels.reference import attention_mask, attention_reference


@pytest.mark.parametrize("causal", [True, False])
def test_both_agree_with_pytorch(causal):
    q = torch.randn(2, 37, 4, 16)
    k, v = torch.randn(2, 37, 2, 16), torch.randn(2, 37, 2, 16)
    expected = torch.nn.functional.scaled_dot_product_attention(
        *(t.transpose(1, 2).double() for t in (q, k, v)), is_causal=causal, enable_gqa=True
    ).transpose(1, 2)
    naive = naive_attention(q, k, v, causal=causal)
    torch.testing.assert_close(naive, expected.float(), atol=1e-6, rtol=1e-5)
    out, _ = attention_reference(q, k, v, causal=causal)
    torch.testing.assert_close(out, expected)


def test_mask_is_aligned_bottom_right():
    assert attention_mask(2, 4).tolist() == [[True, True, True, False], [True] * 4]
    assert attention_mask(3, 1).tolist() == [[False], [False], [True]]
    window = attention_mask(2, 4, causal=False, window_size=(1, 1))
    assert window.tolist() == [[False, True, True, True], [False, False, True, True]]


def test_lse_and_rows_without_keys():
    q, k, v = torch.zeros(1, 3, 1, 16), torch.zeros(1, 2, 1, 16), torch.ones(1, 2, 1, 16)
    out, lse = attention_reference(q, k, v)
    assert lse[0, 0].tolist() == pytest.approx([-math.inf, 0.0, math.log(2)])
    assert out[0, :, 0, 0].tolist() == [0.0, 1.0, 1.0]
    assert naive_attention(q, k, v)[0, :, 0, 0].tolist() == [0.0, 1.0, 1.0]
