"""Text as a line of the page."""

import pytest

from planner.errors import about
from ui.sentence import as_sentence


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("this is no start-up log", "This is no start-up log."),
        ("rate 0 must be above 0.", "Rate 0 must be above 0."),
        ("hidden_size is missing", "hidden\\_size is missing."),
        ("qwen3-8b on\n1 GPU", "qwen3-8b on 1 GPU."),
        ("llama.cpp takes no draft", "llama.cpp takes no draft."),
    ],
)
def test_a_sentence_has_a_capital_unless_it_begins_with_a_name(text: str, line: str) -> None:
    assert as_sentence(text) == line


def test_a_field_is_the_subject_of_a_verb() -> None:
    assert about("hidden_size", "is missing") == "hidden_size is missing"
    assert about("load_in_4bit", "and load_in_8bit are both set") == (
        "load_in_4bit and load_in_8bit are both set"
    )
    assert about("layers", "1,000 is too many") == "layers: 1,000 is too many"
