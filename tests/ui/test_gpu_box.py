"""The GPU box: found by what people type, in the link by its id."""

import pytest

from tests.ui.test_plan_page import no_trace, page, text
from ui.options import CUSTOM_GPU, gpu_label, gpu_options


def found(typed: str) -> list[str]:
    """Cards whose label has those characters in that order, as the box searches."""
    ids = []
    for gpu_id in gpu_options():
        rest = iter(gpu_label(gpu_id).lower())
        if all(letter in rest for letter in typed.lower()):
            ids.append(gpu_id)
    return ids


@pytest.mark.parametrize(
    ("typed", "gpu_id"),
    [
        ("rtx 4090", "rtx-4090"),
        ("rtx-4090", "rtx-4090"),
        ("rtx4090", "rtx-4090"),
        ("NVIDIA GeForce RTX 3060", "rtx-3060-12gb"),
        ("h100 sxm", "h100-sxm5-80gb"),
        ("tesla p40", "p40"),
        ("7900 xt", "radeon-rx-7900-xt"),
        ("m3 max 128gb", "apple-m3-max-40-core-gpu"),
        ("apple m4 16", "apple-m4-16gb"),
        ("dgx spark", "gb10"),
        ("strix halo", "radeon-8060s-128gb"),
        ("intel arc b580", "arc-b580"),
        ("custom", CUSTOM_GPU),
        ("another", CUSTOM_GPU),
    ],
)
def test_a_card_is_found_by_what_people_type(typed: str, gpu_id: str) -> None:
    assert gpu_id in found(typed)
    assert len(found(typed)) <= 20


def test_no_two_cards_have_one_label() -> None:
    assert len({gpu_label(gpu_id) for gpu_id in gpu_options()}) == len(gpu_options())


def test_the_link_has_the_id_and_not_the_label() -> None:
    app = page(gpu="l40s")
    no_trace(app)
    assert app.selectbox(key="gpu").value == "l40s"
    app.selectbox(key="gpu").set_value("p40").run()
    no_trace(app)
    assert app.query_params["gpu"] == "p40"
    assert "Tesla P40" in text(app)
    app.selectbox(key="gpu").set_value("h100-sxm5-80gb").run()
    assert "gpu" not in app.query_params


def test_an_unknown_card_in_a_link_is_said() -> None:
    app = page(gpu="rtx-9999")
    said = app.warning[0].value.replace("\\", "")
    assert "gpu=rtx-9999, which is not known here: gpu=h100-sxm5-80gb is used" in said
