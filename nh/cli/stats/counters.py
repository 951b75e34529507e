"""The table that `nh stats --once` adds to the picture: all counters since the start. Pure rendering."""

from collections.abc import Iterator
from typing import Final

from rich.table import Table
from rich.text import Text

from nh.cli.stats import quantities
from nh.stats import SupervisorStats
from nh.stats.layout import DROPS, LIMITS
from nh.stats.reading import StatsReading, Totals

_COMMANDS: Final = (
    *("allocate", "activate", "close", "list", "show"),
    *("offer", "answer", "delete", "query", "block"),  # of ng, and the first four of rtpproxy
)
_OUTCOMES: Final = ("ok", "refused", "failed")

_Row = tuple[str, str | Text]


def counters_table(reading: StatsReading) -> Table:
    """The counters of the whole relay, one line for each kind."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    table.add_row("since start", "")
    for row in (*_of_shards(reading.totals), *_of_supervisor(reading.supervisor)):
        table.add_row(*row)
    return table


def _of_shards(totals: Totals) -> Iterator[_Row]:
    yield "received", f"{quantities.packets(totals.packets_in)}, {quantities.byte_size(totals.bytes_in)}"
    yield "sent", f"{quantities.packets(totals.packets_out)}, {quantities.byte_size(totals.bytes_out)}"
    yield (
        "paths",
        _line(
            (totals.kernel_packets, "in the kernel"),
            (totals.packets_in - totals.kernel_packets, "in user space"),
            (totals.kernel_table_full, "kernel table full"),
        ),
    )
    dropped = [(getattr(totals, reason.name), reason.label) for reason in DROPS]
    yield "dropped", _line(*((number, label) for number, label in dropped if number)) or _line((0, "packets"))
    refused = [(getattr(totals, f"refused_{name}"), name) for name in (*LIMITS, "draining")]
    yield "refused", _line(*(each for each in refused if each[0])) or _line((0, "for a limit"))
    yield "sessions", _line((totals.sessions_started, "started"), (totals.sessions_ended, "ended"))
    yield (
        "expired",
        _line(
            (totals.expired_silent, "silent"),
            (totals.expired_hold, "on hold"),
            (totals.expired_unused, "unused"),
            (totals.expired_replaced, "replaced"),
        ),
    )
    yield (
        "recovery",
        _line(
            (totals.hangs, "hangs"),
            (totals.calls_restored, "calls restored"),
            (totals.calls_lost, "lost"),
            (totals.sockets_not_held, "sockets not held"),
        ),
    )
    for command in _COMMANDS:
        yield command, _line(*((getattr(totals, f"{command}_{word}"), word) for word in _OUTCOMES))


def _of_supervisor(supervisor: SupervisorStats) -> Iterator[_Row]:
    yield (
        "requests",
        _line(
            (supervisor.rpc_requests_netsip, "Net::SIP"),
            (supervisor.rpc_requests_native, "native"),
            (supervisor.rpc_requests_ng, "ng"),
            (supervisor.rpc_requests_rtpproxy, "rtpproxy"),
            (supervisor.rpc_malformed, "malformed"),
            (supervisor.rpc_unknown_commands, "unknown"),
        ),
    )
    yield (
        "unserved",
        _line(
            (supervisor.rpc_timeouts, "timeouts"),
            (supervisor.rpc_unroutable, "unroutable"),
            (supervisor.rpc_overloaded, "too many under way"),
        ),
    )
    yield (
        "datagrams",
        _line(
            (supervisor.rpc_retransmissions, "retransmissions"),
            (supervisor.rpc_replies_dropped, "replies forgotten early"),
            (supervisor.rpc_send_failed, "send failed"),
        ),
    )
    yield (
        "connections",
        _line(
            (supervisor.rpc_accepted, "accepted"),
            (supervisor.rpc_evicted, "evicted"),
            (supervisor.rpc_stalled, "stalled"),
            (supervisor.rpc_paused, "pauses"),
        ),
    )


def _line(*counted: tuple[int, str]) -> Text:
    text = Text()
    for number, what in counted:
        text.append(" · " if text else "", style="dim").append(
            f"{quantities.count(number)} {what}", style="" if number else "dim"
        )
    return text
