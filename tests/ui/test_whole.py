"""Boxes for whole numbers: what the browser is told, and what becomes of a fraction."""

from pathlib import Path

import pytest
from streamlit.proto.NumberInput_pb2 import NumberInput
from streamlit.testing.v1 import AppTest

APP = Path(__file__).resolve().parents[2] / "app.py"


def page(name: str, **query: str) -> AppTest:
    app = AppTest.from_file(str(APP), default_timeout=60)
    for key, value in query.items():
        app.query_params[key] = value
    app.run()
    if name != "plan":
        app.switch_page(f"ui/pages/{name}.py").run()
    assert not app.exception
    return app


@pytest.mark.parametrize("name", ["plan", "engine", "search", "traffic", "train"])
def test_no_box_stops_at_a_letter(name: str) -> None:
    """Streamlit's page reads INT boxes with parseInt, for which 1e9 is 1."""
    boxes = page(name).number_input
    assert len(boxes) >= 8
    assert [box.key for box in boxes if box.proto.data_type != NumberInput.FLOAT] == []


def test_a_fraction_is_cut_and_said() -> None:
    app = page("plan")
    app.number_input(key="users").set_value(2.5).run()
    assert "2 sequences of 32,768 tokens" in app.success[0].value
    assert [box.value for box in app.error] == ["2.5 is not a whole number: 2 is used."]
    app.number_input(key="users").set_value(3).run()
    assert not app.error


def test_a_link_with_a_fraction_says_what_is_used() -> None:
    app = page("plan", gpus="1.5")
    assert app.title[0].value.endswith("on 1 × H100-SXM5-80GB")
    assert [box.value for box in app.error] == ["1.5 is not a whole number: 1 is used."]


def test_a_fix_fills_the_boxes() -> None:
    app = page("plan", model="llama-3.1-70b", gpus="2", users="40", context="16k")
    app.button(key="fix_1").click().run()
    assert app.number_input(key="users").value == 4
    assert "4 sequences of 16,384 tokens" in app.warning[0].value


@pytest.mark.parametrize(
    ("name", "key"),
    [("engine", "vllm_max_model_len"), ("search", "s_output"), ("traffic", "common"),
     ("train", "seq")],
)  # fmt: skip
def test_tokens_are_typed_as_on_the_command_line(name: str, key: str) -> None:
    app = page(name)
    app.text_input(key=key).set_value("2k").run()
    assert not app.exception
    assert not app.error


def test_a_sequence_of_2k_is_one_of_2048() -> None:
    app = page("train", seq="2k")
    said = [box.value for box in app.success]
    app.text_input(key="seq").set_value("2048").run()
    assert [box.value for box in app.success] == said != []
    app.text_input(key="seq").set_value("4096").run()
    assert [box.value for box in app.success] != said


def test_what_is_no_number_of_tokens_is_said_with_what_is_used() -> None:
    app = page("train", seq="32q")
    assert app.error[0].value == (
        "'32q' is no number of tokens: write 32768 or 32k. Used until then: 4,096."
    )
    app.text_input(key="seq").set_value("8k").run()
    assert not app.error
    app.text_input(key="seq").set_value("999m").run()
    assert app.error[0].value == (
        "1,047,527,424 is outside 1 to 134,217,728. Used until then: 4,096."
    )
