"""What planner.engines says of vLLM against public start-up logs.

    python -m benchmarks.engine_accuracy LOGS.jsonl [--records]

LOGS holds one record a line: engine, engine_version, model, gpu, tp, pp, the flags, and `reported`
GiB. A record counts where its model's dimensions, its version and its GPU's memory are known;
engine_log_corrections.json has what the sources of three of them say beyond the lines quoted.
Prints error by component and version, how many lie within the stated range, how wide ranges are,
and refusals.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from planner.deployment import Deployment
from planner.engines.engine import EngineFigures
from planner.engines.vllm.figures import vllm_figures
from planner.engines.vllm.options import VllmOptions
from planner.engines.vllm.versions import rules_of
from planner.errors import SizewellError
from planner.hardware import Gpu, custom_gpu, gpu_with_memory
from planner.hf_config import parse
from planner.units import GIB
from presets.gpus import load_gpu
from presets.models import load_model_config

MODELS = Path(__file__).with_name("engine_models.json")
CORRECTIONS = Path(__file__).with_name("engine_log_corrections.json")
DEFAULT_LOGS = Path(__file__).parents[2] / "shared" / "truth" / "engine_logs.jsonl"
TOTAL_GIB = (
    ("GH200", 94.5), ("H100", 79.19), ("H200", 139.8), ("A100-SXM4-40", 39.49),
    ("A100 40", 39.39), ("L40S", 44.4), ("L4 ", 22.03), ("RTX 3090", 23.58), ("RTX 4090", 23.52),
    ("RTX 5090", 31.36), ("31.4 GiB", 31.36), ("RTX PRO 6000", 95.01), ("T4", 14.56),
    ("V100", 31.74), ("GB10", 119.6), ("44.31 GiB", 44.31), ("48 GB", 44.4),
)  # fmt: skip
"""What a program sees of a card that a record names without its total. First match counts."""
CARDS = (
    ("H100", "h100-sxm5-80gb"), ("GH200", "gh200-96gb"), ("H200", "h200-sxm-141gb"),
    ("A100", "a100-sxm4-80gb"), ("L40S", "l40s"), ("L4 ", "l4"), ("RTX 3090", "rtx-3090"),
    ("RTX 4090", "rtx-4090"), ("RTX 5090", "rtx-5090"), ("GB10", "gb10"),
    ("RTX PRO 6000", "rtx-pro-6000-blackwell-workstation"), ("T4", "t4"),
    ("V100", "v100-sxm2-32gb"), ("MI300X", "mi300x"),
)  # fmt: skip
"""Presets of the cards that records name, for their links and kernels. First match counts."""
LARGER = "is larger than the maximum number of tokens"
COMPONENTS = ("weights", "activation", "non_torch", "kv_cache")
REPORTED = {
    "weights": "weights_gib_per_gpu",
    "activation": "activation_peak_gib",
    "non_torch": "non_torch_gib",
    "kv_cache": "kv_available_gib",
}


@dataclass(frozen=True)
class Result:
    """One record with the figures for it."""

    record: dict[str, Any]
    version: str
    figures: EngineFigures

    def predicted(self, component: str) -> float:
        """GiB, as the logs divide it: from 0.27.1 activation includes the estimate of graphs."""
        if component == "kv_cache":
            return self.figures.kv_cache.bytes / GIB
        together: dict[str, tuple[str, ...]] = {
            "weights": ("weights", "draft_weights", "lora_slots")
        }
        if rules_of(self.version).reads_free_memory:
            together["activation"] = ("activation", "cuda_graphs")
        held = self.figures.components
        parts = together.get(component, (component,))
        return sum(held[part].bytes for part in parts if part in held) / GIB

    def reported(self, component: str) -> float | None:
        reported = self.record["reported"]
        found = reported.get(REPORTED[component])
        if component == "kv_cache" and "kv_available_gib_stage1" in reported:
            found = min(found, reported["kv_available_gib_stage1"])
        return None if found is None else float(found)

    def error(self, component: str) -> float | None:
        """Relative error in percent; None where the record does not say."""
        want = self.reported(component)
        if want is None or want <= 0:
            return None
        return 100 * (self.predicted(component) / want - 1)

    def within(self) -> bool | None:
        """Whether the KV cache lies within the stated range, as logs round it."""
        want, stated = self.reported("kv_cache"), self.figures.kv_cache
        if want is None:
            return None
        return stated.low_bytes / GIB - 0.005 <= want <= stated.high_bytes / GIB + 0.005

    @property
    def width_gib(self) -> float:
        """Of the cache's stated range."""
        return (self.figures.kv_cache.high_bytes - self.figures.kv_cache.low_bytes) / GIB

    @property
    def failed(self) -> bool:
        """Whether the engine refused: by its words, or by what the record says."""
        words = " ".join(self.record["verbatim_lines"])
        return bool(self.record["reported"].get("failed")) or LARGER in words


