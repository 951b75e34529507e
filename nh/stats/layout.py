"""What is counted: all statistics, as dataclasses whose fields say their kind, unit and meaning.

The attribute, its place in shared memory, its name in JSON and its help text all come from one line here.
Knows nothing of shared memory, processes or how numbers are shown.
"""

import dataclasses
import enum
from collections.abc import Mapping, Sequence
from typing import Any, Final

MAX_SHARDS: Final = 256
"""Most shards that a segment has room for."""

_KEY: Final = "nh.stats"


class Kind(enum.StrEnum):
    """A counter only grows and survives its shard's restart; a gauge is the value of the moment."""

    COUNTER = "counter"
    GAUGE = "gauge"


class Total(enum.StrEnum):
    """How the shards' values become one of the whole relay; NONE: they do not."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    NONE = "none"


@dataclasses.dataclass(frozen=True, slots=True)
class FieldInfo:
    """One line of a table.

    Arguments:
        name: of the attribute and in JSON.
        kind, total: see Kind and Total.
        unit: such as packets, bytes or s; values in s are floats, all others integers.
        help: what it counts, for people.
        zero: the value where nothing is known.
    """

    name: str
    kind: Kind
    total: Total
    unit: str
    help: str
    zero: float


def _field(kind: Kind, total: Total, unit: str, help: str, zero: int) -> Any:
    default = float(zero) if unit == "s" else zero
    return dataclasses.field(default=default, metadata={_KEY: (kind, total, unit, help, default)})


def _counter(help: str, unit: str = "commands") -> Any:
    return _field(Kind.COUNTER, Total.SUM, unit, help, 0)


def _gauge(help: str, unit: str, total: Total = Total.SUM, zero: int = 0) -> Any:
    return _field(Kind.GAUGE, total, unit, help, zero)


def table(stats: type) -> tuple[FieldInfo, ...]:
    """The lines of a table in the order of its fields; fields that are no statistics are left out."""
    return tuple(
        FieldInfo(field.name, *field.metadata[_KEY])
        for field in dataclasses.fields(stats)
        if _KEY in field.metadata
    )


Counters = Mapping[str, int | float]
"""Values of counters, by name."""


def read_counters(stats: object, fields: Sequence[FieldInfo]) -> dict[str, int | float]:
    """The counters of `stats`, a dataclass that has the table `fields`."""
    return {field.name: getattr(stats, field.name) for field in fields if field.kind is Kind.COUNTER}


def add_counters(stats: object, fields: Sequence[FieldInfo], counters: Counters) -> None:
    """Let the counters of `stats` go on from what somebody else counted, of another version of nh too.

    Arguments:
        stats: a dataclass that has the table `fields`.
        counters: what is no counter there, or below 0, is left out.
    """
    for field in fields:
        value = counters.get(field.name, 0)
        if field.kind is Kind.COUNTER and value > 0:
            whole = value if field.unit == "s" else int(value)
            setattr(stats, field.name, getattr(stats, field.name) + whole)


# eq, repr and match_args of so many fields would cost each start of a process 15 ms
@dataclasses.dataclass(slots=True, eq=False, repr=False, match_args=False)
class ShardStats:
    """What a shard counts; the shard writes it, published at least twice a second."""

    packets_in: int = _counter("packets received on media sockets, dropped ones too", "packets")
    bytes_in: int = _counter("payload bytes of packets_in", "bytes")
    packets_out: int = _counter("packets sent on to the other side", "packets")
    bytes_out: int = _counter("payload bytes of packets_out", "bytes")

    kernel_packets: int = _counter("of packets_in and packets_out: relayed inside the kernel", "packets")
    kernel_bytes: int = _counter("payload bytes of kernel_packets", "bytes")
    kernel_full: int = _counter(
        "directions that stayed in user space because the kernel's table of flows was full", "directions"
    )

    drop_source_mismatch: int = _counter("dropped: from a source that the policy turns down", "packets")
    drop_no_target: int = _counter("dropped: the other side's address is not known (yet)", "packets")
    drop_send_failed: int = _counter("dropped: the kernel refused to send", "packets")
    drop_no_session: int = _counter("dropped: no session is active on the socket", "packets")
    drop_looped: int = _counter("dropped: went through ports of this relay too often", "packets")

    allocate_ok: int = _counter("allocate commands carried out")
    allocate_refused: int = _counter("allocate commands turned down by a rule or a limit")
    allocate_failed: int = _counter("allocate commands that failed for an error of nh or the system")
    activate_ok: int = _counter("activate commands carried out")
    activate_refused: int = _counter("activate commands turned down by a rule or a limit")
    activate_failed: int = _counter("activate commands that failed for an error of nh or the system")
    close_ok: int = _counter("close commands carried out, for a whole call too")
    close_refused: int = _counter("close commands turned down by a rule")
    close_failed: int = _counter("close commands that failed for an error of nh or the system")
    list_ok: int = _counter("list commands carried out")
    list_refused: int = _counter("list commands turned down by a rule")
    list_failed: int = _counter("list commands that failed for an error of nh or the system")
    show_ok: int = _counter("show commands carried out")
    show_refused: int = _counter("show commands turned down by a rule")
    show_failed: int = _counter("show commands that failed for an error of nh or the system")
    offer_ok: int = _counter("offer commands of ng carried out")
    offer_refused: int = _counter("offer commands of ng turned down by a rule or a limit")
    offer_failed: int = _counter("offer commands of ng that failed for an error of nh or the system")
    answer_ok: int = _counter("answer commands of ng carried out")
    answer_refused: int = _counter("answer commands of ng turned down by a rule or a limit")
    answer_failed: int = _counter("answer commands of ng that failed for an error of nh or the system")
    delete_ok: int = _counter("delete commands of ng carried out")
    delete_refused: int = _counter("delete commands of ng turned down by a rule or a limit")
    delete_failed: int = _counter("delete commands of ng that failed for an error of nh or the system")
    query_ok: int = _counter("query commands of ng carried out")
    query_refused: int = _counter("query commands of ng turned down by a rule or a limit")
    query_failed: int = _counter("query commands of ng that failed for an error of nh or the system")
    block_ok: int = _counter("block and unblock media commands of ng carried out")
    block_refused: int = _counter("block and unblock media commands of ng turned down by a rule or a limit")
    block_failed: int = _counter(
        "block and unblock media commands of ng that failed for an error of nh or the system"
    )

    expired_silent: int = _counter("sessions ended because nothing arrived", "sessions")
    expired_hold: int = _counter(
        "sessions on hold ended because nothing arrived for the hold time", "sessions"
    )
    expired_unused: int = _counter("socket groups freed that no session ever used", "groups")
    expired_replaced: int = _counter("sessions ended after a newer transaction replaced them", "sessions")
    sessions_started: int = _counter("sessions activated", "sessions")
    sessions_closed: int = _counter("sessions ended, for whatever reason", "sessions")
    media_to_many: int = _counter(
        "media announced at a multicast or broadcast address: awaited, and not sent there", "media"
    )
    cpu_s: float = _counter("CPU time used, by all incarnations of the shard", "s")

    calls: int = _gauge("calls known", "calls")
    sessions: int = _gauge("sessions active", "sessions")
    sockets: int = _gauge("media sockets open", "sockets")
    kernel_flows: int = _gauge("directions relayed inside the kernel", "directions")
    ports_free: int = _gauge("media ports free", "ports")
    ports_total: int = _gauge("media ports in the shard's slice", "ports")
    loop_lag_s: float = _gauge(
        "how late the event loop was at worst since the last publication", "s", Total.MAX
    )
    memory_bytes: int = _gauge("resident memory", "bytes")
    heartbeat: float = _gauge("monotonic clock at the last publication", "s", Total.MIN)
    started: float = _gauge("wall clock at the start of the process", "s", Total.MIN)
    pid: int = _gauge("process id", "id", Total.NONE)
    cpu: int = _gauge("CPU that the shard is pinned to, -1: none", "id", Total.NONE, zero=-1)


class ShardState(enum.IntEnum):
    """What the supervisor knows of a shard."""

    STARTING = 0
    UP = 1
    DOWN = 2


@dataclasses.dataclass  # no slots, because a reading of a shard is this and ShardStats in one
class ShardStatus:
    """What the supervisor writes about one shard; `state` is a ShardState."""

    restarts: int = _counter("times the shard was started again", "restarts")
    hangs: int = _counter("times the shard was killed because it hung", "hangs")
    calls_restored: int = _counter("calls that went on in a successor of their shard", "calls")
    calls_lost: int = _counter("calls that a successor of their shard could not restore", "calls")
    sockets_unheld: int = _counter(
        "media sockets that the supervisor could not hold open too, for want of descriptors", "sockets"
    )
    calls_kept: int = _gauge("calls of which the supervisor has a snapshot", "calls")
    sockets_held: int = _gauge("media sockets that the supervisor holds open too", "sockets")
    state: int = _gauge("0 starting, 1 up, 2 down", "state", Total.NONE)


def _room_for_all() -> list[ShardStatus]:
    return [ShardStatus() for _ in range(MAX_SHARDS)]


@dataclasses.dataclass(slots=True, eq=False, repr=False, match_args=False)
class SupervisorStats:
    """What the supervisor counts, and `shards`: the state of each shard by its number.

    `shards` always has MAX_SHARDS entries; those of shards that do not exist are never looked at.
    """

    rpc_accepted: int = _counter("RPC connections accepted", "connections")
    rpc_evicted: int = _counter("RPC connections closed to make room, or for being idle", "connections")
    rpc_malformed: int = _counter("RPC frames or requests that could not be read", "requests")
    rpc_unknown_commands: int = _counter("requests for a command that does not exist", "requests")
    rpc_requests_netsip: int = _counter("requests in Net::SIP's protocol", "requests")
    rpc_requests_native: int = _counter("requests in the native protocol", "requests")
    rpc_requests_ng: int = _counter("requests in the ng protocol, repeated ones not counted", "requests")
    ng_retransmissions: int = _counter("ng requests that came again and were not executed again", "requests")
    ng_unsent: int = _counter("ng replies that the kernel did not take", "replies")
    rpc_timeouts: int = _counter("commands that a shard did not answer in time", "commands")
    rpc_unroutable: int = _counter("commands whose shard was not up", "commands")

    store_written: int = _counter("changes of calls written to the store", "calls")
    store_errors: int = _counter("times that the store could not be written", "errors")

    rpc_clients: int = _gauge("RPC connections open", "connections")
    store_pending: int = _gauge("calls whose last change is not in the store yet", "calls")
    kernel_interfaces: int = _gauge("interfaces on which the kernel relays", "interfaces")
    draining: int = _gauge("1 while new calls are refused, else 0", "state", Total.NONE)
    drain_ends: float = _gauge(
        "monotonic clock at which a drain ends whatever calls are left, 0: no limit", "s", Total.NONE
    )
    pid: int = _gauge("process id", "id", Total.NONE)
    started: float = _gauge("wall clock at the start of the process", "s", Total.NONE)
    heartbeat: float = _gauge("monotonic clock at the last publication", "s", Total.NONE)
    memory_bytes: int = _gauge("resident memory", "bytes")

    shards: list[ShardStatus] = dataclasses.field(default_factory=_room_for_all)

    def set_state(self, shard: int, state: ShardState) -> None:
        """Say how a shard is.

        Arguments:
            shard: its number, 0 to MAX_SHARDS - 1.
            state: what it is now.
        """
        self.shards[shard].state = state

    def count_restart(self, shard: int) -> None:
        """Count that shard `shard` (0 to MAX_SHARDS - 1) was started again."""
        self.shards[shard].restarts += 1

    def count_hang(self, shard: int) -> None:
        """Count that shard `shard` (0 to MAX_SHARDS - 1) was killed because it hung."""
        self.shards[shard].hangs += 1


SHARD_TABLE: Final = table(ShardStats)
STATUS_TABLE: Final = table(ShardStatus)
SUPERVISOR_TABLE: Final = table(SupervisorStats)
