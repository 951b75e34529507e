"""tools/site: the documentation becomes a site, without a warning, that fetches nothing from other hosts."""

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(300),  # the site is built: 5 s, and many times that where others use the CPUs
    pytest.mark.skipif(find_spec("sphinx") is None, reason="needs Sphinx: make docs"),
]


class Page(HTMLParser):
    """What a browser fetches for a page, and where the page's links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.linked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.fetched += [values[name] or "" for name in ("src", "srcset", "poster") if name in values]
        if "href" in values:
            (self.linked if tag == "a" else self.fetched).append(values["href"] or "")


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build as `make docs` does."""
    words = ["-q", "-W", "--keep-going", "-d", str(site / ".doctrees"), "-c", str(ROOT / "tools/site")]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *words, str(source), str(site)],
        capture_output=True,
        text=True,
        check=False,
    )


def pages(site: Path) -> Iterator[tuple[Path, Page]]:
    """Each page of the site."""
    for path in site.rglob("*.html"):
        page = Page()
        page.feed(path.read_text(encoding="utf-8"))
        yield path, page


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built."""
    place: Path = tmp_path_factory.mktemp("site")
    done = build(ROOT, place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return place


def test_every_page_of_the_documentation_is_in_the_site(site: Path) -> None:
    written = {path.relative_to(ROOT).with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {path for path in written if not (site / path).exists()} == set()


def test_each_page_leads_to_every_other(site: Path) -> None:
    """The sections of the index are beside each page."""
    documented = set((site / "docs").rglob("*.html"))
    for path, page in pages(site / "docs"):
        led = {(path.parent / link.partition("#")[0]).resolve() for link in page.linked if link}
        assert documented - {path} <= led, path


def test_no_page_fetches_anything_from_another_host(site: Path) -> None:
    foreign = {
        (path.name, target)
        for path, page in pages(site)
        for target in page.fetched
        if re.match(r"(\w+:)?//", target)
    }
    styles = [path for path in site.rglob("*.css") if re.search(r"url\(['\"]?\w*:?//", path.read_text())]
    assert (foreign, styles) == (set(), [])


def test_what_pages_fetch_is_in_the_site(site: Path) -> None:
    lost = {
        (path.name, target)
        for path, page in pages(site)
        for target in page.fetched
        if not target.startswith("data:") and not (path.parent / re.split(r"[?#]", target)[0]).exists()
    }
    assert lost == set()


def test_a_link_to_a_page_or_heading_that_does_not_exist_fails(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("# Page\n")
    (tmp_path / "docs/README.md").write_text("# Index\n\n[one](gone.md), [two](../README.md#gone)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert "'gone.md'" in done.stderr
    assert "'gone'" in done.stderr
