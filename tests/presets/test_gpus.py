"""Every accelerator of the data file, against the rule for ids and an independent table."""

import json
import re
from pathlib import Path

import pytest

from planner.errors import PlanRefused
from planner.hardware import Gpu, custom_gpu, gpu_with_memory
from planner.units import GIB
from presets.gpus import all_gpus, gpu_ids, gpu_sources, load_gpu

TRUTH = Path(__file__).parents[3] / "shared" / "truth" / "gpus.json"
BRANDS = {"geforce", "tesla", "instinct", "nvidia", "amd"}


def slug(name: str) -> str:
    words = re.findall(r"[a-z0-9]+", re.sub(r"\(.*\)", "", name).lower())
    return "-".join(word for word in words if word not in BRANDS)


@pytest.fixture(params=gpu_ids())
def gpu(request: pytest.FixtureRequest) -> Gpu:
    return load_gpu(request.param)


def test_ids_are_slugs_of_the_names(gpu: Gpu) -> None:
    assert gpu.id.startswith(slug(gpu.name))
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", gpu.id)


def test_names_are_unique() -> None:
    assert len({gpu.name for gpu in all_gpus()}) == len(gpu_ids()) == len(all_gpus())


def test_a_program_never_gets_more_than_the_box_or_the_driver_says(gpu: Gpu) -> None:
    assert gpu.memory_marketed_gb is not None
    assert gpu.memory_bytes <= gpu.memory_marketed_gb * GIB
    if gpu.memory_driver_bytes is not None:
        assert gpu.memory_bytes <= gpu.memory_driver_bytes


def test_memory_is_verified_or_listed_as_unverified(gpu: Gpu) -> None:
    assert gpu.memory_verified != ("memory_bytes" in gpu.unverified)


def test_every_figure_has_a_source_or_is_unverified(gpu: Gpu) -> None:
    without = {
        "id",
        "name",
        "vendor",
        "architecture",
        "compute_capability",
        "memory_bytes",
        "memory_source",
        "memory_verified",
        "memory_shared_with_cpu",
        "unverified",
        "notes",
    }
    given = gpu.model_dump(exclude_none=True, exclude_defaults=True).keys() - without
    assert given == gpu_sources(gpu.id).keys() | set(gpu.unverified) - {"memory_bytes"}


@pytest.mark.parametrize(
    ("gpu_id", "gib"),
    [
        ("h100-sxm5-80gb", 79.19),
        ("a100-sxm4-40gb", 39.4),
        ("l40s", 44.4),
        ("l4", 22.05),
        ("rtx-3090", 23.58),
        ("rtx-4090", 23.52),
        ("rtx-5090", 31.36),
        ("rtx-pro-6000-blackwell-server", 95.0),
        ("t4", 14.6),
        ("v100-sxm2-32gb", 31.74),
        ("mi300x", 191.7),
        ("b200-sxm-180gb", 178.35),
        ("rtx-2080-ti", 10.76),
        ("radeon-rx-7900-xtx", 23.98),
        ("jetson-agx-orin-64gb", 61.35),
        ("apple-m3-ultra-512gb", 464.0),
    ],
)
def test_memory_agrees_with_engine_logs(gpu_id: str, gib: float) -> None:
    gpu = load_gpu(gpu_id)
    assert gpu.memory_verified
    assert gpu.memory_bytes / GIB == pytest.approx(gib, abs=0.05)


def test_the_h200_is_the_measured_one() -> None:
    assert load_gpu("h200-sxm-141gb").memory_bytes == 150_109_880_320


def test_an_unknown_id_is_refused_with_the_three_closest() -> None:
    with pytest.raises(PlanRefused) as refusal:
        load_gpu("h100-sxm-80gb")
    assert "h100-sxm5-80gb" in str(refusal.value)
    assert str(refusal.value).partition("Close in name:")[2].count(",") == 2
    with pytest.raises(PlanRefused, match="zzzz"):
        load_gpu("zzzz")


