"""How the help of a command looks: typer's tables, with each option's name whole."""

from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text
from typer import rich_utils

_NARROW: Final = 60
"""In a terminal with fewer columns, a name may be folded, so that the text beside it has room."""

KINDS: Final = {
    "<str>": "TEXT",
    "<int>": "N",
    "<float>": "NUMBER",
    "<path>": "FILE",
    "<list[str]>": "TEXT",
}
"""typer's words for the kind of a value, and those of nh's help."""


class _Table(Table):
    """The last columns give way to those of the names; typer's cuts names off (`--timeout-xmlrpc-form…`).

    Words that are longer than a column go on in the next line: typer's cuts them off, too (`$NH_RUNTI…`).
    """

    def add_row(self, *cells: Any, **options: Any) -> None:
        for cell in cells:
            for part in getattr(cell, "renderables", [cell]):
                if isinstance(part, Text):
                    part.overflow = "fold"
        super().add_row(*cells, **options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for column in self.columns:
            column.overflow = "fold"
        for column in self.columns[:-2]:  # all but what a value is called, and the text
            column.no_wrap = options.max_width >= _NARROW
        return super().__rich_console__(console, options)


def keep_names_whole() -> None:
    """Let typer print its tables of options with whole names."""
    tables: Any = rich_utils
    tables.Table = _Table
