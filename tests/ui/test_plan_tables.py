"""Tables of a plan's depth that hold figures of their own."""

import re

from planner.deployment import Deployment
from planner.plan import Plan, make_plan
from planner.workload import Workload
from presets.gpus import load_gpu
from ui import plan_tables
from ui.model_source import from_preset


def plan(model: str, context: int) -> Plan:
    return make_plan(
        from_preset(model).model,
        load_gpu("h100-sxm5-80gb"),
        Deployment(),
        Workload(context=context),
    )


def test_lengths_go_up_to_what_the_model_supports_and_have_the_plan_s_own() -> None:
    assert plan_tables.shown_lengths(plan("llama-3.1-8b", 8192)) == [2048, 8192, 32768, 131072]
    assert plan_tables.shown_lengths(plan("llama-3.1-8b", 200_000))[-2:] == [131072, 200_000]
    assert plan_tables.shown_lengths(plan("mamba-2.8b-hf", 5000)) == [2048, 5000, 8192, 20_000]


def test_the_cache_of_each_length_is_exact() -> None:
    """2 x 8 heads x 128 x 2 B x 32 layers = 128 KiB a token."""
    html = plan_tables.lengths_html(plan("llama-3.1-8b", 8192))
    sizes = re.findall(r"Cache: </span>([\d.]+ [GM]iB)<", html)
    assert sizes == ["256.00 MiB", "1.00 GiB", "4.00 GiB", "16.00 GiB"]
    assert 'class="sz-table sz-stack"' in html
    assert re.search(r'<tr class="sz-strong"><th scope="row">8,192 tokens', html)
    shares = [int(n) for n in re.findall(r"arithmetic: </span>(\d+) %", html)]
    assert len(shares) == 4
    assert shares == sorted(shares)
