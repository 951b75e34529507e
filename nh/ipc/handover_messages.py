"""Messages between two generations of nh: in msgpack, one to a SOCK_SEQPACKET record.

An orphan, a shard whose supervisor is gone, sends Hello to the next supervisor. At Transfer it stops relaying
and sends all its calls. At Exit it ends, because its successor has the calls; if the connection ends without
Exit, it relays again. A supervisor that is asked to Yield answers with a HandoverMessage and descriptors. It
ends at TakenOver; if the connection ends before, it goes on itself.

The two sides may be of different versions: unknown fields are ignored, missing fields have their defaults. So
messages and fields are only ever added, and tags stay as they are, also where a class gets another name.
"""

from typing import Final

import msgspec

from nh.calls.media import Endpoint
from nh.ipc.backup_messages import SaveCall
from nh.ipc.link_codec import decoded


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """Which shard an orphan is. The descriptors of its maps in the kernel are attached: flows, counters.

    Args:
        shard: its number.
        shards: how many shards its supervisor had.
        version: of its nh.
        snapshot_version: the version of its snapshots.
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
    """Stop relaying. Answer: CallSockets and SaveCall for each call, then HandedOver.

    Args:
        records: send UnconfirmedRecord for each record, too, before HandedOver.
    """

    records: bool = False


class UnconfirmedRecord(msgspec.Struct, frozen=True, tag="ended_call"):  # its name in the first version
    """The record of a call that ended, and that no supervisor has confirmed.

    Args:
        record, number: see DropCall (nh.ipc.backup_messages).
    """

    record: bytes
    number: int


class CallSockets(msgspec.Struct, frozen=True, tag="call_sockets"):
    """Some sockets of a call, one descriptor each in this order."""

    call_id: bytes
    endpoints: tuple[Endpoint, ...]


class HandedOver(msgspec.Struct, frozen=True, tag="handed_over"):
    """All calls are sent.

    Args:
        counters: the shard's, by name.
    """

    counters: dict[str, int | float] = {}


class Exit(msgspec.Struct, frozen=True, tag="exit"):
    """A successor has the calls: end without closing them."""


class HandoverMessage(msgspec.Struct, frozen=True, tag="handover"):
    """What a supervisor hands over, with one descriptor each in this order: locks, then listeners.

    Args:
        locks: the paths of its lock files.
        listeners: (kind, address) of its listening sockets; see Inherited.take_listener().
        draining: whether it refuses new calls.
        drain_left_s: seconds until the drain ends with calls left; None: no limit.
        counters: its own counters, by name.
        shard_counters: what it counts for each shard, by the shard's number.
        recorded: by the name of each shard's process (the stem of its handover socket), the number of the
            latest record of a call that it has sent; see DropCall.
        running_since: wall-clock seconds at the start of the first supervisor that handed over; 0: unknown.
        group: the prefix of the store that it opened as a standby; "": that of its settings.
        awaits: whether it goes on itself if the connection ends without TakenOver.
        settings: with which it goes on itself (nh.supervisor.handover.settings); b"": the next supervisor
            reads its own. They have secrets, and no other process gets them.
        try_until: seconds of CLOCK_MONOTONIC until which a start that fails behind execve(2) is tried again;
            0.0: this is its first try.
    """

    locks: tuple[str, ...] = ()
    listeners: tuple[tuple[str, str], ...] = ()
    draining: bool = False
    drain_left_s: float | None = None
    counters: dict[str, int | float] = {}
    shard_counters: tuple[dict[str, int | float], ...] = ()
    running_since: float = 0.0
    recorded: dict[str, int] = {}
    group: str = ""
    awaits: bool = False
    settings: bytes = b""
    try_until: float = 0.0


class Connections(msgspec.Struct, frozen=True, tag="connections"):
    """Client connections between two requests, one descriptor each; follows a HandoverMessage.

    Args:
        protocol: rpc (Net::SIP's and the native protocol), ng or ng-http.
    """

    protocol: str


class Yield(msgspec.Struct, frozen=True, tag="yield"):
    """To a supervisor: stop serving, and hand over. Answer: HandoverMessage, then Connections.

    Args:
        listeners: (kind, address) of the listening sockets that the next supervisor uses: the old one keeps
            its copies until TakenOver, and goes on itself if the connection ends before. None: no TakenOver
            will come.
    """

    listeners: tuple[tuple[str, str], ...] | None = None


class TakenOver(msgspec.Struct, frozen=True, tag="taken_over"):
    """To a supervisor that has handed over: the next one serves; end."""


FromOld = Hello | CallSockets | SaveCall | UnconfirmedRecord | HandedOver | HandoverMessage | Connections
ToOld = Transfer | Exit | Yield | TakenOver

_encoder: Final = msgspec.msgpack.Encoder()
_from_old: Final[msgspec.msgpack.Decoder[FromOld]] = msgspec.msgpack.Decoder(FromOld)
_to_old: Final[msgspec.msgpack.Decoder[ToOld]] = msgspec.msgpack.Decoder(ToOld)


def encode(message: FromOld | ToOld) -> bytes:
    """Encode a message as a record."""
    return _encoder.encode(message)


def decode_from_old(record: bytes) -> FromOld:
    """Decode a message of the older generation. Raises msgspec.DecodeError if it is invalid."""
    return decoded(_from_old, record)


def decode_to_old(record: bytes) -> ToOld:
    """Decode a message of the newer generation. Raises msgspec.DecodeError if it is invalid."""
    return decoded(_to_old, record)
