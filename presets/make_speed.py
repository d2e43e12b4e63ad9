"""Refresh the measured part of speed.json from a record of `validate`.

    python -m presets.make_speed validate/records/h200-full.json h200-sxm-141gb

Points of kernels that speed.json holds published figures for are left out: engines use those
kernels and not this project's.
"""

import json
import sys
from pathlib import Path
from typing import Any

from presets.gpus import load_gpu

_FILE = Path(__file__).with_name("speed.json")
SHARES = ("bf16", "fp16", "fp8")
FP32_SHARE = 0.85
"""Published of other cards: see published_sources."""


def main(record_file: str, gpu_id: str) -> None:
    """Write speed.json again; its published points and its range stay."""
    document: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    record: dict[str, Any] = json.loads(Path(record_file).read_text(encoding="utf-8"))
    gpu, roofs = load_gpu(gpu_id), record["roofs"]
    bandwidth = float(gpu.memory_bandwidth_bytes_per_s or 0)
    known = {(p["kernel"], p["bound"]) for p in document["published"]}
    shares = {
        f"{name}_flops_per_s": round(
            roofs[f"{name}_flops_per_s"] / getattr(gpu, f"{name}_flops_per_s"), 4
        )
        for name in SHARES
    }
    shares |= {"int8_flops_per_s": shares["fp8_flops_per_s"]}
    shares |= {"fp4_flops_per_s": shares["fp8_flops_per_s"], "fp32_flops_per_s": FP32_SHARE}
    document |= {
        "gpu_id": gpu_id,
        "source": f"kernels and roofs measured on {record['card']['name']}, "
        f"{record['started'][:10]}",
        "read_share": round(roofs["read_bytes_per_s"] / bandwidth, 4),
        "copy_share": round(roofs["copy_bytes_per_s"] / bandwidth, 4),
        "flops_shares": shares,
        "measured": [
            {**p, "ideal_s": float(f"{p['ideal_s']:.6g}"), "measured_s": round(p["measured_s"], 9)}
            for p in record["points"]
            if (p["kernel"], p["bound"]) not in known
        ],
    }
    rows_of = {name: document.pop(name) for name in ("published_sources", "measured", "published")}
    lines = json.dumps(document, indent=1)[:-2]
    for name, rows in rows_of.items():
        body = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        lines += f',\n "{name}": [\n{body}\n ]'
    _FILE.write_text(lines + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:3])
