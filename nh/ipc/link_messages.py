"""The internal link between the supervisor and a shard: typed messages, one to a SOCK_SEQPACKET record.

A shard's process says Waiting, and can be told to Fork as often as others are needed. To become a shard,
the supervisor says Configure to it, the shard Configured, and then comes what there is to restore
(TakeSockets, RestoreCall), then Start. The shard restores it and says Restored, and with Go it serves calls
and says Ready; from then on Execute and Executed carry the same `id`, any number in flight, answered in any
order. What has to outlive the shard it hands over as it comes to be (StoreSockets, SaveCall), before the
Executed of the command that caused it: whoever reads in order has what was answered. The encoding is msgpack;
both ends are of one version of nh, started by it, so what cannot be read is a bug and raises.
"""

from collections.abc import Iterator
from typing import Final, TypeVar

import msgspec

from nh.calls.media import Endpoint
from nh.calls.settings import RelayConfig
from nh.commands import RelayCommand
from nh.config import LogLevel
from nh.results import RelayResult

MAX_MESSAGE_BYTES: Final = 128 * 1024
"""Longest message; a reply beyond it is replaced by a Failure, a snapshot beyond it goes in parts."""

PART_BYTES: Final = 64 * 1024
"""Most bytes of a snapshot in one message; the rest of the message is the call-id."""

MAX_SNAPSHOT_BYTES: Final = 4 * 1024 * 1024
"""Longest snapshot of a call. Nobody keeps a longer one, and who sends one is not believed any more."""


class KernelMaps(msgspec.Struct, frozen=True):
    """A shard's share of the path in the kernel; the descriptors are inherited.

    Arguments:
        flows_fd, counters_fd: the maps of nh.fastpath.
        first_index, indexes: the range of the counters map that belongs to the shard.
        identity: tells these maps, and how they are shared out, from others that another version would make.
    """

    flows_fd: int
    counters_fd: int
    first_index: int
    indexes: int
    identity: str = ""


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """Have a process as you are, with the descriptor that comes along as its link, and say Forked."""


class Configure(msgspec.Struct, frozen=True, tag="configure"):
    """First word to a shard.

    Arguments:
        relay: the relay that the shard is.
        kernel: its share of the path in the kernel; None: all is relayed in user space.
        kernel_off: why that is so, for people; "" where it is not.
        successor: whether there was a shard of this number before it in this run: what that one had in the
            kernel is then taken over, not cleared.
        stats_segment: name of the shared memory in which block `shard` is its own to write.
        log_level: how much to log.
        handover_path: where the shard listens for the next supervisor, a path that does not exist yet; "":
            the shard ends with its supervisor.
    """

    relay: RelayConfig
    stats_segment: str
    log_level: LogLevel = LogLevel.INFO
    kernel: KernelMaps | None = None
    kernel_off: str = ""
    successor: bool = False
    handover_path: str = ""


class TakeSockets(msgspec.Struct, frozen=True, tag="take_sockets"):
    """A predecessor's media sockets, one descriptor each in this order; the last ones may be missing."""

    endpoints: tuple[Endpoint, ...]


class RestoreCall(msgspec.Struct, frozen=True, tag="restore_call"):
    """A call to be restored, or a part of one.

    Arguments:
        call_id: whose snapshot it is.
        snapshot: what was kept last, or the next PART_BYTES of it.
        last: False: the next message goes on with the same snapshot.
    """

    call_id: bytes
    snapshot: bytes
    last: bool = True


class Restore(msgspec.Struct, frozen=True, tag="restore"):
    """That is all: restore what came, and say Restored.

    Arguments:
        careful: say Restoring before each call.
        counters: what the shard's counters go on from, by name, on top of those in its statistics.
    """

    careful: bool = False
    counters: dict[str, int | float] = {}


class Serve(msgspec.Struct, frozen=True, tag="serve"):
    """Nobody else has these calls any more: serve them and new ones, and say Ready."""


class HoldLinks(msgspec.Struct, frozen=True, tag="hold_links"):
    """Hold what hangs the program in on the interfaces, so that it outlives the supervisor.

    With all the descriptors that there are now: those that came with the one before are to be closed.
    """


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


class Detach(msgspec.Struct, frozen=True, tag="detach"):
    """The supervisor hands over: the link is about to end, and the next supervisor is about to connect."""