@pytest.mark.parametrize(
    ("name", "gpu_id"),
    [
        ("b200", "b200-sxm-180gb"),
        ("4090", "rtx-4090"),
        ("rtx4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("7900 XTX", "radeon-rx-7900-xtx"),
        ("A100 SXM4 40GB", "a100-sxm4-40gb"),
        ("3090", "rtx-3090"),
        ("rtx-3090-24gb", "rtx-3090"),
        ("rtx 3060", "rtx-3060-12gb"),
        ("m4 max 128gb", "apple-m4-max-40-core-gpu"),
        ("DGX Spark", "gb10"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm5-80gb"),
        ("NVIDIA H200", "h200-sxm-141gb"),
        ("NVIDIA GH200 480GB", "gh200-96gb"),
        ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx-pro-6000-blackwell-server"),
    ],
)
def test_words_that_only_one_card_has_name_it(name: str, gpu_id: str) -> None:
    assert load_gpu(name).id == gpu_id
    assert gpu_sources(name) == gpu_sources(gpu_id)


@pytest.mark.parametrize(
    ("driver", "gpu_id"),
    [
        ("Tesla M40 24GB", "m40-24gb"),
        ("Tesla P100-PCIE-16GB", "p100-pcie-16gb"),
        ("Tesla P40", "p40"),
        ("Tesla V100S-PCIE-32GB", "v100s-pcie-32gb"),
        ("Quadro RTX 6000", "quadro-rtx-6000"),
        ("NVIDIA TITAN RTX", "titan-rtx"),
        ("NVIDIA GeForce GTX 1080 Ti", "gtx-1080-ti"),
        ("NVIDIA GeForce RTX 3060", "rtx-3060-12gb"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "rtx-4090-laptop"),
        ("NVIDIA GeForce RTX 4090 D", "rtx-4090-d"),
        ("NVIDIA RTX A2000 12GB", "rtx-a2000-12gb"),
        ("NVIDIA RTX 4000 SFF Ada Generation", "rtx-4000-sff-ada"),
        ("NVIDIA RTX 4000 Ada Generation", "rtx-4000-ada"),
        ("NVIDIA RTX PRO 5000 Blackwell", "rtx-pro-5000-blackwell"),
        ("NVIDIA RTX PRO 5000 72GB Blackwell", "rtx-pro-5000-72gb-blackwell"),
        (
            "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
            "rtx-pro-6000-blackwell-max-q-workstation",
        ),
        ("NVIDIA A16", "a16"),
        ("NVIDIA A800 80GB PCIe", "a800-pcie-80gb"),
        ("NVIDIA A800 40GB Active", "a800-pcie-40gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("NVIDIA H100 PCIe", "h100-pcie-80gb"),
        ("NVIDIA B300 SXM6 AC", "b300-sxm-288gb"),
        ("NVIDIA Thor", "jetson-agx-thor-128gb"),
        ("AMD Instinct MI100", "mi100"),
        ("AMD Instinct MI300X OAM", "mi300x"),
        ("AMD Radeon RX 7900 XT", "radeon-rx-7900-xt"),
        ("AMD Radeon RX 9070 XT", "radeon-rx-9070-xt"),
        ("AMD Radeon PRO W7800", "radeon-pro-w7800"),
        ("AMD Radeon PRO W7800 48GB", "radeon-pro-w7800-48gb"),
        ("AMD Radeon AI PRO R9700", "radeon-ai-pro-r9700"),
        ("AMD Radeon 8060S Graphics", "radeon-8060s-128gb"),
        ("Intel(R) Arc(TM) A770 Graphics", "arc-a770-16gb"),
        ("Intel(R) Arc(TM) Pro B60 Graphics", "arc-pro-b60"),
    ],
)
def test_names_as_drivers_print_them(driver: str, gpu_id: str) -> None:
    """As nvidia-smi, rocm-smi and llama.cpp's device lists print them in public logs."""
    assert load_gpu(driver).id == gpu_id


@pytest.mark.parametrize(
    "name",
    [
        "h100",
        "H200",
        "a100-80gb",
        "2060",
        "rtx-3080",
        "rtx 6000",
        "w7800",
        "Apple M2 Ultra",
        "rtx-4090-48gb",
        "141gb",
        "geforce",
        "",
        "-",
    ],
)
def test_words_of_several_cards_name_none(name: str) -> None:
    """3090 and 3090 Ti differ in name; the two cards called RTX 3080 do not."""
    with pytest.raises(PlanRefused, match="not among the GPU presets"):
        load_gpu(name)


def test_whole_words_are_closer_than_parts_of_words() -> None:
    with pytest.raises(PlanRefused, match=r"Close in name: h200-sxm-141gb, h200-nvl-141gb,"):
        load_gpu("h200")


def test_memory_can_be_given() -> None:
    assert custom_gpu(24 * GIB).memory_bytes == 24 * GIB
    card = gpu_with_memory(load_gpu("rtx-5070"), 11 * GIB)
    assert (card.memory_bytes, card.memory_verified) == (11 * GIB, True)
    assert "memory_bytes" not in card.unverified
    assert card.memory_bandwidth_bytes_per_s == load_gpu("rtx-5070").memory_bandwidth_bytes_per_s
    for size in (0, -1):
        with pytest.raises(PlanRefused, match="positive"):
            custom_gpu(size)


@pytest.mark.skipif(not TRUTH.exists(), reason="shared/truth/gpus.json is not here")
def test_figures_agree_with_the_reference_table() -> None:
    gpus = {gpu.name: gpu for gpu in all_gpus()}
    rows = {row["name"]: row for row in json.loads(TRUTH.read_text())["gpus"]}
    shared = gpus.keys() & rows.keys()
    assert len(shared) >= 70
    for name in shared:
        gpu, row = gpus[name], rows[name]
        for field, figure, unit in (
            ("memory_bandwidth_bytes_per_s", "memory_bandwidth_gbs", 1e9),
            ("bf16_flops_per_s", "bf16_dense_tflops", 1e12),
            ("fp4_flops_per_s", "fp4_dense_tflops", 1e12),
            ("nvlink_bidirectional_bytes_per_s", "nvlink_bidir_gbs", 1e9),
            ("smem_per_sm_bytes", "smem_per_sm_kb", 1024),
        ):
            if row[figure] is not None and figure not in row["unverified_fields"]:
                assert getattr(gpu, field) == pytest.approx(row[figure] * unit), (name, field)
        if row["torch_total_gib_seen"] is not None:
            seen = row["torch_total_gib_seen"] * GIB
            assert gpu.memory_bytes == pytest.approx(seen, rel=0.02), name


def test_tensor_rates_agree_with_their_makers_tables() -> None:
    """NVIDIA's Turing white paper and Jetson data sheet (170 sparse INT8 TOPS of the GPU),
    AMD's RDNA 3 page."""
    turing = load_gpu("rtx-2080-ti")
    assert turing.fp16_flops_per_s == pytest.approx(107.6e12 / 2, rel=0.001)
    assert turing.int8_ops_per_s == pytest.approx(215.2e12, rel=0.001)
    jetson = load_gpu("jetson-agx-orin-64gb")
    assert jetson.fp16_flops_per_s == pytest.approx(170e12 / 4, rel=0.01)
    assert load_gpu("radeon-rx-7900-xtx").fp16_flops_per_s == pytest.approx(122.8e12, rel=0.005)
