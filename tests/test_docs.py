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

INTERNALS = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "explanation").glob("*.md"))]

FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`]*`")
PATH = re.compile(r"(?:nh|tests|tools|benchmarks|docs)/[\w./-]+")
NAME = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]*)+(?:\.\w+)?|[a-z]+(?:_[a-z]+)+(?:\(\))?|_?[A-Z]+(?:_[A-Z]+)*")
KERNELS = {
    "CAP_PERFMON",
    "UdpNoPorts",
    "bpf_fib_lookup",
    "ep_loop_check_proc",
    "epoll_wait",
    "reverse_path_check_proc",
}
"""Names of the kernel."""

SYSTEMS = {"Too many open files", "No space left on device", "database or disk is full"}
"""Messages of the system and of SQLite."""

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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_the_text_exist(page: Path) -> None:
    quoted = {code.strip("`") for code in CODE.findall(prose(page))}

    assert not {path for path in quoted if PATH.fullmatch(path) and not (ROOT / path).exists()}


@pytest.mark.parametrize("page", INTERNALS, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_of_code_in_the_text_exist(page: Path) -> None:
    source = "".join(
        path.read_text() for path in (ROOT / "nh").rglob("*.*") if path.suffix in {".py", ".c", ".h"}
    )
    names = {code.strip("`()") for code in CODE.findall(prose(page)) if NAME.fullmatch(code.strip("`"))}

    assert not {name for name in names - KERNELS if name.split(".")[0] not in source}


def test_log_lines_in_the_text_exist() -> None:
    """The log lines of the table of what runs out, without the values in them."""
    page = (ROOT / "docs" / "reference" / "reliability.md").read_text(encoding="utf-8")
    exhaustion = page[page.index("\n## Exhaustion\n") :].partition("\n## ")[2]
    cells = [row.split("|")[3] for row in exhaustion.splitlines() if row.startswith("| **")]
    quoted = [code.strip("`") for cell in cells for code in CODE.findall(cell)]
    parts = {part.strip(" ,") for text in quoted for part in re.split(r"[…:;]|\d+", text)}
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "nh").rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", source)

    assert len(quoted) > 7
    assert not {part for part in parts - SYSTEMS if part not in joined}
