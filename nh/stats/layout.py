"""The statistics: dataclasses whose fields have kind, unit and meaning.

The attribute, its position in shared memory, its name in JSON and its help text come from one line here.
This module knows nothing of shared memory, of processes and of how values are shown.
"""

import dataclasses
import enum
import struct
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

from nh.stats.histograms import (
    Histogram,
    HistogramInfo,
    HistogramRecord,
    add_flat,
    flatten,
    histogram,
    histogram_table,
)

MAX_SHARDS: Final = 256
"""Most shards of a segment."""

_KEY: Final = "nh.stats"


class Kind(enum.StrEnum):
    """A counter only grows and survives restarts of its shard; a gauge is the present value."""

    COUNTER = "counter"
    GAUGE = "gauge"


class Total(enum.StrEnum):
    """How the values of the shards combine to one of the relay; NONE: they do not."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    NONE = "none"


class FieldInfo(NamedTuple):
    """One line of a table.

    Attributes:
        name: of the attribute, and in JSON.
        kind: see Kind.
        total: see Total.
        unit: such as packets, bytes or s; values in s are floats, all others integers.
        help: the meaning, for people.
        zero: the value before the first publication, and for gauges of a shard that is down.
        label: of a reason for a drop: what the live view calls it.
    """

    name: str
    kind: Kind
    total: Total
    unit: str
    help: str
    zero: float
    label: str = ""


def _field(kind: Kind, total: Total, unit: str, help: str, zero: int = 0, *, label: str = "") -> Any:
    default = float(zero) if unit == "s" else zero
    return dataclasses.field(default=default, metadata={_KEY: (kind, total, unit, help, default, label)})


def _counter(help: str, unit: str = "commands") -> Any:
    return _field(Kind.COUNTER, Total.SUM, unit, help)


def _drop(label: str, why: str) -> Any:
    return _field(Kind.COUNTER, Total.SUM, "packets", f"dropped: {why}", label=label)


def _gauge(help: str, unit: str, total: Total = Total.SUM, zero: int = 0) -> Any:
    return _field(Kind.GAUGE, total, unit, help, zero)


_MILLISECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_LOSS: Final = (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_MOS: Final = (1.5, 2.0, 2.5, 3.0, 3.5, 3.8, 4.0, 4.2, 4.4)


def table(stats: type) -> tuple[FieldInfo, ...]:
    """The lines of a table, in the order of the fields of `stats` that are statistics."""
    return tuple(
        FieldInfo(field.name, *field.metadata[_KEY])
        for field in dataclasses.fields(stats)
        if _KEY in field.metadata
    )


Counters = Mapping[str, int | float]
"""Values of counters by name."""


def read_counters(stats: Any, fields: Sequence[FieldInfo]) -> dict[str, int | float]:
    """The counters of `stats`, a dataclass with the table `fields`, and its histograms."""
    counters = {field.name: getattr(stats, field.name) for field in fields if field.kind is Kind.COUNTER}
    return counters | flatten(stats, histogram_table(type(stats)))


def add_counters(stats: Any, fields: Sequence[FieldInfo], counters: Counters) -> None:
    """Add the counters of another process, which may run another version of nh, to those of `stats`.

    Args:
        stats: a dataclass with the table `fields`.
        fields: its table.
        counters: unknown names and values below 0 are ignored.
    """
    for field in fields:
        value = counters.get(field.name, 0)
        if field.kind is Kind.COUNTER and value > 0:
            whole = value if field.unit == "s" else int(value)
            setattr(stats, field.name, getattr(stats, field.name) + whole)
    add_flat(stats, histogram_table(type(stats)), counters)


# eq, repr and match_args of so many fields would cost each start of a process 15 ms
@dataclasses.dataclass(slots=True, eq=False, repr=False, match_args=False)
class ShardStats:
    """Statistics that a shard writes and publishes at least twice a second."""

    packets_in: int = _counter("packets received on media sockets, including dropped ones", "packets")
    bytes_in: int = _counter("payload bytes of packets_in", "bytes")
    packets_out: int = _counter("packets sent to the other end", "packets")
    bytes_out: int = _counter("payload bytes of packets_out", "bytes")

    kernel_packets: int = _counter(
        "packets relayed in the kernel; included in packets_in and packets_out", "packets"
    )
    kernel_bytes: int = _counter("payload bytes of kernel_packets", "bytes")
    kernel_table_full: int = _counter(
        "directions relayed in user space because the kernel's flow table was full", "directions"
    )

    drop_source_mismatch: int = _drop("mismatch", "the source policy rejects the source")
    drop_no_target: int = _drop("no target", "the other end does not receive, or its address is unknown yet")
    drop_send_failed: int = _drop("send failed", "the kernel refused to send")
    drop_no_session: int = _drop("no session", "the socket has no active session")
    drop_looped: int = _drop("looped", "passed through ports of this relay too often (a loop)")
    drop_overflow: int = _drop("overflow", "the receive buffer of the socket was full")
    drop_dtmf_blocked: int = _drop("DTMF blocked", "a DTMF event of an end whose DTMF is blocked")

    allocate_ok: int = _counter("allocate commands carried out")
    allocate_refused: int = _counter("allocate commands refused by a rule or a limit")
    allocate_failed: int = _counter("allocate commands that failed by an error of nh or of the system")
    activate_ok: int = _counter("activate commands carried out")
    activate_refused: int = _counter("activate commands refused by a rule or a limit")
    activate_failed: int = _counter("activate commands that failed by an error of nh or of the system")
    close_ok: int = _counter("close commands carried out, including those for a whole call")
    close_refused: int = _counter("close commands refused by a rule")
    close_failed: int = _counter("close commands that failed by an error of nh or of the system")
    list_ok: int = _counter("list commands carried out")
    list_refused: int = _counter("list commands refused by a rule")
    list_failed: int = _counter("list commands that failed by an error of nh or of the system")
    show_ok: int = _counter("show commands carried out")
    show_refused: int = _counter("show commands refused by a rule")
    show_failed: int = _counter("show commands that failed by an error of nh or of the system")
    offer_ok: int = _counter("offer commands of ng carried out")
    offer_refused: int = _counter("offer commands of ng refused by a rule or a limit")
    offer_failed: int = _counter("offer commands of ng that failed by an error of nh or of the system")
    answer_ok: int = _counter("answer commands of ng carried out")
    answer_refused: int = _counter("answer commands of ng refused by a rule or a limit")
    answer_failed: int = _counter("answer commands of ng that failed by an error of nh or of the system")
    delete_ok: int = _counter("delete commands of ng carried out")
    delete_refused: int = _counter("delete commands of ng refused by a rule or a limit")
    delete_failed: int = _counter("delete commands of ng that failed by an error of nh or of the system")
    query_ok: int = _counter("query commands of ng carried out")
    query_refused: int = _counter("query commands of ng refused by a rule or a limit")
    query_failed: int = _counter("query commands of ng that failed by an error of nh or of the system")
    block_ok: int = _counter("block and unblock commands of ng carried out")
    block_refused: int = _counter("block and unblock commands of ng refused by a rule or a limit")
    block_failed: int = _counter(
        "block and unblock commands of ng that failed by an error of nh or of the system"
    )

    expired_silent: int = _counter("sessions ended because no packet arrived for silent_s", "sessions")
    expired_hold: int = _counter("sessions on hold ended because no packet arrived for hold_s", "sessions")
    expired_unused: int = _counter("socket groups closed that never had a session", "groups")
    expired_replaced: int = _counter("sessions ended because newer ones replaced them", "sessions")
    sessions_started: int = _counter("sessions activated", "sessions")
    sessions_ended: int = _counter("sessions ended, for any reason", "sessions")
    media_multicast: int = _counter(
        "media announced at a multicast or broadcast address, where nh sends nothing", "media"
    )
    cpu_s: float = _counter("CPU time of all processes of the shard so far", "s")

    loop_late_s: Histogram = histogram(
        "s", "delay of the event loop, measured ten times a second", *_MILLISECONDS
    )
    stream_loss: Histogram = histogram(
        "ratio", "lost packets by packets sent of RTP streams that ended", *_LOSS
    )
    stream_jitter_s: Histogram = histogram("s", "jitter of RTP streams that ended", *_MILLISECONDS)
    stream_mos: Histogram = histogram("mos", "estimated MOS of audio streams that ended", *_MOS)

    calls: int = _gauge("calls known", "calls")
    sessions: int = _gauge("sessions active", "sessions")
    sockets: int = _gauge("media sockets open", "sockets")
    kernel_flows: int = _gauge("directions relayed inside the kernel", "directions")
    ports_free: int = _gauge("media ports free", "ports")
    ports_total: int = _gauge("media ports in the shard's slice", "ports")
    loop_lag_s: float = _gauge("longest delay of the event loop since the last publication", "s", Total.MAX)
    memory_bytes: int = _gauge("resident memory", "bytes")
    heartbeat: float = _gauge("monotonic clock at the last publication", "s", Total.MIN)
    started: float = _gauge("wall clock at the start of the process", "s", Total.MIN)
    pid: int = _gauge("process id", "id", Total.NONE)
    cpu: int = _gauge("CPU that the shard is pinned to; -1: none", "id", Total.NONE, zero=-1)


class ShardState(enum.IntEnum):
    """The state of a shard, as the supervisor sees it."""

    STARTING = 0
    UP = 1
    DOWN = 2


@dataclasses.dataclass  # no slots, because ShardReading inherits this and ShardStats
class ShardStatus:
    """Statistics that the supervisor writes about one shard; `state` is a ShardState."""

    restarts: int = _counter("restarts of the shard", "restarts")
    hangs: int = _counter("kills of the shard because it hung", "hangs")
    calls_restored: int = _counter("calls restored after a restart of the shard", "calls")
    calls_lost: int = _counter("calls that could not be restored after a restart of the shard", "calls")
    sockets_not_held: int = _counter(
        "media sockets that the supervisor could not hold for lack of descriptors", "sockets"
    )
    command_s: Histogram = histogram(
        "s", "time from a command to the shard's answer, as the supervisor sees it", *_MILLISECONDS, 0.5, 2.0
    )
    calls_saved: int = _gauge("calls whose latest snapshot the supervisor has", "calls")
    sockets_held: int = _gauge("media sockets that the supervisor holds, too", "sockets")
    state: int = _gauge("0 starting, 1 up, 2 down", "state", Total.NONE)


def _room_for_all() -> list[ShardStatus]:
    return [ShardStatus() for _ in range(MAX_SHARDS)]


@dataclasses.dataclass(slots=True, eq=False, repr=False, match_args=False)
class SupervisorStats:
    """Statistics that the supervisor writes.

    Attributes:
        shards: the status of each shard by number. It has MAX_SHARDS entries; those of shards that do not
            exist are not published.
    """

    rpc_accepted: int = _counter("RPC connections accepted", "connections")
    rpc_evicted: int = _counter(
        "RPC connections closed because they were idle, or to make room", "connections"
    )
    rpc_malformed: int = _counter("malformed RPC frames and requests", "requests")
    rpc_unknown_commands: int = _counter("requests for a command that does not exist", "requests")
    rpc_requests_netsip: int = _counter("requests in Net::SIP's protocol", "requests")
    rpc_requests_native: int = _counter("requests in the native protocol", "requests")
    rpc_requests_ng: int = _counter("requests in the ng protocol, without retransmissions", "requests")
    rpc_requests_rtpproxy: int = _counter(
        "requests in rtpproxy's protocol, without retransmissions", "requests"
    )
    rpc_retransmissions: int = _counter(
        "retransmitted requests of ng and rtpproxy, answered without another execution", "requests"
    )
    rpc_send_failed: int = _counter("replies over UDP that the kernel refused to send", "replies")
    timeouts_reported: int = _counter("messages that told others of timed-out calls", "messages")
    timeouts_failed: int = _counter("such messages that their receivers did not take", "messages")
    timeouts_lost: int = _counter("such messages that were dropped, because too many waited", "messages")
    timeouts_refused: int = _counter(
        "such messages that the settings do not allow, to where a client wanted them", "messages"
    )
    rpc_timeouts: int = _counter("commands that a shard did not answer in time", "commands")
    rpc_unroutable: int = _counter("commands whose shard was not up", "commands")

    store_written: int = _counter("changes of calls written to the store", "calls")
    store_errors: int = _counter("failed writes of the store", "errors")

    rpc_clients: int = _gauge("RPC connections open", "connections")
    store_pending: int = _gauge("calls whose last change is not in the store yet", "calls")
    kernel_interfaces: int = _gauge("network interfaces on which the kernel relays", "interfaces")
    serving: int = _gauge(
        "1 while commands are executed: since every shard was up, until nh ends", "state", Total.NONE
    )
    draining: int = _gauge("1 while new calls are refused, otherwise 0", "state", Total.NONE)
    drain_deadline: float = _gauge(
        "monotonic clock at which a drain ends even with calls left; 0: no limit", "s", Total.NONE
    )
    pid: int = _gauge("process id", "id", Total.NONE)
    started: float = _gauge(
        "wall clock at the start of the process, or of its code after an upgrade", "s", Total.NONE
    )
    running_since: float = _gauge(
        "wall clock at the start of nh; an upgrade or takeover keeps it", "s", Total.NONE
    )
    taken_over: int = _gauge(
        "how nh got its calls: 0 by a start, 1 by an upgrade, 2 by a takeover", "state", Total.NONE
    )
    heartbeat: float = _gauge("monotonic clock at the last publication", "s", Total.NONE)
    memory_bytes: int = _gauge("resident memory", "bytes")

    shards: list[ShardStatus] = dataclasses.field(default_factory=_room_for_all)


SHARD_TABLE: Final = table(ShardStats)
STATUS_TABLE: Final = table(ShardStatus)
SUPERVISOR_TABLE: Final = table(SupervisorStats)
SHARD_HISTOGRAMS: Final = histogram_table(ShardStats)
STATUS_HISTOGRAMS: Final = histogram_table(ShardStatus)

DROPS: Final = tuple(field for field in SHARD_TABLE if field.label)
"""The counters of dropped packets, by reason."""


class Record:
    """Packs and unpacks the values of one table: eight bytes for each, in its order, then its histograms.

    Args:
        fields: a table.
        histograms: the histograms of the same dataclass.
    """

    def __init__(self, fields: Sequence[FieldInfo], histograms: tuple[HistogramInfo, ...] = ()) -> None:
        self.fields = tuple(fields)
        self.histograms = HistogramRecord(histograms)
        self._struct = struct.Struct("=" + "".join("d" if field.unit == "s" else "q" for field in fields))
        self._values = attrgetter(*(field.name for field in fields))
        self.size_bytes = self._struct.size + self.histograms.size_bytes

    def pack(self, stats: object) -> bytes:
        """The values of `stats`, an object with the attributes of the table, as `size_bytes` bytes."""
        return self._struct.pack(*self._values(stats)) + self.histograms.pack(stats)

    def unpack(self, data: bytes, offset: int = 0) -> dict[str, Any]:
        """The values at `offset` of `data` by name, which are keyword arguments of the table's class."""
        values = self._struct.unpack_from(data, offset)
        unpacked: dict[str, Any] = {
            field.name: value for field, value in zip(self.fields, values, strict=True)
        }
        return unpacked | self.histograms.unpack(data, offset + self._struct.size)


SHARD_RECORD: Final = Record(SHARD_TABLE, SHARD_HISTOGRAMS)
STATUS_RECORD: Final = Record(STATUS_TABLE, STATUS_HISTOGRAMS)
SUPERVISOR_RECORD: Final = Record(SUPERVISOR_TABLE)