class Waiting(msgspec.Struct, frozen=True, tag="waiting"):
    """The process has everything imported, and waits for Fork or Configure."""


class Forked(msgspec.Struct, frozen=True, tag="forked"):
    """There is another process.

    Arguments:
        pid: of it; 0: the system does not let it be.
    """

    pid: int


class Configured(msgspec.Struct, frozen=True, tag="configured"):
    """The shard has its settings, and is ready to restore calls."""


class Restoring(msgspec.Struct, frozen=True, tag="restoring"):
    """The shard begins to restore a call; who dies now died of it.

    Arguments:
        call: which one of those that came, from 0; their number: they are all done.
    """

    call: int


class Restored(msgspec.Struct, frozen=True, tag="restored"):
    """The shard has restored what it could, and relays nothing yet.

    Arguments:
        restored, failed: calls.
    """

    restored: int = 0
    failed: int = 0


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The shard serves calls.

    Arguments:
        pid: of its process.
        version: of its nh.
    """

    pid: int
    version: str


class StoreSockets(msgspec.Struct, frozen=True, tag="store_sockets"):
    """Hold these sockets open too, one descriptor each in this order; the last ones may be missing."""

    endpoints: tuple[Endpoint, ...]


class ReleaseSockets(msgspec.Struct, frozen=True, tag="release_sockets"):
    """Hold these no longer: the shard has closed them."""

    endpoints: tuple[Endpoint, ...]


class SaveCall(msgspec.Struct, frozen=True, tag="save_call"):
    """How a call is now, for a successor.

    Arguments:
        call_id: the call, at most MAX_ID_BYTES long.
        snapshot: all of it, or PART_BYTES of one that is longer.
        part: 0, 1, …: which part; the parts of one snapshot come in a row.
        last: whether it is the last part. Until it comes, the snapshot before is the one that counts.
    """

    call_id: bytes
    snapshot: bytes
    part: int = 0
    last: bool = True


class DropCall(msgspec.Struct, frozen=True, tag="drop_call"):
    """The call has ended, or cannot be restored."""

    call_id: bytes


class Executed(msgspec.Struct, frozen=True, tag="executed"):
    """What came of Execute `id`."""

    id: int
    result: RelayResult


class NoCallsLeft(msgspec.Struct, frozen=True, tag="no_calls_left"):
    """The shard has no calls, and gets none as long as the round of RefuseNewCalls lasts."""

    round: int


ToShard = (
    Fork
    | Configure
    | TakeSockets
    | RestoreCall
    | Restore
    | Serve
    | HoldLinks
    | Execute
    | Shutdown
    | RefuseNewCalls
    | TakeNewCalls
    | Detach
)
BackupMessage = StoreSockets | ReleaseSockets | SaveCall | DropCall
FromShard = (
    Waiting | Forked | Configured | Restoring | Restored | Ready | Executed | NoCallsLeft | BackupMessage
)

T = TypeVar("T")

_encoder: Final = msgspec.msgpack.Encoder()
_to_shard: Final[msgspec.msgpack.Decoder[ToShard]] = msgspec.msgpack.Decoder(ToShard)
_from_shard: Final[msgspec.msgpack.Decoder[FromShard]] = msgspec.msgpack.Decoder(FromShard)


def encode(message: ToShard | FromShard) -> bytes:
    """One record for the link."""
    return _encoder.encode(message)


def parts(snapshot: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """A snapshot as (part, bytes, last) of messages that are not too long; one that is empty has one part."""
    count = max(1, -(-len(snapshot) // PART_BYTES))
    for part in range(count):
        yield part, snapshot[part * PART_BYTES : (part + 1) * PART_BYTES], part == count - 1


def decode_to_shard(record: bytes) -> ToShard:
    """What the supervisor said. Raises msgspec.DecodeError for anything else."""
    return decoded(_to_shard, record)


def decode_from_shard(record: bytes) -> FromShard:
    """What a shard said. Raises msgspec.DecodeError for anything else."""
    return decoded(_from_shard, record)


def decoded(decoder: msgspec.msgpack.Decoder[T], record: bytes) -> T:
    """What a record says. Raises msgspec.DecodeError for whatever is wrong with it."""
    try:
        return decoder.decode(record)
    except (UnicodeDecodeError, RecursionError) as exc:  # msgspec passes these on as they are
        raise msgspec.DecodeError(str(exc)) from exc
