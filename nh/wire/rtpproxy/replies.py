"""The replies of rtpproxy: results to lines.

SIP proxies read 255 bytes of a reply, and some find its end by the line feed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from nh.commands import Lookup
from nh.ip_address import is_ipv6
from nh.results import Closed, Failure, Pong, RelayPort, Result, SessionCounters, Stats
from nh.wire.rtpproxy.errors import Error, number_of
from nh.wire.rtpproxy.requests import RtpproxyRequest

VERSION: Final = 20040107
"""The reply to V: the base of the protocol."""

FEATURES: Final = frozenset(
    {
        "20040107",  # the base
        "20050322",  # several media
        "20060704",  # VF itself
        "20080403",  # Q
        "20090810",  # automatic bridging
        "20141004",  # G
        "20150330",  # new ports: N
        "20150420",  # counters of sequence numbers in Q
        "20260306",  # names of interfaces: L{NAME}
    }
)
"""What VF confirms, by the dates of rtpproxy's capabilities."""

NOTIFICATIONS: Final = "20081224"
"""What VF confirms where the settings have a notify socket."""

MAX_REPLY_BYTES: Final = 255
"""Longest reply, cookie and line feed included."""


def encode_reply(request: RtpproxyRequest, result: Result, max_bytes: int = MAX_REPLY_BYTES) -> bytes:
    """The line of a reply, without the cookie.

    Args:
        request: from decode_request().
        result: of its command, or its Failure.
        max_bytes: longest line; counters that need more are an error.
    """
    line = _line(request, result)
    if len(line) >= max_bytes:
        error = Error.QUERY_TOO_LONG if request.name == "Q" else Error.STATISTICS_TOO_LONG
        line = _error(error)
    return line.encode("latin-1") + b"\n"


def _line(request: RtpproxyRequest, result: Result) -> str:
    match result:
        case Failure():
            return _failure(request, result)
        case Pong():
            return str(int(_has_feature(request)) if request.names else VERSION)
        case RelayPort(port, address):
            return f"{port} {address} 6" if is_ipv6(address) else f"{port} {address}"
        case Closed():
            return "0"
        case SessionCounters() | Stats():
            return _numbers(request, result)
        case _:
            return _error(Error.INTERNAL)


def _has_feature(request: RtpproxyRequest) -> bool:
    name = request.names[0]
    return name in FEATURES or (name == NOTIFICATIONS and request.notifies)


def _error(number: Error) -> str:
    return f"E{number.value}"


def _failure(request: RtpproxyRequest, failure: Failure) -> str:
    command = request.command
    if isinstance(command, Failure):
        return _error(request.error)
    if failure.code == "not_found" and isinstance(command, Lookup):
        return "0"
    return _error(number_of(failure, command))


# --- Q, G and I -----------------------------------------------------------------------------------

COUNTERS: Final[Mapping[str, Callable[[SessionCounters], int]]] = {
    "ttl": lambda each: each.ttl_s,
    "npkts_ina": lambda each: each.from_packets,
    "npkts_ino": lambda each: each.to_packets,
    "nrelayed": lambda each: each.relayed,
    "ndropped": lambda each: each.dropped,
    "rtpa_nsent": lambda each: each.expected,
    "rtpa_nrcvd": lambda each: each.unique,
    "rtpa_ndups": lambda each: each.duplicates,
    "rtpa_nlost": lambda each: each.lost,
    "rtpa_perrs": lambda _each: 0,  # what is not RTP is passed on, and not measured
}
"""What Q can name; the first five are the reply where it names nothing."""

_DEFAULT: Final = tuple(COUNTERS)[:5]


def _counters(request: RtpproxyRequest, counters: SessionCounters) -> str:
    names = request.names or _DEFAULT
    if not set(names) <= set(COUNTERS):
        return _error(Error.QUERY)
    return _values(request, ((name, COUNTERS[name](counters)) for name in names))


def _numbers(request: RtpproxyRequest, result: SessionCounters | Stats) -> str:
    if isinstance(result, SessionCounters):
        return _counters(request, result)
    return _info(result.values) if request.name == "I" else _statistics(request, result.values)


def _values(request: RtpproxyRequest, values: Iterable[tuple[str, int]]) -> str:
    return " ".join(f"{name}={value}" if request.verbose else str(value) for name, value in values)


_DROPS: Final = "drop_"

STATISTICS: Final[Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], int]]] = {
    "nsess_created": lambda totals, _: totals["sessions_started"],
    "nsess_destroyed": lambda totals, _: totals["sessions_ended"],
    "nsess_timeout": lambda totals, _: totals["expired_silent"] + totals["expired_hold"],
    "nsess_complete": lambda totals, _: totals["sessions_started"],
    "npkts_rcvd": lambda totals, _: totals["packets_in"],
    "npkts_relayed": lambda totals, _: totals["packets_out"],
    "npkts_played": lambda _totals, _: 0,
    "npkts_discard": lambda totals, _: sum(totals[name] for name in totals if name.startswith(_DROPS)),
    "ncmds_rcvd": lambda _, supervisor: supervisor["rpc_requests_rtpproxy"],
    "ncmds_rcvd_ndups": lambda _, supervisor: supervisor["rpc_retransmissions"],
    "ncmds_errs": lambda _, supervisor: supervisor["rpc_malformed"] + supervisor["rpc_unknown_commands"],
}
"""What G can name, of the whole relay; arguments: the totals of the shards, the supervisor's values."""


def _statistics(request: RtpproxyRequest, values: Mapping[str, Any]) -> str:
    if not set(request.names) <= set(STATISTICS):
        return _error(Error.STATISTICS)
    totals, supervisor = values["totals"], values["supervisor"]
    return _values(request, ((name, STATISTICS[name](totals, supervisor)) for name in request.names))


def _info(values: Mapping[str, Any]) -> str:
    totals = values["totals"]
    lines = [
        f"sessions created: {totals['sessions_started']}",
        f"active sessions: {totals['sessions']}",
        f"active streams: {2 * totals['sessions']}",
        f"packets received: {totals['packets_in']}",
        f"packets transmitted: {totals['packets_out']}",
    ]
    return "\n".join(lines)
