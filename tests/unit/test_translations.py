"""A translated page has the structure of its source, and no section of the source has changed since its translation.

NAME.zh-CN.md translates NAME.md. A comment at its end has a digest of each section of the source.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pytest
from server import REPOSITORY
from test_documentation import PAGES

SUFFIX = ".zh-CN.md"
TRANSLATED = [page for page in PAGES if page.name.endswith(SUFFIX)]
CODE = re.compile(r"^```\w*\n(?:.*\n)*?```$|^    .*$", re.MULTILINE)
DIGESTS = re.compile(
    r"^<!-- Sections of \S+ when they were translated, see CONTRIBUTING\.md:\n((?:.*\n)*)-->\n\Z", re.MULTILINE
)


class Section(NamedTuple):
    """A heading, and what is below it up to the next one."""

    title: str
    text: str

    @property
    def level(self) -> str:
        return re.sub(r"[^#]", "", self.title.split(" ")[0])

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        return f"{self.digest} {self.title}"

    def code(self) -> list[str]:
        """Return the blocks of code. Lines of a diagram are translated, and left out."""
        return [line for block in CODE.findall(self.text) for line in block.splitlines() if not re.search("[▶▲]", line)]

    def _prose(self) -> str:
        return CODE.sub("", self.text)

    def names(self) -> Counter[str]:
        return Counter(re.findall(r"`([^`\n]+)`", self._prose()))

    def links(self) -> Counter[str]:
        """Return where its links lead to. The link between the two pages is the same on both."""
        targets = re.findall(r"\]\((\S+?)\)|<(https?:\S+?)>", self._prose())
        return Counter((link or address).replace(SUFFIX, ".md") for link, address in targets)

    def rows(self) -> list[int]:
        """Return the number of cells in each row of its tables."""
        return [line.count("|") for line in self._prose().splitlines() if line.startswith("|")]

    def items(self) -> int:
        return len(re.findall(r"^- |^\d+\. ", self._prose(), re.MULTILINE))


def sections_of(text: str) -> list[Section]:
    """Split a page at its headings. A line that begins with # in a block of code is none."""
    hidden = CODE.sub(lambda block: re.sub("#", "\0", block[0]), text)
    parts = [part.replace("\0", "#") for part in re.split(r"^(?=#+ )", hidden, flags=re.MULTILINE)]
    return [Section(*part.strip("\n").partition("\n")[::2]) for part in parts if part.strip()]


def source_of(page: Path) -> Path:
    return page.with_name(page.name.replace(SUFFIX, ".md"))


ASPECTS: dict[str, Callable[[Section], object]] = {
    "the level of the heading": lambda section: section.level,
    "code": Section.code,
    "names in `code`": Section.names,
    "links": Section.links,
    "rows and cells of tables": Section.rows,
    "the number of list items": Section.items,
}


def differences(source: str, translation: str) -> list[str]:
    """Return in which aspects a translation differs from its source, section by section."""
    pairs = zip_longest(sections_of(source), sections_of(DIGESTS.sub("", translation)))
    found = []
    for theirs, ours in pairs:
        if not theirs or not ours:
            found.append(f"{(theirs or ours).title!r} is only in the {'source' if theirs else 'translation'}")
            break
        found += [
            f"{ours.title!r}, {aspect}: {of(ours)} is {of(theirs)} in the source"
            for aspect, of in ASPECTS.items()
            if of(theirs) != of(ours)
        ]
    return found


def outdated(source: str, translation: str) -> list[str]:
    """Return the sections of the source that have changed since they were translated, with their digests."""
    recorded = DIGESTS.search(translation)
    lines = recorded[1].splitlines() if recorded else []
    return [str(section) for section in sections_of(source) if str(section) not in lines]


def test_the_readme_is_translated() -> None:
    assert REPOSITORY / "README.zh-CN.md" in TRANSLATED


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_translated_page_has_the_structure_of_its_source(page: Path) -> None:
    assert differences(source_of(page).read_text(), page.read_text()) == []


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_no_section_has_changed_since_its_translation(page: Path) -> None:
    source = source_of(page)
    stale = outdated(source.read_text(), page.read_text())
    assert not stale, (
        f"{page.name} is older than {source.name}. Translate what has changed in these sections, then write their "
        f"lines into the comment at the end of {page.name}:\n" + "\n".join(stale)
    )


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_the_two_pages_link_to_each_other_at_the_top(page: Path) -> None:
    source = source_of(page)
    for file, other in ((source, page), (page, source)):
        assert f"]({other.name})" in sections_of(file.read_text())[0].text.partition("\n\n")[0]


SOURCE = """\
# Name

See [rooms](docs/rooms.md) and `DOMAIN`.

| a | b |
|---|---|
| 1 | 2 |

## Start

- Run this:

```sh
# a comment
make test
```

    make lint
"""
CHANGES = {
    "an added heading": ("## Start\n", "## Start\n\n## Stop\n"),
    "another level": ("## Start", "### Start"),
    "another command in a fenced block": ("make test", "make test-all"),
    "another command in an indented block": ("make lint", "make test"),
    "another setting": ("DOMAIN", "ORIGINS"),
    "another link": ("docs/rooms.md", "docs/client.md"),
    "an added row": ("| 1 | 2 |\n", "| 1 | 2 |\n| 3 | 4 |\n"),
    "an added column": ("| 1 | 2 |\n", "| 1 | 2 | 3 |\n"),
    "an added item": ("- Run this:\n", "- Run this:\n- Then wait.\n"),
}


def recorded(text: str) -> str:
    lines = "\n".join(map(str, sections_of(text)))
    return f"<!-- Sections of NAME.md when they were translated, see CONTRIBUTING.md:\n{lines}\n-->\n"


def test_a_page_with_other_words_has_the_same_structure() -> None:
    translation = SOURCE.replace("See", "见").replace("Start", "启动").replace("Run this", "运行")
    assert differences(SOURCE, translation + recorded(SOURCE)) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_sources_structure_is_found(change: str) -> None:
    changed = SOURCE.replace(*CHANGES[change])
    assert changed != SOURCE
    assert differences(changed, SOURCE)
    assert outdated(changed, SOURCE + recorded(SOURCE))


def test_a_changed_sentence_makes_its_section_outdated_and_no_other() -> None:
    changed = SOURCE.replace("Run this", "Do not run this")
    assert differences(changed, SOURCE) == []
    assert outdated(changed, SOURCE + recorded(SOURCE)) == [str(sections_of(changed)[1])]
    assert outdated(changed, SOURCE + recorded(changed)) == []


def test_a_translation_without_digests_is_outdated() -> None:
    assert len(outdated(SOURCE, SOURCE)) == 2
