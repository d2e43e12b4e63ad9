"""Logs that end in an allocation that failed: what PyTorch said, and what to change."""

import pytest

from planner.engines.logs import read_log

H100 = (
    "(EngineCore_DP0 pid=8884) ERROR 10-31 15:15:48 [core.py:708] torch.OutOfMemoryError: CUDA out "
    "of memory. Tried to allocate 786.00 MiB. GPU 0 has a total capacity of 79.11 GiB of which "
    "140.75 MiB is free. Process 3270336 has 78.96 GiB memory in use. Of the allocated memory "
    "68.83 GiB is allocated by PyTorch, with 660.00 MiB allocated in private pools (e.g., CUDA "
    "Graphs), and 331.08 MiB is reserved by PyTorch but unallocated."
)
"""vllm-project/vllm issue 27508: gpt-oss-120b on one H100."""
SHARED = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1002.00 MiB. GPU 0 has a total "
    "capacity of 23.52 GiB of which 512.00 MiB is free. Including non-PyTorch memory, this process "
    "has 15.02 GiB memory in use. Of the allocated memory 13.00 GiB is allocated by PyTorch, and "
    "1.02 GiB is reserved by PyTorch but unallocated."
)
LOADED = "INFO Model loading took 14.99 GiB memory and 5.0 seconds\n"
CACHED = f"{LOADED}INFO Available KV cache memory: 4.63 GiB\n"


def test_what_was_asked_free_and_held() -> None:
    """78.96 - 68.83 - 331.08 / 1,024 = 9.81 GiB; 79.11 - 78.96 - 140.75 / 1,024 is nothing."""
    found = read_log(H100)
    assert found.engine == "vllm"
    assert found.refused is not None
    assert found.died is not None
    assert found.died.sentence == (
        "786.00 MiB were asked for where 140.75 MiB of 79.11 GiB were free; PyTorch held 68.83 GiB;"
        " 9.81 GiB of the process lay outside it (context, libraries, communication)"
    )


def test_other_processes_and_what_lies_idle_are_told_apart() -> None:
    """23.52 - 0.5 - 15.02 = 8.00 GiB of others; 15.02 - 13 - 1.02 = 1 GiB outside PyTorch."""
    found = read_log(SHARED)
    assert found.engine == ""
    assert found.died is not None
    for words in (
        "1.00 GiB of the process lay outside", "other processes held 8.00 GiB",
        "1.02 GiB were kept but unused",
    ):  # fmt: skip
        assert words in found.died.sentence
    assert found.died.advice.startswith("end the other processes on the card first")


@pytest.mark.parametrize(
    ("before", "advice"),
    [
        ("", "spread them over more GPUs"),
        (LOADED, "lower --max-num-batched-tokens and --max-num-seqs"),
        (CACHED, "lower --gpu-memory-utilization (the cache gives way)"),
        (
            f"{CACHED}RuntimeError: CUDA out of memory occurred when warming up sampler with 256 "
            "dummy requests.\n",
            "lower --max-num-seqs, or --gpu-memory-utilization",
        ),
    ],
)
def test_advice_is_by_how_far_the_engine_came(before: str, advice: str) -> None:
    found = read_log(before + H100)
    assert found.died is not None
    assert advice in found.died.advice


def test_a_log_that_lived_has_none() -> None:
    assert read_log(CACHED).died is None


def test_flags_are_the_engines_own() -> None:
    log = "[TP0] Load weight end. avail mem=10.0 GB, mem usage=60.0 GB.\n" + SHARED.replace(
        "15.02 GiB memory", "23.00 GiB memory"
    )
    found = read_log(log)
    assert found.engine == "sglang"
    assert found.died is not None
    assert "lower --chunked-prefill-size and --max-running-requests" in found.died.advice
