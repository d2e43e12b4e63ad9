"""The page in Chromium: an edit, its link, a fix, the report, a phone, the dark."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ui.served import CHROMIUM, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]

if CHROMIUM is None:
    pytest.skip("no Chromium on this machine", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
playwright.expect.set_options(timeout=30_000)  # inputs come after the verdict


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("elsewhere")) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def context(browser: Any) -> Iterator[Any]:
    """One for all tests at a desk, which load the scripts once; a page is a session of its own."""
    opened = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def closed_pages(context: Any) -> Iterator[None]:
    yield
    for page in context.pages:
        page.close()


def outside(page: Any, url: str) -> list[str]:
    """Starts to collect requests that leave this machine."""
    found: list[str] = []

    def seen(request: Any) -> None:
        if not request.url.startswith((url, url.replace("http", "ws"), "data:", "blob:", "file:")):
            found.append(request.url)

    page.on("request", seen)
    return found


def verdict(page: Any) -> str:
    alert = page.locator("[data-testid=stMain] [data-testid=stAlert]").first
    alert.wait_for(timeout=30_000)
    return str(alert.inner_text())


def edit(page: Any, label: str, value: str) -> None:
    before = verdict(page)
    box = page.get_by_label(label, exact=True)
    box.fill(value)
    box.press("Enter")
    page.wait_for_function(
        "old => !document.querySelector('[data-testid=stMain] [data-testid=stAlert]')"
        "?.innerText.includes(old)",
        arg=before.splitlines()[-1],
    )


def test_edit_link_and_report(context: Any, server: str, tmp_path: Path) -> None:
    page = context.new_page()
    requests = outside(page, server)
    page.goto(server)
    assert "12 sequences of 32,768 tokens" in verdict(page)
    edit(page, "Users", "3")
    assert "3 sequences of 32,768 tokens" in verdict(page)
    assert "users=3" in page.url

    again = context.new_page()
    again.goto(page.url)
    assert verdict(again) == verdict(page)
    playwright.expect(again.get_by_label("Users", exact=True)).to_have_value("3")

    page.get_by_role("button", name="Download report").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="HTML, interactive").click()
    report = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(report)
    assert report.name == "llama-3.1-8b-on-1x-h100-sxm5-80gb.html"
    assert requests == []

    opened = context.new_page()
    loaded = outside(opened, "file:")
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(report.as_uri())
    opened.locator(".js-plotly-plot .main-svg").first.wait_for()
    assert "3 sequences of 32,768 tokens" in opened.locator(".sz-verdict").inner_text()
    opened.locator(".js-plotly-plot").hover()
    assert opened.get_by_text(re.compile("share chart", re.I)).count() == 0
    assert opened.locator(".modebar-btn, [data-title*=hare], [data-title*=loud]").count() == 0
    assert loaded == []
    assert errors == []


def test_a_fix_changes_the_link(context: Any, server: str) -> None:
    page = context.new_page()
    page.goto(f"{server}/?model=llama-3.1-70b")
    assert "Does not fit" in verdict(page)
    page.get_by_role("button", name=re.compile("Use 4 GPUs")).click()
    page.wait_for_url(re.compile("gpus=4"))
    page.locator("[data-testid=stMain]").get_by_text(re.compile("^Fits on 4")).wait_for()


def test_compare_keeps_the_plan(context: Any, server: str) -> None:
    page = context.new_page()
    page.goto(f"{server}/?users=5&model=qwen3-8b")
    verdict(page)
    playwright.expect(page.get_by_label("Users", exact=True)).to_have_value("5")
    page.get_by_role("link", name="Compare").click()
    page.get_by_text(re.compile("chosen in the sidebar: .*5 users of 32,768 tokens")).wait_for()
    page.wait_for_function(
        "document.querySelector('svg.sz-bar')?.ariaLabel.split('GiB of').length === 6 + 1"
    )
    playwright.expect(page.get_by_label("Users", exact=True)).to_have_value("5")
    assert "users=5" in page.url
    page.get_by_role("link", name="Plan").click()
    page.wait_for_url(lambda url: "/compare" not in url)
    assert "5 sequences of 32,768 tokens" in verdict(page)
    assert "model=qwen3-8b" in page.url


def test_kept_plans_outlive_a_reload(context: Any, server: str) -> None:
    page = context.new_page()
    page.goto(f"{server}/?users=5")
    verdict(page)
    page.get_by_role("button", name="Keep for comparison").click()
    page.get_by_role("button", name=re.compile("1 of 4 kept")).wait_for()
    edit(page, "Users", "6")
    page.get_by_role("button", name=re.compile("1 of 4 kept")).click()
    page.get_by_role("button", name=re.compile("2 of 4 kept")).wait_for()
    page.get_by_role("link", name="Compare").click()
    page.get_by_text("Kept plans", exact=True).click()
    bars = page.locator("svg.sz-bar")
    playwright.expect(bars).to_contain_text("6 × 32,768")
    page.reload()
    playwright.expect(bars).to_contain_text("5 × 32,768")
    playwright.expect(bars).to_contain_text("6 × 32,768")
    assert page.url.count("kept=model") == 2


def test_a_phone_has_no_sideways_scroll(browser: Any, server: str) -> None:
    for scheme in ("light", "dark"):
        opened = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=scheme)
        page = opened.new_page()
        page.goto(f"{server}/?model=deepseek-v3&gpus=16&pp=2")
        verdict(page)
        page.locator(".js-plotly-plot .main-svg").first.wait_for()
        wide = "document.querySelector('[data-testid=stMain]')"
        assert page.evaluate(f"{wide}.scrollWidth <= {wide}.clientWidth")
        opened.close()


def test_a_phone_cuts_no_table_and_scrolls_beneath_a_bar(browser: Any, server: str) -> None:
    opened = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page = opened.new_page()
    page.goto(f"{server}/explain?topic=Online softmax")
    page.locator(".sz-scroll").nth(1).wait_for()
    boxes = "[...document.querySelectorAll('.sz-scroll')]"
    assert page.evaluate(f"{boxes}.every(box => box.scrollWidth <= box.clientWidth)")
    bar = page.locator("[data-testid=stHeader]")
    assert bar.bounding_box()["width"] == 390
    playwright.expect(bar).to_have_css("background-color", "rgb(16, 21, 28)")
    opened.close()


def test_a_phone_switches_pages_without_the_drawer(browser: Any, server: str) -> None:
    opened = browser.new_context(viewport={"width": 390, "height": 844})
    page = opened.new_page()
    page.goto(f"{server}/?users=5")
    assert "5 sequences" in verdict(page)
    links = page.locator("[data-testid=stPageLink]")
    links.get_by_role("link", name="Compare").click()
    page.get_by_text("5 users of 32,768 tokens").first.wait_for()
    page.wait_for_url(re.compile(r"/compare\?users=5$"))
    playwright.expect(page.locator(".st-key-phone_top b")).to_have_text("Sizewell")
    playwright.expect(page.get_by_label("Users", exact=True)).not_to_be_in_viewport()
    opened.close()


def test_an_invalid_number_marks_the_answer_as_old(context: Any, server: str) -> None:
    page = context.new_page()
    page.goto(server)
    verdict(page)
    note = "getComputedStyle(document.querySelector('.stMainBlockContainer'), '::before').content"
    assert page.evaluate(note) == "none"
    box = page.get_by_label("Users", exact=True)
    box.fill("0")
    box.press("Enter")
    page.wait_for_function(f"{note}.includes('outside its range')")
    box.fill("3")
    box.press("Enter")
    page.wait_for_function(f"{note} === 'none'")


def test_a_number_is_read_to_its_end(context: Any, server: str) -> None:
    page = context.new_page()
    page.goto(server)
    edit(page, "Users", "1e3")
    assert "1,000 sequences of 32,768 tokens" in verdict(page)
    assert "users=1000" in page.url


def test_keys_do_not_lead_into_a_closed_sidebar(browser: Any, server: str) -> None:
    opened = browser.new_context(viewport={"width": 390, "height": 844})
    page = opened.new_page()
    page.goto(server)
    verdict(page)
    playwright.expect(page.locator("[data-testid=stSidebar]")).to_have_css("visibility", "hidden")
    playwright.expect(page.locator("[data-testid=stSidebar] button").first).to_be_attached()
    inside = "document.activeElement.closest('[data-testid=stSidebar]')"
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate(f"{inside} === null")
    page.locator("[data-testid=stPageLink] a").nth(1).focus()
    page.keyboard.press("Tab")
    link = page.locator("[data-testid=stPageLink] a:focus-visible")
    playwright.expect(link).to_have_css("outline-style", "solid")
    page.get_by_test_id("stExpandSidebarButton").click()
    playwright.expect(page.get_by_label("Users", exact=True)).to_be_in_viewport()
    opened.close()


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("compare?by=KV cache&kvs=fp8&kvs=nvfp4", ""),
        ("compare?by=KV cache&kvs=fp9&kvs=nvfp4", "kvs=fp9,nvfp4"),
        ("explain?topic=Heads&heads_n=8k", ""),
        ("explain?topic=Zebras", "topic=Zebras"),
        ("train?method=QLoRA&seq=2048&sharding=zero3", ""),
        ("train?method=QLoRA&micro=0", "micro=0"),
        ("engine?engine=sglang&users=3", ""),
        ("engine?spec=Draft model&draft=llama-3.2-1b&spec_tokens=4", ""),
        ("engine?spec=Zebra", "spec=Zebra"),
        ("traffic?rate=2&router=round robin", ""),
    ],
)
def test_links_of_other_pages_are_complained_about_only_if_wrong(
    context: Any, server: str, link: str, said: str
) -> None:
    page = context.new_page()
    page.goto(f"{server}/{link}")
    page.locator("[data-testid=stMain] h1").first.wait_for(timeout=30_000)
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')")
    boxes = page.locator("[data-testid=stAlert]").filter(has_text="The link asks")
    if said:
        boxes.first.wait_for(timeout=20_000)
        assert said in boxes.first.inner_text()
    else:
        page.wait_for_timeout(500)
        assert boxes.count() == 0


@pytest.mark.parametrize(
    ("link", "label"),
    [("engine?engine=sglang", "engine=SGLang"), ("search?s_engine=sglang", "s_engine=SGLang")],
)
def test_an_engines_id_in_the_link_outlives_a_reload(
    context: Any, server: str, link: str, label: str
) -> None:
    """Streamlit reads labels only and drops the rest: a reload showed another engine."""
    page = context.new_page()
    page.goto(f"{server}/{link}")
    page.wait_for_url(f"**{label}*", timeout=30_000)
    for _ in range(2):
        box = page.locator("[data-testid=stMain] input[aria-label=Engine]")
        playwright.expect(box).to_have_value("SGLang")
        page.reload()
