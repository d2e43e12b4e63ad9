"""What a step moves and computes beside the GPUs, where states lie on the host or on NVMe.

Gradients cross the host link after every reduction and come back to be added to from the second
micro-batch on (DeepSpeed stage3.py `partition_grads`), updated parameters return once; 2 M and 2 M
bytes of a step without accumulation (ZeRO-Offload, Ren et al. 2021, 3.3). Parameters that lie there
cross for both passes of every micro-batch. Adam on the host reads gradients and reads and writes
every state. States on NVMe are read and written once a step, parameters read for every pass.

FSDP2's CPUOffloadPolicy differs in what crosses and in which dtype (PyTorch 2.13,
torch/distributed/fsdp/_fully_shard: `_fsdp_param.py` all_gather_inputs, `_fsdp_collectives.py`
foreach_reduce). Shards cross as they are stored, fp32 under mixed precision, and are cast on the
GPU. Gradients cross once a reduction, in the shards' dtype, and the host adds them up. Adam updates
the shards themselves, so nothing returns. What stays gathered between the passes crosses once
(`planner.training.exchanges`).
"""

from dataclasses import dataclass

from planner.errors import PlanRefused
from planner.training.exchanges import gathers, kept_share, reductions
from planner.training.plan import TrainingPlan
from planner.training.states import parameter_bytes, shard_bytes

PCIE_SHARE = 0.9
"""Of the link's peak, what large copies of pinned memory sustain; as between GPUs over PCIe."""
PCIE_RANGE = (0.5, 2.0)
PCIE_SOURCE = (
    "90 % of the link's peak; half of it hidden behind the backward pass at best, twice as long "
    "where two GPUs share a switch"
)
HOST_MEMORY_BYTES_PER_S = 54 * 10**9
HOST_RANGE = (0.5, 1.3)
HOST_SOURCE = (
    "assumed 54 GB/s a machine: 72.7 B parameters on four machines in some 10 s (DeepSpeed issue "
    "6834); 11.6 B in 8.2 s are 42 GB/s (PR 735), and the fast end is twice the middle"
)
TORCH_HOST_RANGE = (0.5, 7.0)
TORCH_HOST_SOURCE = (
    "assumed 54 GB/s a machine, as DeepSpeed's Adam there, for torch.optim's with fused=True; 5 to "
    "7 times as long without it, PyTorch's default on a CPU (PyTorch issue 74588)"
)
NVME_READ_BYTES_PER_S = 10 * 10**9
WRITES_OF_READS = 0.5
"""DeepSpeed's DeepNVMe report of March 2025: 10 and 5 GB/s, 27 and 11, 48 and 26."""
NVME_RANGE = (0.2, 3.0)
NVME_SOURCE = (
    "assumed 10 GB/s read and 5 written a machine, four PCIe 4 drives (DeepSpeed, DeepNVMe report "
    "of March 2025); eight PCIe 5 drives: 48 and 26, one PCIe 3 drive: 3"
)
SUM = 3
"""Two gradients read and their sum written, from the second micro-batch on."""
GIVEN_RANGE = (0.8, 1.25)
GIVEN = "at the rate given"


@dataclass(frozen=True, slots=True)
class Transfer:
    """Bytes that cross one thing in a step, of one GPU or of a machine, and how long that takes."""

    name: str
    bytes: int
    seconds: float
    low_s: float
    high_s: float
    source: str


def transfers(plan: TrainingPlan) -> tuple[Transfer, ...]:
    """Those of one step, in the order of the way; none where all states stay on the GPU.

    Raises PlanRefused where the GPU's link to the host is not known.
    """
    recipe = plan.recipe
    if recipe.offload_optimizer == recipe.offload_parameters == "none":
        return ()
    found = [_link(plan)]
    if recipe.offload_optimizer != "none":
        found.append(_adam(plan))
    if "nvme" in (recipe.offload_optimizer, recipe.offload_parameters):
        found.append(_nvme(plan))
    return tuple(found)


