"""Sphinx's configuration: the Markdown of docs as a site, which `make docs` builds.

The pages are the ones that a reader of the repository sees: MyST reads the same dialect and makes the same
anchors.
docs/README.md is the index, and its sections are the navigation.
A link to a page, heading or file that does not exist is a warning, and `make docs` makes warnings errors.
A link to a file that is no page, such as a unit, gives the file itself.
A page fetches nothing from other hosts: furo brings its scripts, and uses the fonts of the reader's system.
"""

import re
from pathlib import Path
from typing import Final

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from nh.version import __version__

INDEX: Final = "docs/README"
PROJECT: Final = (
    ("What nh is", "/README"),
    ("Changes", "/CHANGELOG"),
    ("Contributing", "/CONTRIBUTING"),
    ("Benchmarks", "/benchmarks/README"),
)
"""Pages beside docs: title and document."""

project = "nh"
release = version = __version__
extensions = ["myst_parser"]
root_doc = INDEX
include_patterns = ["docs/**.md", *(f"{page[1:]}.md" for _, page in PROJECT)]
exclude_patterns = ["build", ".*"]
source_suffix = {".md": "markdown"}
myst_heading_anchors = 6
nitpicky = True
pygments_style, pygments_dark_style = "sphinx", "monokai"

html_theme = "furo"
html_title = f"nh {__version__}"
html_copy_source = html_show_sphinx = html_use_index = False
html_additional_pages = {"index": "start.html"}
templates_path = [str(Path(__file__).parent)]


def setup(app: Sphinx) -> None:
    """Sphinx calls it."""
    for language in ("kamailio", "opensips"):  # Pygments knows neither
        app.add_lexer(language, TextLexer)
    app.connect("source-read", _add_navigation)


def _add_navigation(_app: Sphinx, page: str, text: list[str]) -> None:
    """Append each section of the index as a toctree, which furo shows beside every page."""
    if page != INDEX:
        return
    sections = re.split(r"^## +(.*)$", text[0], flags=re.MULTILINE)[1:]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        text[0] += _toctree(title, re.findall(r"^- \[(.+?)\]\((.+?)\.md\)", body, re.MULTILINE))
    text[0] += _toctree("Project", list(PROJECT))


def _toctree(title: str, pages: list[tuple[str, str]]) -> str:
    entries = "\n".join(f"{name} <{page}>" for name, page in pages)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```\n"
