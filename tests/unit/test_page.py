"""The pages: `direct` serves them without Upgrade; each loads only files of its own, and has all its texts."""

import json
import re
from pathlib import Path

import pytest
from test_handshake_policy import decide, request

SITE = Path(__file__).parents[2] / "site"
PAGE = SITE / "index.html"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FILES = sorted(SITE.iterdir())
PAGES = [file for file in FILES if file.suffix == ".html"]
TABLES = [file for file in FILES if "textsOf({" in file.read_text() or "const TEXTS = {" in file.read_text()]


def name_of(file: Path) -> str:
    return file.name


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_request_without_upgrade_gets_the_page_or_the_file_beside_it(file: Path) -> None:
    path = "/?x=1" if file == PAGE else f"/{file.name}"
    response = decide(request(path, without="Upgrade"), PAGE=str(PAGE))
    assert response
    assert (response.status, response.body) == (200, file.read_bytes())
    assert response.headers["Content-Type"] == f"{TYPES[file.suffix]}; charset=utf-8"


def test_a_request_for_a_file_that_is_not_beside_the_page_gets_404() -> None:
    for path in ("/other.js", "/index.html", "/../VERSION"):
        response = decide(request(path, without="Upgrade"), PAGE=str(PAGE))
        assert response
        assert response.status == 404


def test_a_request_with_upgrade_gets_the_websocket() -> None:
    assert decide(request("/"), PAGE=str(PAGE)) is None


@pytest.mark.parametrize(("path", "environment"), [("/wss", {"PAGE": str(PAGE)}), ("/", {})])
def test_on_another_path_or_without_a_page_it_gets_426(path: str, environment: dict[str, str]) -> None:
    response = decide(request(path, without="Upgrade"), **environment)
    assert response
    assert response.status == 426


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_policy_of_a_page_allows_only_files_beside_it(page: Path) -> None:
    text = page.read_text()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert set(policy.split("; ")) == {
        "default-src 'none'",
        *("connect-src 'self'", "img-src data:", "script-src 'self'", "style-src 'self'"),
        *("base-uri 'none'", "form-action 'none'"),
    }
    # Such a policy also blocks what is inline.
    assert re.findall(r"<style|<script[^>]*>[^<]|\s(?:style|on\w+)=", text) == []
    loaded = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', text)
    assert f"{page.stem}.js" in loaded
    assert [name for name in loaded if not (SITE / name).exists()] == []


def texts_of(file: Path) -> dict[str, list[str]]:
    """Return a table of texts: its values are arrays of strings, whose elements can be on lines of their own."""
    (table,) = re.findall(
        r"(?:const TEXTS = |textsOf\()(\{.*?\})(?:;|\);)$", file.read_text(), re.DOTALL | re.MULTILINE
    )
    texts: dict[str, list[str]] = json.loads(
        re.sub(r",(\s*[\]}])", r"\1", re.sub(r"([{,]\s*)(\w+):", r'\1"\2":', table))
    )
    return texts


@pytest.mark.parametrize("file", TABLES, ids=name_of)
def test_each_text_is_in_both_kinds_of_chinese_with_the_same_placeholders(file: Path) -> None:
    for key, (simplified, traditional, *english) in texts_of(file).items():
        counts = {text.count("%") for text in (simplified, traditional, *english)}
        assert len(counts) == 1, key


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_text_of_a_page_is_in_its_table(page: Path) -> None:
    texts = texts_of(SITE / f"{page.stem}.texts.js")
    in_html = set(re.findall(r'data-(?:text|label|placeholder)="(\w+)"', page.read_text()))
    script = (SITE / f"{page.stem}.js").read_text()
    # Also `connecting`, `closed` …, the names of the states.
    in_script = set(re.findall(r'(?:text|show|enter|showHandler)\("(\w+)"', script)) & {*texts}
    assert set(re.findall(r'\btext\("(\w+)"', script)) <= texts.keys()
    # English is in the HTML, or in the table.
    assert in_html <= texts.keys()
    assert {key for key in in_script if len(texts[key]) < 3} == set()
    assert {key for key, text in texts.items() if len(text) == 2} <= in_html


def palettes() -> list[dict[str, str]]:
    """Return the colours of style.css, light and dark."""
    blocks = re.findall(r":root \{(.*?)\}", (SITE / "style.css").read_text(), re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block)) for block in blocks]


def luminance(colour: str) -> float:
    """Return the relative luminance: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance"""
    digits = colour[1:] if len(colour) == 7 else "".join(digit * 2 for digit in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("palette", palettes(), ids=["light", "dark"])
def test_the_contrast_of_texts_and_controls_is_that_of_wcag_aa(palette: dict[str, str]) -> None:
    surfaces = ("page", "card", "inset", "field", "tint")
    texts = [(text, surface) for text in ("text", "muted") for surface in surfaces]
    texts += [(text, surface) for text in ("accent", "open") for surface in ("page", "card", "inset")]
    controls = [(name, surface) for name in ("edge", "open", "busy", "closed") for surface in ("page", "card", "field")]
    too_low = []
    for pairs, minimum in (([*texts, ("on-accent", "accent")], 4.5), (controls, 3.0)):
        for one, other in pairs:
            low, high = sorted((luminance(palette[one]), luminance(palette[other])))
            if (high + 0.05) / (low + 0.05) < minimum:
                too_low.append((one, other, round((high + 0.05) / (low + 0.05), 2)))
    assert too_low == []
