"""The page by keyboard, in dark, on a phone, with text from right to left: in Chromium, driven by playwright."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from m3rt import M3Encoder

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs chromium")
QUESTION = "How tall is Tokyo Tower?"
ARABIC = "يبلغ ارتفاع برج طوكيو 333 مترا."
JAPANESE = "東京タワーの高さは333メートルです。"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, address: str, tmp_path: Path) -> Iterator[Any]:
    """A function that opens the page with options of a browser; what the page complains about fails the test."""
    contexts, complaints = [], []

    def page(**options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield page
    for context in contexts:
        for page in context.pages:
            page.screenshot(path=tmp_path / "page.png", full_page=True)
        context.close()
    assert not complaints


def answered(page: Any) -> Any:
    """The page after Compare: the articles, one a passage."""
    page.wait_for_selector("#results article", timeout=60_000)
    return page.locator("#results article")


def luminance(colour: str) -> float:
    """WCAG's relative luminance of rgb(r, g, b)."""
    channels = [int(value) / 255 for value in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_keyboard_alone_asks_a_question(opened: Any) -> None:
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "question"
    page.keyboard.press("Control+A")
    page.keyboard.type("What tastes best warm?")
    reached = []
    while "go" not in reached:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
        assert len(reached) < 6
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    assert answered(page).count() == 4
    assert page.locator("#status").get_attribute("aria-live") == "polite"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(scheme: str, opened: Any) -> None:
    page = opened(color_scheme=scheme)
    page.click("#go")
    answered(page)
    styles = page.evaluate(
        """() => [["body", "body"], ["article .text", "article"], [".dim", "body"], ["h3", "article"], ["#go", "#go"]]
        .map(([text, paper]) => [getComputedStyle(document.querySelector(text)).color,
                                 getComputedStyle(document.querySelector(paper)).backgroundColor])"""
    )
    for ink, paper in styles:
        light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA
    assert (luminance(styles[0][1]) < 0.1) == (scheme == "dark")


def test_a_phone_scrolls_the_map_and_never_the_page(opened: Any) -> None:
    page = opened(viewport={"width": 390, "height": 844}, has_touch=True, device_scale_factor=2)
    page.click("#go")
    answered(page)
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    widths = page.evaluate("[...document.querySelectorAll('.scroll')].map(box => [box.clientWidth, box.scrollWidth])")
    assert widths
    assert any(inner > outer for outer, inner in widths)


def test_every_token_of_the_map_is_shown_whole_and_a_space_upright(opened: Any) -> None:
    page = opened()
    page.click("#go")
    answered(page)
    heads = page.evaluate(
        """() => [...document.querySelectorAll("table.map th")].filter(head => head.offsetParent)
        .map(head => [head.innerText, head.scrollWidth <= head.clientWidth && head.scrollHeight <= head.clientHeight,
                      getComputedStyle(head).writingMode])"""
    )
    assert all(whole for _, whole, _ in heads)
    assert {mode for text, _, mode in heads if text == "␣"} == {"horizontal-tb"}


def test_text_runs_in_its_own_direction(opened: Any) -> None:
    page = opened()
    page.fill("#passages", f"{ARABIC}\n{JAPANESE}")
    page.click("#go")
    assert answered(page).count() == 2
    edges = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll("article .text")].map(text => {
            const walk = document.createTreeWalker(text, NodeFilter.SHOW_TEXT), nodes = [];
            while (walk.nextNode()) nodes.push(walk.currentNode);
            const at = (node, start) => { const range = document.createRange();
                range.setStart(node, start); range.setEnd(node, start + 1); return range.getBoundingClientRect().x };
            return [text.textContent, [at(nodes[0], 0), at(nodes.at(-1), nodes.at(-1).length - 2)]] }))"""
    )
    first, last = edges[ARABIC]
    assert first > last
    first, last = edges[JAPANESE]
    assert first < last


def test_the_heat_map_frames_the_cell_that_maxsim_takes(opened: Any, tiny: M3Encoder) -> None:
    page = opened()
    page.fill("#passages", JAPANESE)
    page.click("#go")
    answered(page)
    rows = page.evaluate(
        """() => [...document.querySelectorAll("table.map tbody tr")].map(row => {
            const cells = [...row.querySelectorAll("td")];
            return [cells.findIndex(cell => cell.classList.contains("best")), cells.length] })"""
    )
    question, passage = (
        tiny.encode(text, return_dense=False, return_colbert_vecs=True).colbert_vecs[0] for text in (QUESTION, JAPANESE)
    )
    similar = question @ passage.T
    assert len(rows) == len(question)
    for (best, cells), similarities in zip(rows, similar, strict=True):
        assert cells == len(passage)
        assert similarities[best] >= similarities.max() - 2e-2
