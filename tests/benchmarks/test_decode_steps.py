import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

from benchmarks.decode_steps import MLA, PAGED, Case  # noqa: E402


@pytest.mark.parametrize("case", [*PAGED, *MLA], ids=lambda case: case.name)
def test_a_case_is_found_by_its_name(case):
    assert Case.named(case.name) == case


def test_a_name_without_a_dtype_is_bf16():
    case = Case(16, 1, 256, 3, 40, torch.bfloat16, 4, 64, uneven=True)
    assert Case.named("16/1/256 3x1..40 q4 pages of 64") == case


@pytest.mark.parametrize(
    "name", ["", "33x4096", "32/8 33x4096", "MLA 16 128", "32/8/128 33x4096 x"]
)
def test_what_is_no_name_is_said_to_be_none(name):
    with pytest.raises(ValueError, match="is no case: write it like '32/8/128 1x8192 bfloat16'"):
        Case.named(name)


def test_bytes_and_flops_of_a_step():
    """2 sequences of 10 tokens: K and V of 8 heads of 128 in 2 bytes, 576 latents in one."""
    assert Case.named("32/8/128 2x10").bytes == 2 * 10 * 2 * 8 * 128 * 2
    assert Case.named("MLA 16 2x10 float8_e4m3fn").bytes == 2 * 10 * 576
    assert Case.named("32/8/128 2x10").flops == 2 * 10 * 32 * (128 + 128) * 2
    assert Case.named("MLA 16 2x10").flops == 2 * 10 * 16 * (576 + 512) * 2
