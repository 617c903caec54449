"""Makes the screenshots in docs/images from the pages of a running stack: `make screenshots`."""

import base64
from collections.abc import Callable
from contextlib import closing
from typing import Literal

import pytest
from browser import url_of, visit
from playwright.sync_api import Browser, Page, expect
from stack import REPOSITORY, Stack

pytestmark = pytest.mark.profiles("nginx")

WIDTH = 1080
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def _take(page: Page, name: str, height: int) -> None:
    # Playwright itself has no WebP, which has a quarter of the size of PNG here.
    devtools = page.context.new_cdp_session(page)
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": height, "scale": 1}
    taken = devtools.send("Page.captureScreenshot", {"format": "webp", "quality": 85, "clip": clip})
    (REPOSITORY / "docs" / "images" / f"{name}.webp").write_bytes(base64.b64decode(taken["data"]))


def _send(page: Page, number: int, send: Callable[[], None]) -> None:
    send()
    expect(page.locator("#log [data-direction=received]")).to_have_count(number)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_test_page(chrome: Browser, stack: Stack, scheme: Literal["light", "dark"]) -> None:
    viewport = {"width": WIDTH, "height": 1600}  # the whole page, without a scroll bar
    with closing(chrome.new_context(viewport=viewport, color_scheme=scheme, device_scale_factor=2)) as context:
        page = context.new_page()
        visit(page, url_of(stack))
        for number in range(1, 7):
            _send(page, number, lambda: page.click("#send-tom"))
        page.fill("#message", "hello")
        _send(page, 7, lambda: page.keyboard.press("Enter"))
        below = page.locator("#elsewhere").bounding_box()
        assert below
        page.evaluate("document.activeElement.blur()")
        _take(page, f"page-{scheme}", int(below["y"]))