def _streamed(plan: TrainingPlan) -> int:
    """Bytes of parameters that one GPU fetches in a step: its part, as often as it is gathered."""
    recipe = plan.recipe
    size = sum(gathers(recipe, t.outside) * shard_bytes(t, recipe) for t in plan.stage.held)
    return int((1 - kept_share(plan) / 2) * size)


def _moved(plan: TrainingPlan, names: tuple[str, ...]) -> int:
    """Bytes of one GPU's states of these names that lie elsewhere."""
    states = plan.stage.states.states
    return sum(s.bytes for s in states if s.place != "none" and s.name in names)


def _updated(plan: TrainingPlan) -> int:
    """Bytes of the parameters that one GPU's optimizer updates."""
    return plan.stage.states.updated * parameter_bytes(plan.recipe)


def _link(plan: TrainingPlan) -> Transfer:
    rate = plan.gpu.pcie_bytes_per_s
    if rate is None:
        raise PlanRefused(
            f"{plan.gpu.name}: the rate of its link to the host is not known, so no time of "
            "offloading can be given"
        )
    recipe, each = plan.recipe, _updated(plan)
    size = 0
    if recipe.sharding == "fsdp2":
        size += reductions(recipe) * _moved(plan, ("gradients",))
    elif recipe.offload_optimizer != "none":
        size += (2 * reductions(recipe) - 1) * each
    if recipe.offload_parameters != "none":
        size += _streamed(plan)
    if (recipe.offload_optimizer == "none") != (recipe.offload_parameters == "none"):
        size += each
    return _transfer("Host link of a GPU", size, size / (PCIE_SHARE * rate), PCIE_RANGE,
                     PCIE_SOURCE)  # fmt: skip


def _adam(plan: TrainingPlan) -> Transfer:
    """The optimizer on the host, bound by its memory."""
    recipe, name = plan.recipe, "Optimizer"
    gradients = _moved(plan, ("gradients",))
    size = gradients + 2 * _moved(plan, ("master weights", "optimizer states"))
    low_high, source = HOST_RANGE, HOST_SOURCE
    if recipe.sharding == "fsdp2":
        size += 2 * _moved(plan, ("parameters",))
        low_high, source = TORCH_HOST_RANGE, TORCH_HOST_SOURCE
        if sums := reductions(recipe) - 1:
            name, size = "Optimizer and sums of gradients", size + SUM * sums * gradients
    else:
        size += _updated(plan)
    size *= _ranks(plan)
    given = recipe.host_memory_bytes_per_s
    if given:
        low_high, source = GIVEN_RANGE, GIVEN
    seconds = size / (given or HOST_MEMORY_BYTES_PER_S)
    return _transfer(f"{name} in a machine's host memory", size, seconds, low_high, source)


def _nvme(plan: TrainingPlan) -> Transfer:
    recipe = plan.recipe
    read = written = 0
    if recipe.offload_optimizer == "nvme":
        own = _moved(plan, ("gradients", "master weights", "optimizer states"))
        read, written = own, own
    if recipe.offload_parameters == "nvme":
        read, written = read + _streamed(plan), written + _updated(plan)
    read, written = _ranks(plan) * read, _ranks(plan) * written
    given = recipe.nvme_bytes_per_s
    rate = given or NVME_READ_BYTES_PER_S
    seconds = read / rate + written / (WRITES_OF_READS * rate)
    low_high, source = (GIVEN_RANGE, GIVEN) if given else (NVME_RANGE, NVME_SOURCE)
    return _transfer("NVMe of a machine", read + written, seconds, low_high, source)


def _ranks(plan: TrainingPlan) -> int:
    return min(plan.recipe.gpus, plan.recipe.gpus_per_node)


def _transfer(
    name: str, size: int, seconds: float, low_high: tuple[float, float], source: str
) -> Transfer:
    low, high = low_high
    return Transfer(name, size, seconds, low * seconds, high * seconds, source)
