"""The Compare page without a browser: every question, refusals in their rows, kept plans."""

import json
import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from cli import main
from planner.deployment import Deployment
from planner.parameters import count
from planner.plan import Plan, make_plan
from planner.units import format_bytes
from planner.variants import attention_variants
from planner.workload import Workload
from presets.gpus import load_gpu
from presets.prices import prices_of
from ui import alternatives, kept
from ui.model_source import from_preset

PAGES = Path(__file__).resolve().parents[2] / "ui" / "pages"


def script(name: str) -> str:
    """The router in short: inputs, then one page."""
    path = str(PAGES / f"{name}.py")
    return f"import runpy\nfrom ui import inputs\ninputs.draw()\nrunpy.run_path({path!r})\n"


def page(**query: str | list[str]) -> AppTest:
    app = AppTest.from_string(script("compare"), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def html(app: AppTest) -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def bars(app: AppTest) -> str:
    return "\n".join(m.value for m in app.markdown if "<svg" in m.value)


def test_attention_has_a_row_a_bar_and_a_line_each() -> None:
    app = page()
    names = [v.name for v in attention_variants(from_preset("llama-3.1-8b").model)]
    assert len(names) == 6
    chart = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert [trace["name"] for trace in chart["data"]] == names
    for name in names:
        assert f">{name}</th>" in html(app)
        assert f">{name}:" in bars(app)
    mla = next(trace for trace in chart["data"] if trace["name"] == "MLA")
    assert mla["y"][0] == 1024 * 32 * (512 + 64) * 2


def test_times_and_dollars_are_those_of_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And they add up to the hour: 8 cards at 1.50 dollars or whatever the list says."""
    query: dict[str, str] = {"model": "deepseek-v3", "gpus": "8", "context": "5120", "users": "64"}
    said = html(page(by="GPUs", gpu="mi300x", **query))
    words = ["latency", "--model", "deepseek-v3", "--gpu", "mi300x", "-tp", "8", "--format", "json"]
    words += ["--prompt-tokens", "4096", "--output-tokens", "1024", "--concurrency", "64"]
    assert main(words) == 0
    out = json.loads(capsys.readouterr().out)
    bill, load = out["cost"], out["under_load"]
    prices = [f"{bill[f'usd_per_million_{kind}_tokens']:,.2f}" for kind in ("input", "output")]
    shown = ("64", f"{1e3 * out['ttft']['seconds']:,.0f} (", f"{1e3 * load['tpot_s']:,.1f}",
             f"{load['output_tokens_per_s']:,.0f}", *prices)  # fmt: skip
    row = said[said.rindex(">mi300x</th>") :].partition("</tr>")[0]
    cells = re.findall(r"</span>([^<]+)</td>", row)
    assert len(cells) == len(shown)
    assert all(cell.startswith(text) for cell, text in zip(cells, shown, strict=True))
    per_s = load["requests_per_s"]
    hour = 3600e-6 * per_s * (4096 * float(prices[0]) + 1024 * float(prices[1]))
    assert hour == pytest.approx(8 * bill["usd_per_gpu_hour"], rel=0.02)


def test_a_card_without_a_speed_says_so() -> None:
    found = page(by="GPUs", cards="apple-m2-ultra", context="4096", users="1")
    said = [caption.value for caption in found.caption]
    assert any("apple-m2-ultra: no arithmetic rate is published" in text for text in said)


def test_forms_can_be_compared_at_the_same_parameters() -> None:
    """MQA saves 32 x 2 x 4096 x 7 x 128; a step of 128 in width costs 32 x 3 x 4096 x 128."""
    assert ">7.80 B<" in html(page())
    app = page(same="true")
    assert round((32 * 2 * 4096 * 7 * 128) / (32 * 3 * 4096 * 128)) == 5
    assert "feed-forward 14,976 instead of 14,336" in "".join(c.value for c in app.caption)
    assert html(app).count(">8.03 B<") >= 3
    assert ">7.80 B<" not in html(app)


@pytest.mark.parametrize("by", ["KV cache", "Weights", "GPUs", "Models"])
def test_every_question_is_answered(by: str) -> None:
    app = page(by=by)
    assert "<svg" in bars(app)
    assert "fits" in html(app)


def test_formats_are_compared_by_their_bytes() -> None:
    found = html(page(by="Weights"))
    bf16 = 2 * count(from_preset("llama-3.1-8b").model).total
    assert format_bytes(bf16) in found


def test_a_refused_alternative_says_why_in_its_row() -> None:
    found = html(page(by="KV cache", model="phi-2", kvs=["nvfp4", "fp8_ds_mla"]))
    assert "Refused: fp8_ds_mla" in found


def test_what_was_chosen_stands_among_the_others() -> None:
    found = html(page(by="Models", model="phi-2"))
    assert "microsoft/phi-2 (chosen)" in found
    assert "(chosen)" not in html(page(by="Models", model="qwen3-8b"))
    assert "l4 (chosen)" in html(page(by="GPUs", gpu="l4"))


def test_gpus_have_their_listed_prices() -> None:
    """Two of each; the price of an hour over the users that the memory holds."""
    shown = alternatives.gpus(make_two(), ["h100-sxm5-80gb", "rtx-2080-ti"])
    h100 = min(p.usd_per_gpu_hour for p in prices_of("h100-sxm5-80gb") if p.kind == "on-demand")
    assert shown[1].plan is not None
    assert shown[1].price is not None
    assert shown[1].price.usd_per_gpu_hour == h100
    users = shown[1].plan.max_concurrency
    assert users
    table = alternatives.table(shown, "GPU")
    assert f"${2 * h100:,.2f}" in table
    assert f"${2 * h100 / users:,.3f}" in table
    said = html(page(by="GPUs", gpu="l4"))
    assert "Per hour and user" in said
    assert "Per hour" not in html(page(by="KV cache"))


def test_what_no_choice_changes_is_left_out() -> None:
    columns = {"Parameters", "Weights, whole model", "KV cache per token", "One sequence"}
    for by, changed in (
        ("Weights", {"Weights, whole model"}),
        ("KV cache", {"KV cache per token", "One sequence"}),
        ("GPUs", set()),
        ("Models", columns),
    ):
        found = html(page(by=by))
        assert {name for name in columns if f">{name}</th>" in found} == changed


def make_two() -> Plan:
    """Llama-3.1-8B on two L4."""
    return make_plan(
        from_preset("llama-3.1-8b").model, load_gpu("l4"), Deployment(tensor_parallel_size=2),
        Workload(),
    )  # fmt: skip


def test_no_choice_is_a_hint() -> None:
    app = page(by="GPUs")
    app.multiselect(key="cards").set_value([]).run()
    assert not app.exception
    assert "at least one" in app.info[0].value


def test_refused_inputs_are_a_sentence_here_too() -> None:
    app = page(gpus="3")
    assert "cannot share 32 attention heads" in app.error[0].value


def test_kept_plans_stand_side_by_side() -> None:
    app = page(by="Kept plans")
    assert "Keep for comparison" in app.info[0].value
    plan_page = AppTest.from_string(script("plan"), default_timeout=60).run()
    for users in (1, 2, 3, 4, 5):
        plan_page.number_input(key="users").set_value(users).run()
        plan_page.button(key="keep").click().run()
    plans = plan_page.session_state["kept_plans"]
    assert [p.workload.concurrency for p in plans] == [2, 3, 4, 5]
    links = plan_page.session_state["kept"]
    assert links == [f"model=llama-3.1-8b,gpu=h100-sxm5-80gb,users={n}" for n in (2, 3, 4, 5)]
    app.session_state["kept_plans"], app.session_state["kept"] = plans, links
    app.run()
    assert not app.exception
    assert html(app).count("fits") >= 4
    assert "2 users of 32,768 tokens" in html(app)
    assert any("They are in the link" in caption.value for caption in app.caption)


def test_kept_plans_of_one_model_have_names_of_their_own() -> None:
    model, gpu = from_preset("llama-3.1-8b").model, load_gpu("l40s")

    def plan(users: int, kv: str) -> Plan:
        work = Workload(context=8192, concurrency=users)
        return make_plan(model, gpu, Deployment(kv_cache_dtype=kv), work)

    assert kept.names([plan(1, "auto"), plan(2, "auto")]) == [
        "1. Llama-3.1-8B on 1 × L40S, 1 × 8,192",
        "2. Llama-3.1-8B on 1 × L40S, 2 × 8,192",
    ]
    names = kept.names([plan(1, "auto"), plan(1, "fp8")])
    assert [name.rpartition(", ")[2] for name in names] == ["KV bf16", "KV fp8"]


def test_a_price_by_the_lot_says_its_lot() -> None:
    """Lambda sells these by eights (presets/prices.json)."""
    found = page(by="Weights", gpu="a100-sxm4-40gb", model="llama-3.1-8b", context="4096")
    assert any(
        "sold 8 at a time (8 paid for, 1 used), Lambda" in caption.value
        for caption in found.caption
    )


def test_cards_stand_in_the_link_by_their_ids() -> None:
    app = page(by="GPUs")
    app.multiselect(key="cards").set_value(["rtx-4090", "p40"]).run()
    assert app.query_params["cards"] == ["rtx-4090", "p40"]
    app.multiselect(key="cards").set_value([]).run()
    assert app.query_params["cards"] == ""
    assert page(by="GPUs", cards="").multiselect(key="cards").value == []
    assert page(by="GPUs", cards="p40").multiselect(key="cards").value == ["p40"]


def test_a_link_with_more_than_can_be_compared_has_its_first() -> None:
    many = ["t4", "l4", "a10", "a30", "a40", "l40", "l40s", "p40", "a2", "a16", "h200-nvl-141gb"]
    shown = page(by="GPUs", cards=many).multiselect(key="cards").value
    assert 2 <= len(shown) < len(many)
    assert shown == many[: len(shown)]


def test_models_are_found_by_what_people_type() -> None:
    app = page(by="Models", models="llama-3.1-8b")
    box = app.multiselect(key="models")
    assert box.value == ["llama-3.1-8b"]
    assert "Llama 3.1 8B · llama-3.1-8b" in box.options
    assert "DeepSeek R1 · deepseek-r1" in box.options
