"""The suites as data: which checks run, with which sizes, and about how long each takes.

A check names its function as "module:function"; nothing here imports torch, so that a page or a
command can list what would run.
"""

from dataclasses import dataclass, field
from typing import Any

Options = dict[str, Any]
DEFAULT_MODEL = "llama-3.1-8b"


@dataclass(frozen=True)
class Check:
    """One isolated piece of work. seconds: on an H200, for the time left that a page shows.

    needs: what it is handed: "gpu" (the data file's entry), "plan" (model, GPU and deployment).
    """

    id: str
    title: str
    run: str
    arguments: Options = field(default_factory=dict)
    seconds: float = 1.0
    needs: tuple[str, ...] = ()

    @property
    def section(self) -> str:
        return self.id.split("/")[0]


@dataclass(frozen=True)
class DryRun:
    """A model as planned: context, users and formats of its dry run."""

    model: str
    users: int = 64
    context: int = 8192
    weights_dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    seconds: float = 8.0

    @property
    def name(self) -> str:
        parts = [self.model]
        if self.weights_dtype != "auto":
            parts.append(f"{self.weights_dtype} weights")
        if self.kv_cache_dtype != "auto":
            parts.append(f"{self.kv_cache_dtype} cache")
        return ", ".join(parts)

    def check(self) -> Check:
        arguments = {
            "name": self.name,
            "model": self.model,
            "deployment": {
                "weights_dtype": self.weights_dtype,
                "kv_cache_dtype": self.kv_cache_dtype,
                "enforce_eager": True,
            },
            "workload": {"context": self.context, "concurrency": self.users},
        }
        return Check(
            f"dry_run/{self.name.replace(' ', '-').replace(',', '')}",
            f"Dry run of {self.name}",
            "dry_run:dry_run_cases",
            arguments,
            self.seconds,
            ("plan",),
        )


def _ladder(kernel: str, sizes: list[list[int]], seconds: float = 2.0, **options: str) -> Check:
    name = "-".join([kernel, *options.values()])
    title = f"Timing {kernel.replace('_', ' ')} {' '.join(options.values())}".strip()
    return Check(
        f"kernels/{name}", title,
        "kernel_points:kernel_cases", {"kernel": kernel, "sizes": sizes, **options}, seconds,
    )  # fmt: skip


def _held_out(kernel: str, sizes: list[list[int]], **options: str) -> Check:
    name = "-".join([kernel, *options.values()])
    return Check(
        f"speed/{name}", f"Predicting {kernel.replace('_', ' ')} at other sizes",
        "speed_checks:held_out_cases", {"kernel": kernel, "sizes": sizes, **options}, 1.0,
    )  # fmt: skip


def _memory(name: str, title: str, seconds: float = 1.0, **arguments: Any) -> Check:
    return Check(f"memory/{name}", title, f"memory_checks:{name}_cases", arguments, seconds)


def _correctness(name: str, title: str, seconds: float, **arguments: Any) -> Check:
    return Check(f"correctness/{name}", title, f"correctness_checks:{name}", arguments, seconds)


MIB = 2**20
ALLOCATOR_REQUESTS = [
    [512], [MIB], [MIB + 1], [3 * MIB, 5 * MIB], [10 * MIB], [10 * MIB + 1], [33 * MIB + 7],
    [600_000, 600_000, 600_000, 600_000],
]  # fmt: skip

CARD = Check(
    "card/roofs", "Measuring the roofs of this card", "roofs:roof_cases",
    {"gib": 4, "matrix": 8192}, 4.0, ("gpu",),
)  # fmt: skip
OVERHEADS = Check("card/overheads", "Context and libraries", "overheads:overhead_cases", {}, 2.0)

