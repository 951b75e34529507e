"""What a shard backs up at its supervisor, so that its calls outlive it: sockets, snapshots, records.

These messages are part of the link (nh.ipc.link_messages): what a command changes goes with its Executed, all
else in messages of their own. An orphan sends SaveCall to the next supervisor, too.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from nh.calls.media import Endpoint

PART_BYTES: Final = 64 * 1024
"""Most bytes of a snapshot in one message; the rest of the message is the call-id."""

MAX_SNAPSHOT_BYTES: Final = 4 * 1024 * 1024
"""Longest snapshot of a call; a shard that sends a longer one is killed."""


class StoreSockets(msgspec.Struct, frozen=True, tag="store_sockets"):
    """Back up these sockets, one descriptor each in this order; the last ones may be missing."""

    endpoints: tuple[Endpoint, ...]


class ReleaseSockets(msgspec.Struct, frozen=True, tag="release_sockets"):
    """Close the backups of these sockets: the shard has closed them."""

    endpoints: tuple[Endpoint, ...]


class SaveCall(msgspec.Struct, frozen=True, tag="save_call"):
    """Back up a call as it is now.

    Args:
        call_id: the call, at most MAX_ID_BYTES long.
        snapshot: the whole snapshot, or PART_BYTES of a longer one.
        part: 0, 1, …: which part; the parts of one snapshot come in a row.
        last: whether it is the last part. Until it comes, the snapshot before counts.
    """

    call_id: bytes
    snapshot: bytes
    part: int = 0
    last: bool = True


class DropCall(msgspec.Struct, frozen=True, tag="drop_call"):
    """Drop the backup of a call: it has ended, or cannot be restored.

    Args:
        record: its record (nh.results.CallRecord in msgpack). It comes in this message so that a shard that
            dies leaves either the call or its record, and never both. b"": no record.
        number: of the record, from 1 in each process. Answer, some time later: Recorded.
    """

    call_id: bytes
    record: bytes = b""
    number: int = 0


BackupMessage = StoreSockets | ReleaseSockets | SaveCall | DropCall


def parts(snapshot: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Split a snapshot into (part, bytes, last) for messages; an empty snapshot has one part."""
    if len(snapshot) <= PART_BYTES:  # as nearly all are
        yield 0, snapshot, True
        return
    count = -(-len(snapshot) // PART_BYTES)
    for part in range(count):
        yield part, snapshot[part * PART_BYTES : (part + 1) * PART_BYTES], part == count - 1
