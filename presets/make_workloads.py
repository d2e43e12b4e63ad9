"""Make workloads.json from request traces.

    python -m presets.make_workloads azure_llm_trace_2023_conv.csv azure_llm_trace_2023_code.csv

A trace is a CSV with the columns TIMESTAMP, ContextTokens and GeneratedTokens. The two of 2023 are
published in the repository Azure/AzurePublicDataset.
"""

import csv
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from presets.workloads import TokenQuantiles, TraceSummary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ATTRIBUTION = (
    "Azure LLM inference traces 2023, Microsoft, CC BY 4.0; published with Patel et al., "
    "Splitwise: Efficient Generative LLM Inference Using Phase Splitting, ISCA 2024"
)
URL = "https://github.com/Azure/AzurePublicDataset"
TRACES = {
    "azure_llm_trace_2023_conv": ("azure-conversation-2023", "Azure conversation, November 2023"),
    "azure_llm_trace_2023_code": ("azure-code-2023", "Azure code completion, November 2023"),
}
QUANTILES = {"p10": 0.1, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def summarise(path: Path) -> TraceSummary:
    """The summary of one trace file, whose stem is a key of TRACES."""
    import numpy as np

    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    times = [datetime.fromisoformat(row["TIMESTAMP"]) for row in rows]
    arrivals_s = np.sort(np.array([(time - min(times)).total_seconds() for time in times]))
    gaps_s = np.diff(arrivals_s)
    duration_s = float(arrivals_s[-1])
    trace_id, name = TRACES[path.stem]
    return TraceSummary(
        id=trace_id,
        name=name,
        attribution=ATTRIBUTION,
        url=URL,
        request_count=len(rows),
        duration_s=round(duration_s, 3),
        requests_per_s=round((len(rows) - 1) / duration_s, 4),
        busiest_minute_requests_per_s=round(
            int(np.bincount((arrivals_s // 60).astype(np.int64)).max()) / 60, 4
        ),
        interarrival_cv=round(float(gaps_s.std() / gaps_s.mean()), 4),
        context_tokens=_quantiles(np.array([int(row["ContextTokens"]) for row in rows])),
        generated_tokens=_quantiles(np.array([int(row["GeneratedTokens"]) for row in rows])),
    )


def _quantiles(tokens: "NDArray[np.int64]") -> TokenQuantiles:
    import numpy as np

    values = np.quantile(tokens, list(QUANTILES.values()), method="inverted_cdf")
    return TokenQuantiles(
        mean=round(float(tokens.mean()), 2),
        min=int(tokens.min()),
        max=int(tokens.max()),
        **{name: int(value) for name, value in zip(QUANTILES, values, strict=True)},
    )


def main(paths: list[str]) -> None:
    traces = [summarise(Path(path)).model_dump() for path in paths]
    target = Path(__file__).with_name("workloads.json")
    target.write_text(json.dumps({"traces": traces}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