DECODE_MATMULS = [
    [64, 512, 2048], [64, 1024, 2048], [64, 2048, 4096], [64, 4096, 4096], [64, 8192, 4096],
    [64, 8192, 8192], [64, 16384, 8192], [64, 32768, 8192],
]  # fmt: skip
PREFILL_MATMULS = [
    [8192, 512, 2048], [8192, 1024, 1024], [8192, 2048, 2048], [8192, 4096, 4096],
    [8192, 8192, 8192], [8192, 16384, 8192],
]  # fmt: skip
KERNELS = (
    _ladder("matmul", DECODE_MATMULS + PREFILL_MATMULS, 3.0),
    _ladder("elementwise", [[64, 4096], [1024, 4096], [8192, 4096]], 3.0),
    _ladder("flash_attention", [[1024, 32, 8, 128], [4096, 32, 8, 128], [16384, 32, 8, 128]], 6.0),
    _ladder(
        "paged_decode",
        [[1, 1024, 32, 8, 128], [8, 1024, 32, 8, 128], [4, 4096, 32, 8, 128],
         [16, 1024, 32, 8, 128], [32, 1024, 32, 8, 128], [64, 1024, 32, 8, 128],
         [16, 8192, 32, 8, 128], [64, 8192, 32, 8, 128]], 5.0,
    ),
)  # fmt: skip
MORE_KERNELS = (
    _ladder("matmul", [[64, 2048, 4096], [64, 8192, 4096], [64, 16384, 8192], [8192, 2048, 2048],
                       [8192, 4096, 4096], [8192, 16384, 8192]], 2.0, numbers="fp8"),
    _ladder("grouped_matmul", [[4, 32, 1024, 1024], [4, 64, 1536, 2048], [4, 128, 2048, 2048],
                               [512, 64, 1024, 1024], [512, 64, 2048, 2048],
                               [512, 128, 2048, 2048]], 4.0),
    _ladder("routing", [[64, 128, 8], [1024, 128, 8], [8192, 128, 8]]),
    _ladder("flash_attention", [[1024, 16, 16, 192], [4096, 16, 16, 192], [16384, 16, 16, 192]],
            5.0, value_dim="128"),
    _ladder("flash_attention", [[2048, 32, 16, 128], [4096, 32, 16, 128], [16384, 32, 16, 128]],
            5.0, window="1024"),
    _ladder("paged_decode", [[8, 1024, 32, 8, 128], [64, 1024, 32, 8, 128],
                             [64, 8192, 32, 8, 128]], 3.0, cache="fp8"),
    _ladder("paged_decode", [[8, 4096, 32, 8, 128], [32, 4096, 32, 8, 128],
                             [128, 4096, 32, 8, 128]], 3.0, window="1024"),
    _ladder("mla_decode", [[8, 1024, 16, 512, 64], [64, 1024, 16, 512, 64],
                           [64, 8192, 16, 512, 64]], 4.0),
)  # fmt: skip
HELD_OUT = (
    _held_out("matmul", [[48, 5120, 5120], [48, 13824, 5120], [6144, 5120, 5120]]),
    _held_out("flash_attention", [[6144, 40, 8, 128]]),
    _held_out("paged_decode", [[24, 5000, 40, 8, 128], [16, 2048, 64, 8, 128]]),
)
CLAIMS = Check(
    "speed/claims", "Flash against naive attention", "speed_checks:flash_claims",
    {"tokens": [2048, 4096, 8192], "heads": 32, "dim": 128}, 3.0,
)  # fmt: skip
CACHED = Check(
    "speed/cached", "Cached against uncached decoding", "speed_checks:cached_case",
    {"model": DEFAULT_MODEL, "deployment": {"enforce_eager": True}, "layers": 4, "context": 2048},
    2.0, ("plan",),
)  # fmt: skip


def _wall(model: str, context: int, seconds: float, **more: Any) -> Check:
    arguments = {
        "name": model, "model": model, "deployment": {"enforce_eager": True}, "context": context,
        **more,
    }  # fmt: skip
    return Check(f"wall/{model}", f"Most users of {model}", "wall:wall_cases", arguments, seconds,
                 ("plan",))  # fmt: skip


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


def _ladders_for(model: str) -> tuple[Check, ...]:
    """The further ladders that predicting this model's dry run takes."""
    from planner.deployment import Deployment
    from planner.timing.step_costs import step_costs
    from validate.inputs import model_of

    found, deployment = model_of(model), Deployment()
    work = step_costs(found, deployment, "decode", 1, [1]).work
    work += step_costs(found, deployment, "prefill", 1, [1]).work
    needed = {(w.kernel, word) for w in work for word in ("", *w.variant.split())}

    def wanted(check: Check) -> bool:
        kernel, options = check.arguments["kernel"], check.arguments
        words = ["window"] * ("window" in options)
        words += [options[key] for key in ("numbers", "cache") if key in options]
        words += [f"d192/{options['value_dim']}"] if "value_dim" in options else []
        return all((kernel, word) in needed for word in words or [""])

    return tuple(check for check in MORE_KERNELS if wanted(check))


