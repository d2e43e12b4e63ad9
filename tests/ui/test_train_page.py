"""The Train page without a browser."""

import re
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from cli import train_command
from planner.training.export import memory_rows
from planner.training.plan import plan_training
from planner.training.recipe import USUAL, Lora, Recipe
from planner.units import format_bytes
from presets.gpus import load_gpu
from ui.model_source import from_preset
from ui.style import component_css
from ui.train_view import bar, parts

PAGE = Path(__file__).resolve().parents[2] / "ui" / "pages" / "train.py"


def page(**query: str) -> AppTest:
    script = f"import runpy\nfrom ui import inputs\ninputs.draw()\nrunpy.run_path({str(PAGE)!r})\n"
    app = AppTest.from_string(script, default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception
    return app


def html(app: AppTest) -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def test_it_lands_on_an_answer_that_fits() -> None:
    app = page()
    assert "Fits on" in app.success[0].value
    found = html(app)
    assert "Largest micro-batch" in found
    assert "Time of a step" in found


def test_what_does_not_fit_says_what_would() -> None:
    app = page(method="Full")
    assert "Does not fit" in app.error[0].value
    assert "QLoRA" in app.error[0].value


def test_a_sequence_beyond_the_model_s_positions_is_a_warning() -> None:
    found = [each.value for each in page(seq="200000").warning]
    assert any("states 131,072 positions" in said for said in found)
    assert not page().warning


def test_a_model_with_a_table_of_positions_lands_on_an_answer() -> None:
    assert "1 × 2,048 tokens" in page(model="opt-1.3b").success[0].value
    assert "2,048 or less" in page(model="opt-1.3b", seq="4096").error[0].value


def test_what_is_sent_is_asked_as_the_sharding_has_it() -> None:
    def keys(**query: str) -> set[str]:
        app = page(gpus="2", **query)
        drawn = (*app.selectbox, *app.toggle, *app.number_input)
        return {"reshard", "live", "t_ar"} & {str(each.key) for each in drawn}

    assert keys(sharding="fsdp2") == {"reshard"}
    assert keys(sharding="zero3") == {"live"}
    assert keys(sharding="zero1") == {"t_ar"}
    assert keys(sharding="ddp") == set()
    sent = [
        re.search(r"for ([\d.]+ MiB) that a GPU sends", html(page(gpus="2", **query)))
        for query in ({}, {"t_ar": "false"}, {"reduce": "fp32"})
    ]
    assert [each and each[1] for each in sent] == ["120.00 MiB", "80.00 MiB", "200.00 MiB"]


def test_one_change_is_not_called_several() -> None:
    said = page(seq="300000", loss="chunked").error[0].value
    assert "One change fits: 4 GPUs (data 1 × tensor 2 × pipeline 2)." in said
    assert "No single change fits." in page(seq="1000000").error[0].value
    assert "an estimate, if it fitted" in html(page(method="Full"))
    assert "if it fitted" not in html(page())


def test_the_link_sets_the_recipe() -> None:
    app = page(method="Full", gpus="8", sharding="zero3", offload="cpu", recompute="full")
    plan = plan_training(
        from_preset("llama-3.1-8b").model,
        load_gpu("h100-sxm5-80gb"),
        Recipe(
            data_parallel_size=8, sharding="zero3", offload_optimizer="cpu",
            recomputation="full", gradient_accumulation_steps=8,
        ),
    )  # fmt: skip
    found = html(app)
    assert format_bytes(plan.total_bytes) in found
    assert format_bytes(plan.host.bytes) in found
    assert "DeepSpeed ZeRO-3 estimator" in found


def test_rates_are_asked_for_where_something_is_offloaded() -> None:
    assert not [n for n in page().number_input if n.key == "nvme_gbs"]
    nvme = {"sharding": "zero3", "offload": "nvme"}
    assert "assumed 10 GB/s read" in html(page(**nvme))
    found = html(page(**nvme, nvme_gbs="48", host_gbs="200"))
    assert "at the rate given" in found
    assert "assumed" not in found


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"t_tp": "3"}, "cannot be split"),
        ({"gpus": "2", "t_ep": "2"}, "no routed experts"),
        ({"sharding": "fsdp2", "offload": "cpu"}, "both to cpu or both to none"),
    ],
)
def test_contradictions_are_a_sentence(query: dict[str, str], words: str) -> None:
    app = page(**query)
    assert words in app.error[0].value


def test_the_bar_says_in_words_what_it_shows() -> None:
    plan = plan_training(
        from_preset("llama-3.1-8b").model, load_gpu("h100-sxm5-80gb"), Recipe(data_parallel_size=8)
    )
    drawn = bar(plan)
    for rows in (memory_rows(plan), parts(plan)):
        assert sum(size for *_, size, _ in rows) == plan.total_bytes
    for _, label, size, _ in parts(plan):
        assert f"{label.lower()} {format_bytes(size)}" in drawn


@pytest.mark.parametrize(
    "recipe",
    [
        {"precision": "fp8", "sharding": "zero3", "data_parallel_size": 8},
        {"lora": Lora(base="nf4"), "sharding": "zero1", "data_parallel_size": 8},
        {"sharding": "fsdp2", "pipeline_parallel_size": 2, "data_parallel_size": 4},
        {"sharding": "ddp", "data_parallel_size": 8},
    ],
)
def test_every_part_has_a_colour_of_its_own(recipe: dict[str, Any]) -> None:
    model, gpu = from_preset("llama-3.1-8b").model, load_gpu("h100-sxm5-80gb")
    found = [key for key, *_ in parts(plan_training(model, gpu, Recipe(**recipe)))]
    assert len(set(found)) == len(found) >= 8
    colours = re.findall(r"\.sz-(\w+)\{fill:(#\w+);", component_css())
    assert len({colour for key, colour in colours if key in found}) == len(found)


def test_the_command_line_starts_from_the_same_recipe() -> None:
    parser = ArgumentParser()
    train_command.add_to(parser)
    flags = parser.parse_args(["--model", "llama-3.1-8b", "--gpu", "h100-sxm5-80gb"])
    script = (
        "import streamlit as st\nfrom ui import train_inputs\n"
        "st.session_state['recipe'] = train_inputs.draw(1, 8)\n"
    )
    drawn = AppTest.from_string(script, default_timeout=60).run()
    assert not drawn.exception
    assert drawn.session_state["recipe"] == USUAL
    assert train_command.chosen_recipe(flags) == USUAL


def test_a_split_that_training_refuses_has_no_buttons_for_serving() -> None:
    """The sidebar's split into 3 is another input, which is refused on pages that serve."""
    app = page(gpus="3", t_tp="3")
    assert "would; to use as many GPUs" in app.error[0].value
    assert not [button for button in app.button if str(button.key).startswith("gpus_")]
    assert page(gpus="3").success
