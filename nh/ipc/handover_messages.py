"""What one generation of nh says to the next: messages over SOCK_SEQPACKET, one to a record, in msgpack.

A shard whose supervisor is gone introduces itself to who connects. Told to Transfer it relays nothing any
more, says everything that it has, and waits: with Depart it ends, and its successor has the calls; if the
connection ends without, it goes on as if nothing had been. A supervisor that leaves says
HandoverMessage, with descriptors of what the next one goes on with.

The two sides may be of different versions: fields that are not known are left out, those that are missing
have their defaults. So what is here is only ever added to. Nothing that is read is evaluated.
"""

from typing import Final

import msgspec

from nh.calls.media import Endpoint
from nh.ipc.link_messages import SaveCall, decoded


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """A shard without supervisor: who it is.

    Arguments:
        shard, shards: its number, and how many there were.
        version: of its nh.
        snapshot_version: of the format of its snapshots.
        calls: how many it has.
        kernel: which maps of the path in the kernel it uses (their descriptors come with the message, the
            flows' and the counters'); "": none.
        known_session: no session that it knows of has a higher number.
    """

    shard: int
    shards: int
    version: str
    snapshot_version: int
    calls: int = 0
    kernel: str = ""
    known_session: int = 0


class Transfer(msgspec.Struct, frozen=True, tag="transfer"):
    """Relay nothing from now on, and say CallSockets and SaveCall of each call, then HandedOver."""


class CallSockets(msgspec.Struct, frozen=True, tag="call_sockets"):
    """Some of the sockets of a call, one descriptor each in this order."""

    call_id: bytes
    endpoints: tuple[Endpoint, ...]


class HandedOver(msgspec.Struct, frozen=True, tag="handed_over"):
    """That was all.

    Arguments:
        counters: the shard's, by name.
    """

    counters: dict[str, int | float] = {}


class Exit(msgspec.Struct, frozen=True, tag="exit"):
    """A successor has the calls: end, and leave them alone."""


class HandoverMessage(msgspec.Struct, frozen=True, tag="handover"):
    """What a supervisor leaves to the next one, one descriptor each in this order: locks, then listeners.

    Arguments:
        locks: the paths of the locks that it held.
        listeners: the addresses at which it listened, each with its kind: unix, tcp or udp.
        draining: whether new calls were refused.
        drain_left_s: seconds until the drain's limit; None: it had none.
        counters: its own, by name.
        shard_counters: those that it has of each shard, by the shard's number.
    """

    locks: tuple[str, ...] = ()
    listeners: tuple[tuple[str, str], ...] = ()
    draining: bool = False
    drain_left_s: float | None = None
    counters: dict[str, int | float] = {}
    shard_counters: tuple[dict[str, int | float], ...] = ()


class Connections(msgspec.Struct, frozen=True, tag="connections"):
    """Connections of clients that are between two requests, one descriptor each; follows a HandoverMessage.

    Arguments:
        protocol: which they speak: rpc (Net::SIP's and the native one) or ng.
    """

    protocol: str


class Yield(msgspec.Struct, frozen=True, tag="yield"):
    """To a supervisor: the next one is here. Take no more commands, say HandoverMessage, and let go of
    the shards."""


FromOld = Hello | CallSockets | SaveCall | HandedOver | HandoverMessage | Connections
ToOld = Transfer | Exit | Yield

_encoder: Final = msgspec.msgpack.Encoder()
_from_old: Final[msgspec.msgpack.Decoder[FromOld]] = msgspec.msgpack.Decoder(FromOld)
_to_old: Final[msgspec.msgpack.Decoder[ToOld]] = msgspec.msgpack.Decoder(ToOld)


def encode(message: FromOld | ToOld) -> bytes:
    """One record."""
    return _encoder.encode(message)


def decode_from_old(record: bytes) -> FromOld:
    """What the older generation said. Raises msgspec.DecodeError for anything else."""
    return decoded(_from_old, record)


def decode_to_old(record: bytes) -> ToOld:
    """What the newer generation said. Raises msgspec.DecodeError for anything else."""
    return decoded(_to_old, record)
