"""What this machine has, read from the driver and from torch; a reason instead of an exception.

Reading through NVML makes no CUDA context, so a page may ask at any time.
"""

import platform
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class GpuFacts:
    """One GPU as NVML shows it; None where it does not say."""

    index: int
    name: str
    memory_bytes: int
    memory_used_bytes: int
    driver: str
    mig: bool
    process_ids: tuple[int, ...]
    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    power_limit_w: float | None
    temperature_c: int | None


@dataclass(frozen=True)
class Machine:
    """GPUs of this machine, or the reason why there are none to be seen."""

    gpus: tuple[GpuFacts, ...]
    reason: str = ""


def machine() -> Machine:
    """Every NVIDIA GPU that the driver shows."""
    try:
        import pynvml
    except ImportError:
        return Machine((), "the Python package nvidia-ml-py is not installed")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Machine((), f"the NVIDIA driver does not answer ({error})")
    try:
        driver = _text(pynvml.nvmlSystemGetDriverVersion())
        count = pynvml.nvmlDeviceGetCount()
        found = tuple(_gpu(pynvml, index, driver) for index in range(count))
        return Machine(found, "" if found else "the driver shows no GPU")
    except pynvml.NVMLError as error:
        return Machine((), f"the NVIDIA driver does not say what it has ({error})")
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, index: int, driver: str) -> GpuFacts:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)

    def ask(read: Any, *arguments: Any) -> Any:
        try:
            return read(handle, *arguments)
        except nvml.NVMLError:
            return None

    mig = ask(nvml.nvmlDeviceGetMigMode)
    processes = ask(nvml.nvmlDeviceGetComputeRunningProcesses) or ()
    power = ask(nvml.nvmlDeviceGetEnforcedPowerLimit)
    return GpuFacts(
        index=index,
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(memory.total),
        memory_used_bytes=int(memory.used),
        driver=driver,
        mig=bool(mig and mig[0]),
        process_ids=tuple(int(process.pid) for process in processes),
        sm_clock_mhz=ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_SM),
        memory_clock_mhz=ask(nvml.nvmlDeviceGetClockInfo, nvml.NVML_CLOCK_MEM),
        power_limit_w=None if power is None else power / 1000,
        temperature_c=ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def torch_facts(device: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(card, software) as torch shows them; on "cpu" the card is the processor.

    Makes a CUDA context on a GPU, and measures what that takes.
    """
    import torch
    import triton

    software = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cuda": torch.version.cuda,
        "system": f"{platform.system()} {platform.machine()}",
    }
    if device == "cpu":
        return {"name": platform.processor() or platform.machine(), "memory_bytes": 0}, software
    index = torch.device(device).index or 0
    torch.cuda.init()
    properties = torch.cuda.get_device_properties(index)
    card = {
        "name": properties.name,
        "memory_bytes": int(properties.total_memory),
        "sm_count": int(properties.multi_processor_count),
        "compute_capability": f"{properties.major}.{properties.minor}",
        "l2_bytes": int(getattr(properties, "L2_cache_size", 0)),
    }
    return card, software
