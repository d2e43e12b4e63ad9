"""Seconds that GPUs spend talking: all-reduce, all-gather, all-to-all, point to point.

    all_reduce_s(16384, 8, link_between(gpu, 8))

Time is a start-up plus bytes on the wire over what the link sustains; both come from measured
tables and scale with the link. Bytes may be a NumPy array.
"""

from dataclasses import dataclass
from typing import Any, Literal

from planner.hardware import GPUS_PER_MACHINE, Gpu
from planner.timing.elementwise import larger

NETWORK_BYTES_PER_S = 50 * 10**9
"""One direction of a 400 Gb/s adapter per GPU, as machines with eight accelerators have them."""
PCIE_BYTES_PER_S = 32 * 10**9
"""Where a card's own PCIe is not known: 16 lanes of the fourth generation."""
SMALL_BYTES = 4 * 2**20
"""Up to here NCCL uses its low-latency protocols, which carry flags beside the data."""

MESH = 0.75
"""Of a mesh's links, what collectives sustain; fewer ranks than eight leave links unused."""

SOURCES = {
    "nvlink": "all-reduce in CUDA graphs: two H200s with NCCL 2.28 (10.3 us at 4 KiB, 255.5 us at "
    "64 MiB), eight H100s with multimem and NCCL (vLLM PR 42324); one-shot kernels take 4 to 10 us "
    "(SGLang PR 2904)",
    "pcie": "all-reduce of eight A800s over PCIe, 46 to 57 us at 8 KiB (vLLM issue 50576)",
    "mesh": "a link to each of seven peers, 48 of 64 GB/s usable (rocm.blogs.amd.com "
    "mi300x-rccl-xgmi, 2025-03-02); start-up estimated, between NVLink's and PCIe's",
    "network": "46 to 48 of 50 GB/s per adapter (NCCL maintainers, nccl-tests issue 290)",
}


@dataclass(frozen=True, slots=True)
class Link:
    """What joins the ranks of one group: one direction per GPU, and what of it arrives.

    small and large are the parts of the bandwidth that all-reduces below and above SMALL_BYTES
    sustain; start_s is what the smallest one takes. low, high: the range around a time.
    pair_bytes_per_s: what two of the ranks have between them.
    """

    kind: Literal["nvlink", "mesh", "pcie", "network"]
    bytes_per_s: float
    start_s: float
    small: float
    large: float
    low: float
    high: float
    pair_bytes_per_s: float
    direct: float = 0.9
    """Of the bandwidth, what sends and all-to-alls sustain (DeepEP README: 153 to 158 of 160 GB/s
    in one machine, 43 to 58 GB/s between)."""

    @property
    def source(self) -> str:
        return SOURCES[self.kind]


def link_between(gpu: Gpu, ranks: int) -> Link:
    """The slowest link that `ranks` GPUs of one kind share: NVLink, PCIe, or the network."""
    if ranks > gpu.joined_gpus:
        bandwidth = NETWORK_BYTES_PER_S
        return Link("network", bandwidth, 30e-6, 0.6, 0.92, 0.7, 1.6, bandwidth)
    if gpu.links_are_a_mesh and gpu.nvlink_bytes_per_s is not None:
        pair = gpu.nvlink_bytes_per_s / (GPUS_PER_MACHINE - 1)
        return Link("mesh", pair * (ranks - 1), 15e-6, MESH, MESH, 0.7, 1.6, pair, MESH)
    if gpu.nvlink_bytes_per_s is not None and ranks <= (gpu.nvlink_gpus or gpu.joined_gpus):
        small, large = (0.373, 0.633) if ranks <= 2 else (0.54, 0.70) if ranks <= 4 else (0.8, 0.8)
        bandwidth = gpu.nvlink_bytes_per_s
        return Link("nvlink", bandwidth, 10e-6, small, large, 0.5, 1.6, bandwidth)
    bandwidth = gpu.pcie_bytes_per_s or PCIE_BYTES_PER_S
    return Link("pcie", bandwidth, 25e-6, 0.5, 0.7, 0.6, 2.0, bandwidth)


def all_reduce_s(size_bytes: Any, ranks: int, link: Link) -> Any:
    """Every rank ends with the sum: 2 (n - 1) / n of the bytes leave each rank.

    The first SMALL_BYTES go at the small rate, what is beyond at the large one.
    """
    if ranks == 1:
        return 0.0 * size_bytes
    wire = 2 * (ranks - 1) / ranks / link.bytes_per_s
    beyond = larger(size_bytes - SMALL_BYTES, 0)
    return (
        link.start_s
        + (size_bytes - beyond) * wire / link.small
        + beyond * wire / link.large
    )  # fmt: skip


def all_gather_s(size_bytes: Any, ranks: int, link: Link) -> Any:
    """Every rank ends with all parts, size_bytes in all: half an all-reduce on the wire."""
    if ranks == 1:
        return 0.0 * size_bytes
    return link.start_s + size_bytes * (ranks - 1) / ranks / (link.bytes_per_s * link.large)


def all_to_all_s(sent_bytes: Any, ranks: int, link: Link) -> Any:
    """Each rank sends sent_bytes, spread evenly over all ranks, itself included."""
    if ranks == 1:
        return 0.0 * sent_bytes
    return 2 * link.start_s + sent_bytes * (ranks - 1) / ranks / (link.bytes_per_s * link.direct)


def send_s(size_bytes: Any, link: Link) -> Any:
    """One rank to the next, as pipeline stages and prefill rings send."""
    return link.start_s / 2 + size_bytes / (link.pair_bytes_per_s * link.direct)
