"""Figures of the cards, computed again from figures that their makers print beside them."""

import pytest

from planner.units import GIB, MIB
from presets.gpus import all_gpus, load_gpu


@pytest.mark.parametrize(
    ("gpu_id", "bits", "bits_per_s"),
    [
        ("m40-24gb", 384, 6.0e9),
        ("p100-pcie-16gb", 4096, 1.43e9),
        ("p40", 384, 7.2e9),
        ("v100s-pcie-32gb", 4096, 2.214e9),
        ("a2", 128, 12.5e9),
        ("a16", 128, 12.5e9),
        ("h100-sxm5-64gb", 3072, 5.252e9),
        ("quadro-rtx-5000", 256, 14e9),
        ("quadro-rtx-6000", 384, 14e9),
        ("quadro-rtx-8000", 384, 14e9),
        ("titan-rtx", 384, 14e9),
        ("rtx-a2000-12gb", 192, 12e9),
        ("rtx-a4500", 320, 16e9),
        ("rtx-a5500", 384, 16e9),
        ("rtx-2000-ada", 128, 16e9),
        ("rtx-4000-sff-ada", 160, 14e9),
        ("rtx-4000-ada", 160, 18e9),
        ("rtx-4500-ada", 192, 18e9),
        ("rtx-5000-ada", 256, 18e9),
        ("rtx-5880-ada", 384, 18e9),
        ("rtx-pro-2000-blackwell", 128, 18e9),
        ("rtx-pro-4000-blackwell", 192, 28e9),
        ("rtx-pro-4500-blackwell", 256, 28e9),
        ("rtx-pro-5000-blackwell", 384, 28e9),
        ("rtx-pro-6000-blackwell-max-q-workstation", 512, 28e9),
        ("gtx-1080", 256, 10e9),
        ("gtx-1080-ti", 352, 11e9),
        ("rtx-2060-super", 256, 14e9),
        ("rtx-2080-super", 256, 15.5e9),
        ("rtx-3050-8gb", 128, 14e9),
        ("rtx-3060-ti", 256, 14e9),
        ("rtx-3070-ti", 256, 19e9),
        ("rtx-3080-12gb", 384, 19e9),
        ("rtx-4090-d", 384, 21e9),
        ("rtx-5050", 128, 20e9),
        ("rtx-5060", 128, 28e9),
        ("rtx-5090-d", 512, 28e9),
        ("rtx-5090-d-v2", 384, 28e9),
        ("rtx-5090-laptop", 256, 28e9),
        ("mi50-32gb", 4096, 2.0e9),
        ("mi100", 4096, 2.4e9),
        ("radeon-rx-6800", 256, 16e9),
        ("radeon-rx-7800-xt", 256, 19.5e9),
        ("radeon-rx-7900-xt", 320, 20e9),
        ("radeon-rx-7900-gre", 256, 18e9),
        ("radeon-pro-w7900", 384, 18e9),
        ("radeon-rx-9060-xt-16gb", 128, 20e9),
        ("radeon-rx-9070-xt", 256, 20e9),
        ("radeon-ai-pro-r9700", 256, 20e9),
        ("arc-a770-16gb", 256, 17.5e9),
        ("arc-b580", 192, 19e9),
        ("arc-pro-b50", 128, 14e9),
        ("jetson-orin-nano-8gb", 128, 4.266e9),
        ("jetson-orin-nx-16gb", 128, 6.4e9),
        ("jetson-agx-thor-128gb", 256, 8.533e9),
        ("apple-m1-max-64gb", 512, 6.4e9),
        ("apple-m4-pro-48gb", 256, 8.533e9),
        ("apple-m4-max-64gb", 512, 8.533e9),
        ("apple-m5-max-64gb", 512, 9.6e9),
    ],
)
def test_bandwidth_is_bus_width_times_data_rate(gpu_id: str, bits: int, bits_per_s: float) -> None:
    """Bus widths and data rates of the makers' data sheets and of TechPowerUp's pages."""
    found = load_gpu(gpu_id).memory_bandwidth_bytes_per_s
    assert found == pytest.approx(bits * bits_per_s / 8, rel=0.025)


@pytest.mark.parametrize(
    ("gpu_id", "printed"),
    [
        # NVIDIA's and Leadtek's data sheets: TFLOPS of the tensor cores in FP16
        ("v100s-pcie-32gb", 130e12),
        ("quadro-rtx-5000", 89.2e12),
        ("quadro-rtx-8000", 130.5e12),
        ("quadro-rtx-6000", 130.5e12),
        ("titan-rtx", 130.5e12),
        ("a2", 18e12),
        ("mi100", 184.6e12),
        ("mi300a", 980.6e12),
        # AMD's product pages
        ("radeon-rx-7900-xt", 103e12),
        ("radeon-pro-w7900", 122.6e12),
        ("radeon-rx-9070-xt", 195e12),
        ("radeon-ai-pro-r9700", 191e12),
    ],
)
def test_fp16_peaks_are_those_that_their_makers_print(gpu_id: str, printed: float) -> None:
    assert load_gpu(gpu_id).fp16_flops_per_s == pytest.approx(printed, rel=0.01)


@pytest.mark.parametrize(
    ("gpu_id", "size"),
    [
        ("p40", 24_445 * MIB),
        ("quadro-rtx-8000", 48_393 * MIB),
        ("titan-rtx", 24_211 * MIB),
        ("rtx-5070", 11_774 * MIB),
        ("arc-pro-b60", 24_480 * MIB),
        ("apple-m3-max-40-core-gpu", 110_100 * MIB),
        ("tpu-v6e", 31.25 * GIB),
    ],
)
def test_memory_that_programs_read(gpu_id: str, size: float) -> None:
    gpu = load_gpu(gpu_id)
    assert gpu.memory_verified
    assert gpu.memory_bytes == pytest.approx(size, abs=32 * MIB)


def test_what_a_chip_cannot_compute_has_no_rate() -> None:
    """CUDA programming guide: tensor cores since compute capability 7.0, of INT8 since 7.2, of BF16
    since 8.0, of FP8 since 8.9, of FP4 since 10.0."""
    since = {
        "fp16_flops_per_s": 7.0,
        "int8_ops_per_s": 7.2,
        "bf16_flops_per_s": 8.0,
        "fp8_flops_per_s": 8.9,
        "fp4_flops_per_s": 10.0,
    }
    for gpu in all_gpus():
        for field, least in since.items():
            if gpu.cuda_capability is not None and gpu.cuda_capability < least:
                assert getattr(gpu, field) is None, (gpu.id, field)


def test_macs_of_one_chip_differ_in_memory_alone() -> None:
    """M1 to M6: what macOS lets the GPU have grows with the size; 36 GB and 96 GB M3 Max are the
    30-core ones of 300 GB/s, the 36 GB M4 Max the 32-core one of 410."""
    by_chip: dict[str, list[tuple[float, int, int | None]]] = {}
    for gpu in all_gpus():
        if gpu.vendor == "Apple":
            chip = gpu.name.partition(" (")[0]
            assert gpu.memory_marketed_gb is not None
            by_chip.setdefault(chip, []).append(
                (gpu.memory_marketed_gb, gpu.memory_bytes, gpu.memory_bandwidth_bytes_per_s)
            )
    assert len(by_chip) == 19
    for chip, macs in by_chip.items():
        assert [m[1] for m in macs] == sorted(m[1] for m in macs), chip
        assert macs == sorted(macs), chip
