"""One accelerator as a plan sees it: what a program can allocate, and how fast it computes.

`memory_bytes` is the total the driver shows a program (`torch.cuda.get_device_properties`,
`cudaMemGetInfo`), which is what fits are judged by. It is a few hundred MiB below the figure of
`nvidia-smi`, and what the box calls GB is 10**9 bytes for one product and 2**30 for the next.

    gpu = presets.gpus.load_gpu("h100-sxm5-80gb")
    gpu = gpu_with_memory(gpu, 60 * GIB)
    gpu = custom_gpu(24 * GIB)
"""

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from planner.calibration import Calibration
from planner.errors import PlanRefused
from planner.frozen import Frozen
from planner.units import format_bytes

GPUS_PER_MACHINE = 8
"""The most that any machine is taken to have."""


class Gpu(Frozen):
    """One accelerator. None means no figure was found, never zero.

    Rates are peaks per second. Tensor rates are dense (sparse marketing figures halved) and
    accumulate in FP32, as PyTorch and cuBLAS do; on GeForce that is half the FP16-accumulate
    rate on the box. Sources of single figures: `presets.gpus.gpu_sources`.
    """

    id: str
    name: str
    vendor: str
    architecture: str | None = None
    compute_capability: str | None = None
    """CUDA's "9.0", or AMD's "gfx942"."""

    memory_bytes: PositiveInt
    """What a program can allocate, before its own CUDA context: the driver's total."""
    memory_source: str
    memory_verified: bool
    """True when a program read `memory_bytes` on such a card. False when it is a sibling's reading,
    the monitoring tool's total or the marketing figure; `memory_source` says which."""
    memory_driver_bytes: PositiveInt | None = None
    """The monitoring tool's total (`nvidia-smi`, `rocm-smi`); SGLang starts from this one."""
    memory_marketed_gb: PositiveFloat | None = None
    """As printed on the box; whether GB is 10**9 or 2**30 bytes is the vendor's choice."""
    memory_shared_with_cpu: bool = False
    """Unified memory: the operating system and other programs take their part first."""
    memory_type: str | None = None
    memory_bandwidth_bytes_per_s: PositiveInt | None = None

    fp32_flops_per_s: PositiveInt | None = None
    """Vector units, not tensor cores."""
    fp16_flops_per_s: PositiveInt | None = None
    bf16_flops_per_s: PositiveInt | None = None
    fp8_flops_per_s: PositiveInt | None = None
    int8_ops_per_s: PositiveInt | None = None
    fp4_flops_per_s: PositiveInt | None = None

    nvlink_bidirectional_bytes_per_s: PositiveInt | None = None
    """Sum of both directions, as vendors print it. Infinity Fabric on AMD, ICI on TPU, Ethernet
    on Gaudi."""
    nvlink_gpus: PositiveInt | None = None
    """How many GPUs its bridges join; None where a switch joins all of a machine."""
    machine_gpus: PositiveInt | None = None
    """The most that one machine has, by how the card is built or the offer it is rented under;
    beyond, ranks talk over the network. None: eight."""
    link_domain_gpus: PositiveInt | None = None
    """How many GPUs a rack's switches join, across its machines; None where links end with one."""
    links_are_a_mesh: bool = False
    """No switch: every pair of eight has a link of its own, a seventh of the total."""
    pcie_bidirectional_bytes_per_s: PositiveInt | None = None
    stands_alone: bool = False
    """A slice of a card (MIG): no other slice or card can hold a model together with it."""

    sm_count: PositiveInt | None = None
    """Streaming multiprocessors; compute units on AMD."""
    l2_bytes: PositiveInt | None = None
    smem_per_sm_bytes: PositiveInt | None = None
    """Shared memory of one multiprocessor; LDS on AMD."""
    boost_clock_hz: PositiveInt | None = None
    tdp_w: NonNegativeFloat | None = None

    unverified: tuple[str, ...] = ()
    """Names of the fields above that no readable source confirms."""
    notes: tuple[str, ...] = ()
    calibration: Calibration | None = None
    """What `validate` measured on this very card; None for a card known from data alone."""

    @property
    def gpus_of_machine(self) -> int:
        """The most that one machine has; eight where nothing else is known."""
        return min(self.machine_gpus or GPUS_PER_MACHINE, GPUS_PER_MACHINE)

    @property
    def joined_gpus(self) -> int:
        """How many of them tensor parallelism may join: those of one machine, or of a rack whose
        machines share their links."""
        if self.link_domain_gpus is not None:
            return self.link_domain_gpus
        return self.gpus_of_machine

    def check_joins(self, gpus: int) -> None:
        """Raises PlanRefused where so many of them cannot hold one model together."""
        if self.stands_alone and gpus > 1:
            raise PlanRefused(
                f"{self.name} is a slice, and slices have no link to each other: plan one, and "
                "start a server on each"
            )

    @property
    def cuda_capability(self) -> float | None:
        """9.0; None for other vendors' cards, and where no figure was found."""
        try:
            return float(self.compute_capability or "")
        except ValueError:
            return None

    @property
    def amd_names(self) -> list[str]:
        """What AMD's software calls the chip: 'CDNA3', 'gfx942'."""
        return f"{self.architecture or ''} {self.compute_capability or ''}".split()

    @property
    def nvlink_bytes_per_s(self) -> int | None:
        """One direction of the GPU-to-GPU link."""
        return _half(self.nvlink_bidirectional_bytes_per_s)

    @property
    def pcie_bytes_per_s(self) -> int | None:
        """One direction of the PCIe link, before encoding loss."""
        return _half(self.pcie_bidirectional_bytes_per_s)


def custom_gpu(memory_bytes: int) -> Gpu:
    """A card of which only the memory is known, from `--gpu-memory-bytes`. Refuses sizes <= 0."""
    _check_memory(memory_bytes)
    return Gpu(
        id="custom",
        name=f"Custom GPU, {format_bytes(memory_bytes)}",
        vendor="custom",
        memory_bytes=memory_bytes,
        memory_source="given by the user",
        memory_verified=True,
    )


def gpu_with_memory(gpu: Gpu, memory_bytes: int) -> Gpu:
    """`gpu` with the memory the user read on it; everything else stays. Refuses sizes <= 0."""
    _check_memory(memory_bytes)
    return gpu.model_copy(
        update={
            "memory_bytes": memory_bytes,
            "memory_source": "given by the user",
            "memory_verified": True,
            "unverified": tuple(field for field in gpu.unverified if field != "memory_bytes"),
        }
    )


def gpu_calibrated(gpu: Gpu, calibration: Calibration) -> Gpu:
    """`gpu` as one run of `validate` found it: its memory, its overheads, its speed."""
    return gpu.model_copy(
        update={
            "memory_bytes": calibration.memory_bytes,
            "memory_source": calibration.label,
            "memory_verified": True,
            "unverified": tuple(field for field in gpu.unverified if field != "memory_bytes"),
            "calibration": calibration,
        }
    )


def _half(both_ways: int | None) -> int | None:
    return None if both_ways is None else both_ways // 2


def _check_memory(memory_bytes: int) -> None:
    if memory_bytes <= 0:
        raise PlanRefused(f"GPU memory must be a positive number of bytes, not {memory_bytes}.")
