"""README.md stays short and has a picture."""

import re

import pytest
from stack import REPOSITORY


def test_the_readme_has_at_most_150_lines() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_readme_shows_the_page_in_light_and_dark_in_small_pictures_with_a_description(name: str) -> None:
    text = (REPOSITORY / name).read_text()
    pictures = re.findall(r'src(?:set)?="(.*?)"', text)
    assert pictures == ["docs/images/page-dark.webp", "docs/images/page-light.webp"]
    for picture in pictures:
        content = (REPOSITORY / picture).read_bytes()
        assert (content[:4], content[8:12]) == (b"RIFF", b"WEBP")
        assert len(content) < 100_000
    assert re.search(r'alt="[^"]{20,}"', text)
