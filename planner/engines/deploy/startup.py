"""How long a server may take until it answers: a limit, beyond which it is taken to hang.

Weights come from storage at a rate that the planner cannot know, then the engine compiles, warms
its kernels up and captures graphs. A limit that is too long only finds a hang later; one that is
too short ends a healthy start, again and again (vLLM, docs/deployment/k8s.md, troubleshooting).
"""

from planner.units import MINUTE_S, ceil_div, format_bytes

READ_BYTES_PER_S = 125_000_000
"""What a network of 1 Gbit/s brings. Reports of 67 and 70 billion 16-bit parameters reach from 40
minutes to 3, 59 to 745 MB/s (vllm-project/vllm#2233)."""
PREPARED_S = 15 * MINUTE_S
"""What comes after. Reported: 1.5 to 5 minutes for 8 to 35 billion parameters (vllm-project/vllm
#47456, #44881), 8 of DeepSeek-V4 on 8 GPUs with its weights (#43189)."""


def longest_start_s(weights_bytes: int) -> int:
    """Seconds until a server of so many bytes of weights answers, in whole minutes."""
    seconds = ceil_div(weights_bytes, READ_BYTES_PER_S) + PREPARED_S
    return ceil_div(seconds, MINUTE_S) * MINUTE_S


def remark(weights_bytes: int) -> str:
    """The limit in words, for who knows the storage."""
    return (
        f"A start may take {longest_start_s(weights_bytes) // MINUTE_S:,} minutes: "
        f"{format_bytes(weights_bytes)} at {READ_BYTES_PER_S // 10**6} MB/s, and "
        f"{PREPARED_S // MINUTE_S} to compile and capture. Raise it for slower storage."
    )