def _training(name: str, seconds: float, *settings: Options) -> Check:
    return Check(f"training/{name}", f"Training steps of {name}", "training_checks:training_cases",
                 {"name": name, "settings": list(settings)}, seconds)  # fmt: skip


def _settings(tokens: int, batch: int = 1) -> list[Options]:
    return [
        {"sequence_length": tokens, "micro_batch_size": batch, "attention": attention,
         "recomputation": recomputation}
        for attention in ("flash", "naive")
        for recomputation in ("none", "full")
    ]  # fmt: skip


TRAINING = (
    _training("smollm2-135m", 10.0, *_settings(2048, 4)),
    _training("llama-3.2-1b", 20.0, *_settings(4096)),
)


def _quick(model: str) -> tuple[Check, ...]:
    return (
        OVERHEADS,
        CARD,
        _memory("allocator", "The allocator's rounding", requests=ALLOCATOR_REQUESTS),
        _memory("pool", "Paged pools and block tables", 1.5, shapes=["MHA", "GQA", "MQA", "MLA"],
                formats=["bf16", "fp8"], sizes=[[1000, 3], [8192, 8]], layers=4),
        _memory("naive", "Materialised scores", shapes=["GQA"], tokens=[1024, 4096]),
        _memory("flash", "Flash attention's workspace", 3.0, shapes=["GQA"], tokens=[1024, 4096]),
        _memory("split", "Split-KV partials", 2.0, shapes=["GQA"], formats=["bf16"],
                sizes=[[8192, 1], [4096, 8]]),
        _memory("logits", "Logits", sizes=[[64, 128256, 4096]]),
        _correctness("prefill_cases", "Prefill kernels against float64", 6.0, settings=PREFILLS),
        _correctness("decode_cases", "Decode kernels against float64", 3.0, settings=DECODES),
        _correctness("store_cases", "Cache stores", 2.0, tokens=100, kv_heads=8, dim=128,
                     formats=["bf16", "fp8"]),
        *KERNELS,
        *_ladders_for(model),
        *HELD_OUT,
        CLAIMS,
        DryRun(model).check(),
        _wall(model, 8192, 6.0),
    )  # fmt: skip


FULL_DRY_RUNS: tuple[DryRun, ...] = (
    DryRun(DEFAULT_MODEL),
    DryRun("qwen3-8b"),
    DryRun("qwen3-30b-a3b"),
    DryRun("deepseek-v2-lite"),
    DryRun("gemma-3-27b-it", users=48),
    DryRun(DEFAULT_MODEL, weights_dtype="fp8", kv_cache_dtype="fp8"),
    DryRun("gpt-oss-20b", seconds=3.0),
)


def _full(model: str) -> tuple[Check, ...]:
    dry_runs = FULL_DRY_RUNS
    if all(run.model != model for run in dry_runs):
        dry_runs = (DryRun(model), *dry_runs)
    kinds, formats = ["MHA", "GQA", "MQA", "MLA"], ["bf16", "fp16", "fp8"]
    return (
        OVERHEADS,
        CARD,
        _memory("allocator", "The allocator's rounding", requests=ALLOCATOR_REQUESTS),
        _memory("pool", "Paged pools and block tables", 8.0, shapes=kinds, formats=formats,
                sizes=[[1000, 64], [8192, 8], [131072, 1]], layers=4),
        _memory("naive", "Materialised scores", shapes=kinds[:3], tokens=[1024, 2048, 4096]),
        _memory("flash", "Flash attention's workspace", 5.0, shapes=kinds[:3],
                tokens=[1024, 4096, 16384]),
        _memory("split", "Split-KV partials", 5.0, shapes=kinds[:3], formats=["bf16", "fp8"],
                sizes=[[8192, 1], [4096, 8], [1024, 64]]),
        _memory("logits", "Logits", sizes=[[1, 128256, 4096], [64, 128256, 4096],
                                           [256, 151936, 4096]]),
        *KERNELS,
        *MORE_KERNELS,
        *HELD_OUT,
        CLAIMS,
        CACHED,
        *(run.check() for run in dry_runs),
        _wall(DEFAULT_MODEL, 8192, 8.0),
        *(() if model == DEFAULT_MODEL else (_wall(model, 8192, 8.0),)),
        *TRAINING,
        _correctness("prefill_cases", "Prefill kernels against float64", 20.0,
                     settings=PREFILLS + MORE_PREFILLS),
        _correctness("varlen_case", "Packed prefill against float64", 3.0,
                     lengths=[300, 0, 77, 500], heads=8, kv_heads=2, dim=128),
        _correctness("decode_cases", "Decode kernels against float64", 8.0,
                     settings=DECODES + MORE_DECODES),
        _correctness("mla_cases", "MLA decode against float64", 3.0, settings=MLAS),
        _correctness("store_cases", "Cache stores", 2.0, tokens=100, kv_heads=8, dim=128,
                     formats=["bf16", "fp8"]),
    )  # fmt: skip


