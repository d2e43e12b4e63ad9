"""The suites: which checks run on a GPU, with which sizes."""

from validate.checks import (
    Check,
    DryRun,
    correctness,
    memory,
    training,
    training_settings,
    wall,
)
from validate.ladders import HELD_OUT, KERNELS, MORE_KERNELS, ladders_for
from validate.rehearsal import rehearsal

DEFAULT_MODEL = "llama-3.1-8b"
MIB = 2**20
ALLOCATOR_REQUESTS = [
    [512], [MIB], [MIB + 1], [3 * MIB, 5 * MIB], [10 * MIB], [10 * MIB + 1], [33 * MIB + 7],
    [600_000, 600_000, 600_000, 600_000],
]  # fmt: skip

CARD = Check(
    "card/roofs", "Measuring the roofs of this card", "roofs:roof_cases",
    {"gib": 4, "matrix": 8192}, 2.5, ("gpu",),
)  # fmt: skip
OVERHEADS = Check("card/overheads", "Context and libraries", "overheads:overhead_cases", {}, 0.5)

SHARING = Check(
    "memory/sharing", "Blocks that sequences share", "sharing_checks:sharing_cases",
    {"sequences": 16, "prompt": 4100, "own": 100, "heads": 32, "kv_heads": 8, "dim": 128}, 1.0,
)  # fmt: skip
CLAIMS = Check(
    "speed/claims", "Flash against naive attention", "speed_checks:flash_claims",
    {"tokens": [2048, 4096, 8192], "heads": 32, "dim": 128}, 3.0,
)  # fmt: skip
CACHE = Check(
    "speed/cache", "Paged and fp8 caches", "cache_claims:cache_claims",
    {"sequences": 16, "context": 8192, "heads": 32, "kv_heads": 8, "dim": 128}, 2.0,
)  # fmt: skip
CACHED = Check(
    "speed/cached", "Cached against uncached decoding", "speed_checks:cached_case",
    {"model": DEFAULT_MODEL, "deployment": {"enforce_eager": True}, "layers": 4, "context": 2048},
    2.0, ("plan",),
)  # fmt: skip


PREFILLS = [
    {"tokens": 500, "heads": 8, "kv_heads": 2, "dim": 128},
    {"tokens": 500, "heads": 8, "kv_heads": 2, "dim": 128, "window": 100},
]
MORE_PREFILLS = [
    {"tokens": 1000, "heads": 8, "kv_heads": 8, "dim": 64},
    {"tokens": 1000, "heads": 4, "kv_heads": 1, "dim": 256},
    {"tokens": 500, "heads": 8, "kv_heads": 2, "dim": 128, "format": "fp16"},
    {"tokens": 500, "heads": 8, "kv_heads": 2, "dim": 128, "format": "fp8"},
    {"tokens": 500, "heads": 8, "kv_heads": 8, "dim": 192, "value_dim": 128},
]
DECODES = [
    {"sequences": 5, "context": 1000, "heads": 32, "kv_heads": 8, "dim": 128},
    {"sequences": 5, "context": 1000, "heads": 32, "kv_heads": 8, "dim": 128, "cache": "fp8"},
]
MORE_DECODES = [
    {"sequences": 3, "context": 777, "heads": 32, "kv_heads": 32, "dim": 128},
    {"sequences": 3, "context": 777, "heads": 16, "kv_heads": 1, "dim": 256},
    {"sequences": 3, "context": 777, "heads": 32, "kv_heads": 8, "dim": 128, "window": 100},
]
MLAS = [{"sequences": 3, "context": 512, "heads": 16, "rank": 512, "rope": 64}]


TRAINING = (
    training("smollm2-135m", 10.0, *training_settings(2048, 4)),
    training("llama-3.2-1b", 20.0, *training_settings(4096)),
)


