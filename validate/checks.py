"""One check of a suite as data: which function runs, with which sizes, about how long it takes.

A check names its function as "module:function"; nothing here imports torch, so that a page or a
command can list what would run.
"""

from dataclasses import dataclass, field
from typing import Any

Options = dict[str, Any]


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
    seconds: float = 5.0

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


def ladder(kernel: str, sizes: list[list[int]], seconds: float = 2.0, **options: str) -> Check:
    name = "-".join([kernel, *options.values()])
    title = f"Timing {kernel.replace('_', ' ')} {' '.join(options.values())}".strip()
    return Check(
        f"kernels/{name}", title,
        "kernel_points:kernel_cases", {"kernel": kernel, "sizes": sizes, **options}, seconds,
    )  # fmt: skip


def held_out(kernel: str, sizes: list[list[int]], **options: str) -> Check:
    name = "-".join([kernel, *options.values()])
    return Check(
        f"speed/{name}", f"Predicting {kernel.replace('_', ' ')} at other sizes",
        "speed_checks:held_out_cases", {"kernel": kernel, "sizes": sizes, **options}, 1.0,
    )  # fmt: skip


def memory(name: str, title: str, seconds: float = 1.0, **arguments: Any) -> Check:
    return Check(f"memory/{name}", title, f"memory_checks:{name}_cases", arguments, seconds)


def correctness(name: str, title: str, seconds: float, **arguments: Any) -> Check:
    return Check(f"correctness/{name}", title, f"correctness_checks:{name}", arguments, seconds)


def wall(model: str, context: int, seconds: float, **more: Any) -> Check:
    arguments = {
        "name": model, "model": model, "deployment": {"enforce_eager": True}, "context": context,
        **more,
    }  # fmt: skip
    return Check(f"wall/{model}", f"Most users of {model}", "wall:wall_cases", arguments, seconds,
                 ("plan",))  # fmt: skip


def training(name: str, seconds: float, *settings: Options) -> Check:
    return Check(f"training/{name}", f"Training steps of {name}", "training_checks:training_cases",
                 {"name": name, "settings": list(settings)}, seconds)  # fmt: skip


def training_settings(tokens: int, batch: int = 1) -> list[Options]:
    return [
        {"sequence_length": tokens, "micro_batch_size": batch, "attention": attention,
         "recomputation": recomputation}
        for attention in ("flash", "naive")
        for recomputation in ("none", "full")
    ]  # fmt: skip
