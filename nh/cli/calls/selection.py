"""The options of `nh calls` that say which calls, and in which order."""

from typing import Annotated, Final

import typer

from nh.cli.calls.call_id import read_id
from nh.cli.options import completing
from nh.commands import CallOrder, ListCalls
from nh.errors import ConfigError, MalformedRequest
from nh.wire.fields import make_network, make_order

_PANEL: Final = "Which calls"

Contains = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help="List only calls whose call-id contains this.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]

OneWay = Annotated[
    bool, typer.Option("--one-way", help="List calls with media from one end only.", rich_help_panel=_PANEL)
]

Silent = Annotated[
    bool,
    typer.Option(
        "--silent", help="List calls without media; with --one-way: these and those.", rich_help_panel=_PANEL
    ),
]

Address = Annotated[
    str,
    typer.Option(
        metavar="IP[/LEN]",
        help="List only calls with an end at this address, or in this network.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]

Sort = Annotated[
    str,
    typer.Option(
        metavar="ORDER",
        help=f"The order: {', '.join(CallOrder)}; what is oldest, longest, most, worst comes first.",
        autocompletion=completing(CallOrder),
        rich_help_panel=_PANEL,
    ),
]

Ended = Annotated[
    bool,
    typer.Option(
        "--ended",
        help="List calls that have ended, the latest first; with CALL-ID, show the record of that one.",
        rich_help_panel=_PANEL,
    ),
]

Limit = Annotated[
    str, typer.Option(metavar="N", help="Most calls to list; 1 or more.", rich_help_panel=_PANEL)
]


def list_command(contains: str, one_way: bool, silent: bool, address: str, sort: str) -> ListCalls:
    """What to list. Raises ConfigError for a value that cannot be used."""
    try:
        network, order = make_network(address, where="--address"), make_order(sort, where="--sort")
    except MalformedRequest as exc:
        raise ConfigError(f"command line: {exc}") from exc
    return ListCalls(read_id(contains), one_way=one_way, silent=silent, address=network, sort=order)
