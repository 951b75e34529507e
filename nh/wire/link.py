"""The internal link between the supervisor and a shard: typed messages, one to a SOCK_SEQPACKET record.

The supervisor says Configure first, the shard answers Ready; from then on Execute and Executed carry
the same `id`, any number in flight, answered in any order. The encoding is msgpack; both ends are of one
version of nh, started by it, so what cannot be read is a bug and raises.
"""

from typing import Final

import msgspec

from nh.calls.interfaces import Interface
from nh.calls.rules import RelaySettings
from nh.commands import RelayCommand, RelayResult
from nh.config import LogLevel

MAX_MESSAGE_BYTES: Final = 128 * 1024
"""Longest message; a reply beyond it is replaced by a Failure."""


class KernelMaps(msgspec.Struct, frozen=True):
    """A shard's share of the path in the kernel; the descriptors are inherited.

    Arguments:
        flows_fd, readings_fd: the maps of nh.fastpath.
        first_slot, slots: which of the readings are the shard's own.
    """

    flows_fd: int
    readings_fd: int
    first_slot: int
    slots: int


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """First word to a shard.

    Arguments:
        shard: its number, 0 to shards - 1.
        shards: how many there are.
        ports: its slice of the media ports, (lowest, highest), the lowest even and the highest odd.
        relay: how to relay; limits are this shard's share already.
        interfaces: where ng calls may be, the first one by default, with this shard's ports; empty: no ng.
        kernel: its share of the path in the kernel; None: all is relayed in user space.
        kernel_off: why that is so, for people; "" where it is not.
        relay_ports: the media ports of all shards, interfaces' own ones too, as (lowest, highest).
        stats_segment: name of the shared memory in which block `shard` is its own to write.
        log_level: how much to log.
    """

    shard: int
    shards: int
    ports: tuple[int, int]
    relay: RelaySettings
    stats_segment: str
    log_level: LogLevel = LogLevel.INFO
    interfaces: tuple[Interface, ...] = ()
    kernel: KernelMaps | None = None
    kernel_off: str = ""
    relay_ports: tuple[tuple[int, int], ...] = ()


class Execute(msgspec.Struct, frozen=True, tag="execute"):
    """Do this and answer with the same id."""

    id: int
    command: RelayCommand


class Shutdown(msgspec.Struct, frozen=True, tag="shutdown"):
    """End now: close every call, publish the last counters, exit with status 0."""


class RefuseNewCalls(msgspec.Struct, frozen=True, tag="refuse_new_calls"):
    """Drain: take no new call-ids from now on, and say NoCallsLeft with the same round when none is left."""

    round: int


class TakeNewCalls(msgspec.Struct, frozen=True, tag="take_new_calls"):
    """Drain no more."""


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The shard has its settings and serves calls."""

    pid: int
    version: str


class Executed(msgspec.Struct, frozen=True, tag="executed"):
    """What came of Execute `id`."""

    id: int
    result: RelayResult


class NoCallsLeft(msgspec.Struct, frozen=True, tag="no_calls_left"):
    """The shard has no calls, and gets none as long as the round of RefuseNewCalls lasts."""

    round: int


ToShard = Configure | Execute | Shutdown | RefuseNewCalls | TakeNewCalls
FromShard = Ready | Executed | NoCallsLeft

_encoder: Final = msgspec.msgpack.Encoder()
_to_shard: Final[msgspec.msgpack.Decoder[ToShard]] = msgspec.msgpack.Decoder(ToShard)
_from_shard: Final[msgspec.msgpack.Decoder[FromShard]] = msgspec.msgpack.Decoder(FromShard)


def encode(message: ToShard | FromShard) -> bytes:
    """One record for the link."""
    return _encoder.encode(message)


def decode_to_shard(record: bytes) -> ToShard:
    """What the supervisor said. Raises msgspec.DecodeError for anything else."""
    return _to_shard.decode(record)


def decode_from_shard(record: bytes) -> FromShard:
    """What a shard said. Raises msgspec.DecodeError for anything else."""
    return _from_shard.decode(record)
