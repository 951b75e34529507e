"""Records of calls that a shard leaves behind when it ends without a supervisor: a file, for the next one."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from nh.ipc.link_codec import decoded

SUFFIX: Final = ".records"
"""Of the file, whose stem is that of the shard's handover socket."""

_PATTERN: Final = f"shard-*{SUFFIX}"


class LeftRecord(msgspec.Struct, array_like=True, frozen=True):
    """One record; see DropCall (nh.ipc.backup_messages)."""

    number: int
    record: bytes


_decoder: Final = msgspec.msgpack.Decoder(list[LeftRecord])


def leave_records(handover_path: Path, records: Iterable[LeftRecord]) -> None:
    """Write records beside a shard's handover socket. Raises OSError."""
    path = handover_path.with_suffix(SUFFIX)
    partial = path.with_suffix(".partial")
    partial.touch(0o600)
    partial.write_bytes(msgspec.msgpack.encode(list(records)))
    partial.rename(path)  # whole, or not there


def take_records(directory: Path, recorded: Mapping[str, int]) -> tuple[list[bytes], int]:
    """Read the records that shards left behind, and remove their files.

    Args:
        directory: the runtime directory.
        recorded: by the name of a shard's process, the number of the latest record that came before.

    Returns:
        The records, and how many files could not be read.
    """
    found: list[bytes] = []
    unreadable = 0
    for path in sorted(directory.glob(_PATTERN)):
        try:
            left = decoded(_decoder, path.read_bytes())
            path.unlink()
        except (OSError, msgspec.DecodeError):
            unreadable += 1
            path.unlink(missing_ok=True)
        else:
            found += [each.record for each in left if each.number > recorded.get(path.stem, 0)]
    return found, unreadable