def _quick(model: str) -> tuple[Check, ...]:
    return (
        OVERHEADS,
        CARD,
        memory("allocator", "The allocator's rounding", requests=ALLOCATOR_REQUESTS),
        memory("pool", "Paged pools and block tables", 1.5, shapes=["MHA", "GQA", "MQA", "MLA"],
                formats=["bf16", "fp8"], sizes=[[1000, 3], [8192, 8]], layers=4),
        memory("naive", "Materialised scores", shapes=["GQA"], tokens=[1024, 4096]),
        memory("flash", "Flash attention's workspace", 3.0, shapes=["GQA"], tokens=[1024, 4096]),
        memory("split", "Split-KV partials", 2.0, shapes=["GQA"], formats=["bf16"],
                sizes=[[8192, 1], [4096, 8]]),
        SHARING,
        memory("logits", "Logits", sizes=[[64, 128256, 4096]]),
        correctness("prefill_cases", "Prefill kernels against float64", 2.0, settings=PREFILLS),
        correctness("decode_cases", "Decode kernels against float64", 3.0, settings=DECODES),
        correctness("store_cases", "Cache stores", 2.0, tokens=100, kv_heads=8, dim=128,
                     formats=["bf16", "fp8"]),
        *KERNELS,
        *ladders_for(model),
        *HELD_OUT,
        CLAIMS,
        DryRun(model).check(),
        wall(model, 8192, 6.0),
    )  # fmt: skip


FULL_DRY_RUNS: tuple[DryRun, ...] = (
    DryRun(DEFAULT_MODEL),
    DryRun("qwen3-8b"),
    DryRun("qwen3-30b-a3b"),
    DryRun("deepseek-v2-lite"),
    DryRun("gemma-3-27b-it", users=48),
    DryRun(DEFAULT_MODEL, weights_dtype="fp8", kv_cache_dtype="fp8"),
    DryRun("gpt-oss-20b", seconds=3.0),
    DryRun("deepseek-v3", weights_dtype="bf16"),
)


def _full(model: str) -> tuple[Check, ...]:
    dry_runs = FULL_DRY_RUNS
    if all(run.model != model for run in dry_runs):
        dry_runs = (DryRun(model), *dry_runs)
    kinds, formats = ["MHA", "GQA", "MQA", "MLA"], ["bf16", "fp16", "fp8"]
    return (
        OVERHEADS,
        CARD,
        memory("allocator", "The allocator's rounding", requests=ALLOCATOR_REQUESTS),
        memory("pool", "Paged pools and block tables", 8.0, shapes=kinds, formats=formats,
                sizes=[[1000, 64], [8192, 8], [131072, 1]], layers=4),
        memory("naive", "Materialised scores", shapes=kinds[:3], tokens=[1024, 2048, 4096]),
        memory("flash", "Flash attention's workspace", 5.0, shapes=kinds[:3],
                tokens=[1024, 4096, 16384]),
        memory("split", "Split-KV partials", 5.0, shapes=kinds[:3], formats=["bf16", "fp8"],
                sizes=[[8192, 1], [4096, 8], [1024, 64]]),
        SHARING,
        memory("logits", "Logits", sizes=[[1, 128256, 4096], [64, 128256, 4096],
                                           [256, 151936, 4096]]),
        *KERNELS,
        *MORE_KERNELS,
        *HELD_OUT,
        CLAIMS,
        CACHE,
        CACHED,
        *(run.check() for run in dry_runs),
        wall(DEFAULT_MODEL, 8192, 8.0),
        *(() if model == DEFAULT_MODEL else (wall(model, 8192, 8.0),)),
        *TRAINING,
        correctness("prefill_cases", "Prefill kernels against float64", 20.0,
                     settings=PREFILLS + MORE_PREFILLS),
        correctness("varlen_case", "Packed prefill against float64", 3.0,
                     lengths=[300, 0, 77, 500], heads=8, kv_heads=2, dim=128),
        correctness("decode_cases", "Decode kernels against float64", 8.0,
                     settings=DECODES + MORE_DECODES),
        correctness("mla_cases", "MLA decode against float64", 3.0, settings=MLAS),
        correctness("store_cases", "Cache stores", 2.0, tokens=100, kv_heads=8, dim=128,
                     formats=["bf16", "fp8"]),
    )  # fmt: skip


def suite(name: str, *, device: str = "cuda:0", model: str = DEFAULT_MODEL) -> tuple[Check, ...]:
    """The checks of "quick" or "full", in order."""
    if device == "cpu":
        return rehearsal(name)
    return _quick(model) if name == "quick" else _full(model)
