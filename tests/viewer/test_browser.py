"""The viewer in a real browser: what one sees, what one types, and what leaves the machine (nothing)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.viewer.conftest import TASKS, step_of

from secondthought.runs.journal import Journal

BROWSER = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (apt-get install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield found
        found.close()


@pytest.fixture
def address(runs: Path) -> Iterator[str]:
    """The command itself, serving the runs."""
    words = [sys.executable, "-m", "secondthought.cli", "view", str(runs), "--no-open"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.match(r"(http://127\.0\.0\.1:\d+)/ shows", line)
        assert found, line
        yield found[1]
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page on which every complaint and every request is noted."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    found = context.new_page()
    complaints: list[str] = []
    strangers: list[str] = []
    found.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else strangers.append(r.url))
    yield found
    assert complaints == []
    assert strangers == []
    assert found.evaluate("window.hacked") is None
    context.close()


def visit(page: Any, address: str) -> None:
    """Open a page, and wait until it has read all episodes (it asks again by itself while it has not)."""
    page.goto(address)
    sync_api.expect(page.locator("[data-again]")).to_have_count(0, timeout=20_000)


def test_lists_curves_episodes_and_groups(page: Any, address: str, runs: Path) -> None:
    page.goto(address)
    names = page.locator(".row-main")
    assert names.all_inner_texts() == ["going", "group/done", "killed"]
    page.get_by_role("link", name="group/done").click()
    page.wait_for_selector("#curves[data-ready]")
    assert page.get_by_role("heading", name="second try on dev problems, %").is_visible()
    assert page.locator(".chart:visible").count() == 6  # only what this run has figures of
    assert page.locator(".chart polygon").count() == 2  # the intervals of first and second try

    page.get_by_role("link", name="Episodes").click()
    sync_api.expect(page.locator("#total")).to_have_text("55")
    page.get_by_label("Outcome").select_option("fixed")
    page.wait_for_url("**outcome=fixed")  # choosing is enough, and the address is short
    assert page.locator("#total").inner_text() == str(3 * 6 + 4 * 3)
    page.get_by_label("Search in the text").fill("thought number 2")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=thought+number+2**")
    assert page.locator("#total").inner_text() == "9"

    page.locator(".row-main").first.click()
    page.get_by_role("heading", name="One task, 4 episodes").wait_for()
    assert page.locator(".episode.chosen").count() == 1
    assert page.locator(".episode").first.get_by_text("✓ read: right").is_visible()
    page.get_by_role("link", name="the same problem before training").click()
    page.get_by_role("heading", name="One task, 2 episodes").wait_for()
    page.get_by_role("link", name="Reports").click()
    page.get_by_role("link", name="read").nth(2).click()
    assert "split=before&arm=retry_after_failure" in page.url


def test_the_keyboard(page: Any, address: str) -> None:
    page.goto(address)
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.locator(".row.here .row-main").inner_text() == "group/done"
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url("**/run/going")
    page.keyboard.press("g")
    page.keyboard.press("e")
    page.wait_for_url("**/episodes/going")
    page.keyboard.press("/")
    page.keyboard.type("number 1")
    assert page.get_by_label("Search in the text").input_value() == "number 1"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keyboard").is_visible()


def test_a_run_that_goes_on_is_seen_going_on(page: Any, address: str, runs: Path) -> None:
    page.goto(f"{address}/run/going")
    page.wait_for_selector("#curves[data-ready]")
    assert page.locator("#live").is_visible()
    chart = page.locator(".chart", has_text="KL to the reference")
    page.get_by_label("Smoothing, in steps").fill("1")
    assert "0.02" in chart.locator(".legend").inner_text()
    step_of(Journal(runs / "going", {"recipe": {"name": "rrr", "model": "scripted", "steps": 100}}, resume=True), 3)
    sync_api.expect(chart.locator(".legend")).to_contain_text("0.03", timeout=10_000)
    visit(page, f"{address}/episodes/going")
    assert page.locator("#total").inner_text() == "39"


def test_zoom_hover_and_downloads(page: Any, address: str) -> None:
    page.goto(f"{address}/run/group/done?with=going")
    page.wait_for_selector("#curves[data-ready]")
    chart = page.locator(".chart", has_text="KL to the reference")
    sync_api.expect(chart.locator(".legend")).to_contain_text("k3 (going)")  # laid over this run
    chart.scroll_into_view_if_needed()
    box = chart.locator("svg").bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 60)
    assert "step 1" in chart.locator(".legend").inner_text()
    page.get_by_label("Compare with").select_option("killed")
    sync_api.expect(chart.locator(".legend")).to_contain_text("k3 (killed)")  # and one more
    page.wait_for_url("**?with=going&with=killed")
    page.get_by_role("button", name="Take going away").click()
    sync_api.expect(chart.locator(".legend")).not_to_contain_text("k3 (going)")
    chart.scroll_into_view_if_needed()
    box = chart.locator("svg").bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 60, steps=4)
    page.mouse.up()
    assert page.locator(".chart:visible svg text").filter(has_text=re.compile(r"^3$")).count() == 0  # step 3 is out of sight
    page.get_by_role("button", name="Whole run").click()
    for button, ending in (("CSV", ".csv"), ("Save KL to the reference, nats as a PNG", ".png")):
        with page.expect_download() as download:
            page.get_by_role("button", name=button, exact=True).click()
        path = Path(download.value.path())
        assert download.value.suggested_filename.endswith(ending)
        assert path.read_bytes()[:4] == (b"run," if ending == ".csv" else b"\x89PNG")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_fits_and_can_be_read(browser: Any, address: str, scheme: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    places = [
        "",
        "run/group/done",
        "episodes/group/done",
        f"group/step_000002/{TASKS[1].key}/group/done",
        "probe/group/done",
        "run/no",
    ]
    for place in places:
        visit(page, f"{address}/{place}")
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
        assert page.evaluate(CONTRAST) >= 4.5, place
        nameless = page.evaluate(NAMELESS)
        assert nameless == [], place
    page.get_by_label("Light or dark").click()
    other = "dark" if scheme == "light" else "light"
    assert page.evaluate("document.documentElement.dataset.theme") == other
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == other  # it is remembered
    context.close()


# The lowest contrast (WCAG 2) of any text with the background that is painted behind it.
CONTRAST = """() => {
  const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
  const over = (top, base) => { const a = top.length > 3 ? top[3] : 1; return [0, 1, 2].map((i) => top[i] * a + base[i] * (1 - a)); };
  let lowest = 99;
  for (const node of document.querySelectorAll("body *")) {
    if (![...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) || node.closest("svg, dialog:not([open]), .hidden, .skip")) continue;
    if (!node.getClientRects().length) continue;
    const chain = []; for (let at = node; at; at = at.parentElement) chain.unshift(parse(getComputedStyle(at).backgroundColor));
    const base = chain.reduce((b, c) => (c.length ? over(c, b) : b), [255, 255, 255]);
    const ink = over(parse(getComputedStyle(node).color), base), [x, y] = [light(ink), light(base)];
    const ratio = (Math.max(x, y) + .05) / (Math.min(x, y) + .05);
    if (ratio < lowest) lowest = ratio;
  }
  return lowest;
}"""
# Controls that a screen reader could not name.
NAMELESS = """() => [...document.querySelectorAll("button, input, select, a")].filter((n) => n.type !== "hidden"
  && !(n.innerText || "").trim() && !n.getAttribute("aria-label") && !(n.labels && n.labels.length)).map((n) => n.outerHTML)"""
