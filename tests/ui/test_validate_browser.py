"""The button in Chromium: a recorded run played back through real processes, with a reload."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ui.served import CHROMIUM, ROOT, served
from validate.record import read
from validate.verdict import sentence

pytestmark = [pytest.mark.browser, pytest.mark.slow]

H200 = ROOT / "validate" / "records" / "h200-full.json"
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    tmp_path = tmp_path_factory.mktemp("server")
    told = {"SIZEWELL_REPLAY": str(H200), "SIZEWELL_STATE": str(tmp_path / "state")}
    told["SIZEWELL_REPLAY_SECONDS"] = "8"
    with served(tmp_path, {**os.environ, **told}) as url:
        yield url


@pytest.fixture(scope="module")
def context() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=arguments)
        size = {"width": 1400, "height": 1000}
        yield chromium.new_context(viewport=size, accept_downloads=True)
        chromium.close()


@pytest.fixture
def tab(context: Any) -> Iterator[Any]:
    page = context.new_page()
    yield page
    page.close()


def test_button_progress_reload_result_and_download(tab: Any, server: str, tmp_path: Path) -> None:
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(f"{server}/validate")
    tab.get_by_role("button", name="Validate on this GPU").click()
    bar = tab.get_by_text("Playing back the run on NVIDIA H200")
    bar.wait_for(timeout=20_000)
    tab.get_by_text("The latest").wait_for(timeout=20_000)

    tab.reload()
    bar.wait_for(timeout=20_000)
    playwright.expect(tab.get_by_role("button", name="Cancel")).to_be_visible()

    tab.get_by_role("button", name="Validate on this GPU").wait_for(timeout=30_000)
    tab.wait_for_function(
        "[...document.querySelectorAll('input')].some(i => i.value.includes('(played back)'))"
    )
    tab.get_by_text(sentence(read(H200))).wait_for(timeout=20_000)
    tab.locator(".js-plotly-plot .main-svg").nth(2).wait_for(timeout=20_000)
    with tab.expect_download() as waiting:
        tab.get_by_role("button", name="Download record").click()
    saved = tmp_path / "saved.json"
    waiting.value.save_as(saved)
    assert read(saved) == read(H200)
    assert errors == []


def test_cancel_ends_the_run(tab: Any, server: str) -> None:
    tab.goto(f"{server}/validate")
    tab.get_by_role("button", name="Validate on this GPU").click()
    tab.get_by_role("button", name="Cancel").click(timeout=20_000)
    tab.get_by_role("button", name="Validate on this GPU").wait_for(timeout=20_000)
    tab.get_by_text("The run was cancelled.").first.wait_for(timeout=20_000)