def _tiny(suite: str) -> tuple[Check, ...]:
    """A rehearsal without a GPU: every kind of check, at sizes the interpreter can do."""
    plan: Options = {"model": "rehearsal", "deployment": {
        "enforce_eager": True, "max_num_batched_tokens": 32}}  # fmt: skip
    quick = (
        Check("card/roofs", "Measuring the roofs of this card", "roofs:roof_cases",
              {"gib": 1 / 2**12, "matrix": 64}, 1.0, ("gpu",)),
        _memory("allocator", "The allocator's rounding", requests=[[512]]),
        _memory("pool", "Paged pools and block tables", shapes=["tiny GQA", "MLA"],
                formats=["fp16", "fp8"], sizes=[[100, 2]], layers=2),
        _memory("naive", "Materialised scores", shapes=["tiny GQA"], tokens=[64]),
        _memory("flash", "Flash attention's workspace", shapes=["tiny GQA"], tokens=[32]),
        _memory("split", "Split-KV partials", shapes=["tiny GQA"], formats=["fp16"],
                sizes=[[512, 1]]),
        _memory("logits", "Logits", sizes=[[4, 512, 64]]),
        _correctness("prefill_cases", "Prefill kernels against float64", 1.0,
                     settings=[{"tokens": 40, "heads": 2, "kv_heads": 1, "dim": 64}]),
        _correctness("decode_cases", "Decode kernels against float64", 1.0, settings=[
            {"sequences": 2, "context": 40, "heads": 2, "kv_heads": 1, "dim": 64}]),
        _ladder("matmul", [[4, 64, 64]]),
        _ladder("paged_decode", [[1, 64, 2, 1, 64]]),
        _held_out("matmul", [[4, 96, 64]]),
        Check("dry_run/rehearsal", "Dry run of a tiny model", "dry_run:dry_run_cases",
              {"name": "rehearsal", **plan, "workload": {"context": 32, "concurrency": 2}},
              3.0, ("plan",)),
        Check("wall/rehearsal", "Most users of a tiny model", "wall:wall_cases",
              {"name": "rehearsal", **plan, "context": 32, "pretend_bytes": 860 * MIB}, 2.0,
              ("plan",)),
    )  # fmt: skip
    more = (
        _ladder("elementwise", [[16, 128]]),
        _ladder("routing", [[8, 4, 2]]),
        _ladder("grouped_matmul", [[4, 4, 32, 32]]),
        _ladder("flash_attention", [[32, 2, 1, 64]]),
        _ladder("mla_decode", [[1, 32, 4, 64, 16]]),
        _correctness("varlen_case", "Packed prefill", 1.0, lengths=[20, 0, 9], heads=2,
                     kv_heads=1, dim=64),
        _correctness("mla_cases", "MLA decode", 1.0, settings=[
            {"sequences": 2, "context": 32, "heads": 4, "rank": 64, "rope": 16}]),
        _correctness("store_cases", "Cache stores", 1.0, tokens=20, kv_heads=2, dim=64,
                     formats=["fp16", "fp8"]),
        _training("rehearsal", 2.0, *_settings(32)[::3]),
        Check("speed/claims", "Flash against naive attention", "speed_checks:flash_claims",
              {"tokens": [32, 64], "heads": 2, "dim": 64}, 1.0),
        Check("speed/cached", "Cached against uncached decoding", "speed_checks:cached_case",
              {**plan, "layers": 2, "context": 32}, 2.0, ("plan",)),
    )  # fmt: skip
    return quick if suite == "quick" else (*quick, *more)


def suite(name: str, *, device: str = "cuda:0", model: str = DEFAULT_MODEL) -> tuple[Check, ...]:
    """The checks of "quick" or "full", in order."""
    if device == "cpu":
        return _tiny(name)
    return _quick(model) if name == "quick" else _full(model)