def known_models() -> dict[str, dict[str, Any]]:
    models = json.loads(MODELS.read_text(encoding="utf-8"))["models"]
    return {name.lower(): entry for name, entry in models.items()}


def corrected(record: dict[str, Any], corrections: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The record with what its source says beyond the lines it quotes."""
    found = dict(corrections.get(record["id"], {}))
    found.pop("why", None)
    reported = record["reported"] | found.pop("reported", {})
    return record | found | {"reported": reported}


def config_of(name: str, models: dict[str, dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """A configuration and the weight format that its name states."""
    entry = models.get(name.lower())
    if entry is None:
        return load_model_config(name), "auto"
    if "config" in entry:
        return json.loads(json.dumps(entry["config"])), entry.get("weights_dtype", "auto")
    config, dtype = config_of(entry["config_of"], models)
    config = json.loads(json.dumps(config)) | entry.get("set", {})
    if "text" in entry:
        text = config["text_config"]
        text.update(entry["text"])
        text["layer_types"] = None
        text.pop("layer_types")
        config["tie_word_embeddings"] = entry["text"].get("tie_word_embeddings", False)
    return config, entry.get("weights_dtype", dtype)


def version_of(text: str | None) -> str | None:
    found = re.search(r"0\.(\d+)(\.\d+)?", text or "")
    return None if found is None else found[0]


def gpu_of(record: dict[str, Any]) -> Gpu | None:
    text = record["gpu"] or ""
    total = record["reported"].get("total_gpu_memory_gib")
    if "+" in text:
        return None
    if total is None:
        total = next((size for name, size in TOTAL_GIB if name in text), None)
    if total is None:
        return None
    preset = next((card for name, card in CARDS if name in text), None)
    if preset is not None:
        return gpu_with_memory(load_gpu(preset), int(float(total) * GIB))
    gpu = custom_gpu(int(float(total) * GIB))
    return gpu.model_copy(update={"id": "card", "compute_capability": "9.0"})


def result_of(record: dict[str, Any], models: dict[str, dict[str, Any]]) -> Result | str:
    """The record with its figures, or why it does not count."""
    version, gpu = version_of(record["engine_version"]), gpu_of(record)
    if record["engine"] != "vllm":
        return "another engine"
    if version is None or gpu is None:
        return "version or GPU unknown"
    if not record["tags"].get("predict_ready"):
        return "flags unknown"
    if "not predictable" in (record.get("confidence_why") or ""):
        return "a flag that counts is unknown"
    dcp = re.search(r"DCP=(\d+)", record["dp_ep_notes"] or "")
    try:
        config, dtype = config_of(record["model"], models)
        model = parse(config, record["model"])
        if record["weights_quant"] == "fp32":
            model, dtype = model.model_copy(update={"dtype": "float32"}), "fp32"
        deployment = Deployment(
            tensor_parallel_size=record["tp"] or 1,
            pipeline_parallel_size=record["pp"] or 1,
            decode_context_parallel_size=int(dcp[1]) if dcp else 1,
            enable_expert_parallel="EP on" in (record["dp_ep_notes"] or ""),
            weights_dtype=dtype,
            kv_cache_dtype="fp8" if (record["kv_dtype"] or "").startswith("fp8") else "auto",
        )
        lora = "lora" in (record["other_flags"] or "")
        options = VllmOptions(
            version=version,
            gpu_memory_utilization=record["gpu_memory_utilization"],
            max_model_len=record["max_model_len"],
            max_num_seqs=record["max_num_seqs"],
            max_num_batched_tokens=record["max_num_batched_tokens"],
            block_size=record["block_size"] if record["block_size"] in (16, 32, 64, 128) else None,
            enforce_eager=bool(record["enforce_eager"]),
            max_loras=1 if lora else None,
            runner="pooling" if "embedding" in record["model"].lower() else "auto",
        )
        return Result(record, version, vllm_figures(model, gpu, deployment, options, config=config))
    except SizewellError as why:
        return str(why)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def era(version: str) -> str:
    """The span of versions that share one set of constants."""
    minor = int(version.split(".")[1])
    ends = (
        (8, "0.6-0.7"),
        (10, "0.8-0.9"),
        (17, "0.10-0.16"),
        (20, "0.17-0.19"),
        (28, "0.20-0.27"),
    )
    return next((name for end, name in ends if minor < end), "0.28-0.33")


def table(results: Iterable[Result], label: Callable[[Result], str]) -> list[str]:
    """Absolute errors in percent: records, mean, median and 90th percentile."""
    rows: dict[tuple[str, str], list[float]] = {}
    for result in results:
        for component in COMPONENTS:
            error = result.error(component)
            if error is not None:
                rows.setdefault((component, label(result)), []).append(abs(error))
                rows.setdefault((component, "all"), []).append(abs(error))
    lines = ["| component | vLLM | records | mean % | median % | p90 % |", "|--|--|--|--|--|--|"]
    for component in COMPONENTS:
        for (name, group), errors in sorted(rows.items()):
            if name == component:
                lines.append(
                    f"| {component} | {group} | {len(errors)} | {mean(errors):.2f} "
                    f"| {median(errors):.2f} | {percentile(errors, 0.9):.2f} |"
                )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", nargs="?", type=Path, default=DEFAULT_LOGS)
    parser.add_argument("--records", action="store_true", help="every record's errors")
    arguments = parser.parse_args()
    if not arguments.logs.exists():
        raise SystemExit(f"{arguments.logs}: there is no such file; name one of start-up logs")
    corrections = json.loads(CORRECTIONS.read_text(encoding="utf-8"))["records"]
    lines = arguments.logs.read_text().splitlines()
    records = [corrected(json.loads(line), corrections) for line in lines]
    models = known_models()
    found = [(record, result_of(record, models)) for record in records]
    results = [result for _, result in found if isinstance(result, Result)]
    if arguments.records:
        for record, result in found:
            if isinstance(result, Result):
                parts = [f"{c} {e:+.2f}" for c in COMPONENTS if (e := result.error(c)) is not None]
                print(record["id"], result.version, *parts, result.figures.refused or "", sep="; ")
            else:
                print(record["id"], "left out:", result)
    print("\n".join(table(results, lambda result: era(result.version))))
    held = {r.record["id"]: r.within() for r in results if r.within() is not None}
    outside = [name for name, within in held.items() if not within]
    print(f"\nKV cache within its range: {len(held) - len(outside)} of {len(held)}; not {outside}")
    widths = [r.width_gib for r in results if r.within() is not None]
    print(
        f"width of the range: median {median(widths):.2f} GiB, mean {mean(widths):.2f}, "
        f"p90 {percentile(widths, 0.9):.2f}, widest {max(widths):.2f}"
    )
    failed = [r for r in results if r.failed]
    wrong = [r.record["id"] for r in results if r not in failed and r.figures.refused]
    missed = [r.record["id"] for r in failed if not r.figures.refused]
    print(f"refusals: {len(failed) - len(missed)} of {len(failed)} reproduced; missed {missed}")
    print(f"started in truth, refused here: {wrong}")


if __name__ == "__main__":
    main()
