"""The documentation: links resolve, the index has every page, and the text follows the rules below."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INDEX = ROOT / "docs" / "README.md"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
]

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
GENERATED = re.compile(r"<!-- (\w+): begin -->.*<!-- \1: end -->", re.DOTALL)

ITEM = re.compile(r"^ *(?:[-*]|\d+\.) +")

LONGEST = 119
"""Characters of a line of prose at most, its URLs apart."""

NEXT_SENTENCE = re.compile(r"[.!?][)\"*]* +[*(]*[A-Z`]")
"""The end of one sentence and the begin of another."""


def prose(page: Path) -> str:
    """The text of a page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def lines(page: Path) -> Iterator[str]:
    """The lines of a page's prose: without code, tables, headings, generated parts and targets of links."""
    for line in GENERATED.sub("", prose(page)).splitlines():
        if not line.startswith(("|", "    ", "#", "![")):
            yield LINK.sub("]", ITEM.sub("", line))


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The page's links into the tree: the file, and the heading's anchor or ""."""
    for target in LINK.findall(CODE.sub("", prose(page))):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            yield ((page.parent / path).resolve() if path else page), anchor


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, made as GitHub makes them."""
    headings = re.findall(r"^#+ +(.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    broken = [
        f"{file.relative_to(ROOT)}#{anchor}"
        for file, anchor in links(page)
        if not file.exists() or (anchor and anchor not in anchors(file))
    ]

    assert not broken


def test_the_index_links_every_page() -> None:
    linked = {file for file, _ in links(INDEX)}

    assert {page for page in PAGES if INDEX.parent in page.parents} - {INDEX} <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_line_of_prose_is_short_and_has_one_sentence(page: Path) -> None:
    assert [line for line in lines(page) if len(line) > LONGEST] == []
    assert [line for line in lines(page) if NEXT_SENTENCE.search(CODE.sub("`x`", line))] == []
