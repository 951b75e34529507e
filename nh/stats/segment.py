"""Segments of shared memory: creation, header, removal.

A segment has a header, the supervisor's block, and one block for each shard. One `nh run` makes it for one
number of shards, and of groups of calls that it may be a standby for; it belongs to that user (mode 0600).
The header has a fingerprint of the tables, so a reader of another version of nh reports an error instead of
wrong values.

The memory is multiprocessing.shared_memory's, without its resource tracker: a separate process, started by
the first use, which unlinks registered segments when the process that registered them ends. So a reader that
ends would remove the statistics of the relay (python/cpython issue 82300). unlink() would start that process,
too, so nh removes the name itself (shm_overview(7)). Python 3.13 has track=False; before that, nh replaces
the tracker while it opens a segment.
"""

import contextlib
import errno
import hashlib
import os
import struct
import sys
import threading
import zlib
from collections.abc import Iterator
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any, Final

from nh.errors import StatsUnavailable
from nh.stats.block import Block, block_bytes
from nh.stats.fields import FieldInfo
from nh.stats.layout import (
    GROUP_RECORD,
    MAX_GROUPS,
    MAX_SHARDS,
    SHARD_RECORD,
    STATUS_RECORD,
    SUPERVISOR_RECORD,
    ShardStats,
    ShardStatus,
    StandbyGroup,
    SupervisorStats,
)
from nh.version import __version__

_MAGIC: Final = b"nh-stats"
_HEADER: Final = struct.Struct("=8s I I I I 32s I")  # magic, tables, shards, two sizes, version of nh, groups
_HEADER_BYTES: Final = 64


def segment_name(runtime_dir: Path) -> str:
    """The name of the segment of the `nh run` with this runtime directory."""
    digest = hashlib.blake2b(str(runtime_dir.resolve()).encode("utf-8", "surrogateescape"), digest_size=6)
    return f"nh-{digest.hexdigest()}"


class Segment:
    """An open segment.

    Args:
        memory: the open shared memory.
        name: its name.
        shards: number of shard blocks, 1 to MAX_SHARDS.
        groups: number of groups in the supervisor's block, 0 to MAX_GROUPS.
        version: of the nh that made it.
    """

    def __init__(
        self, memory: shared_memory.SharedMemory, name: str, shards: int, groups: int, version: str
    ) -> None:
        self._memory = memory
        self.name = name
        self.shards = shards
        self.groups = groups
        self.version = version

    def supervisor_block(self) -> Block:
        """The supervisor's block: its own values, then its groups, then one status for each shard."""
        return Block(self._buffer, _HEADER_BYTES, _supervisor_payload(self.shards, self.groups))

    def shard_block(self, shard: int) -> Block:
        """The block of shard `shard`.

        Raises:
            IndexError: there is no such shard.
        """
        if not 0 <= shard < self.shards:
            raise IndexError(f"shard {shard} is not in 0..{self.shards - 1}")
        size = block_bytes(SHARD_RECORD.size_bytes)
        supervisor = block_bytes(_supervisor_payload(self.shards, self.groups))
        start = _HEADER_BYTES + supervisor + shard * size
        return Block(self._buffer, start, SHARD_RECORD.size_bytes)

    def close(self) -> None:
        """Unmap the memory in this process. The segment and its blocks cannot be used any more."""
        self._memory.close()

    def unlink(self) -> None:
        """Remove the name: no process can attach any more; the last user frees the memory."""
        _unlink(self.name)

    @property
    def _buffer(self) -> memoryview:
        return _buffer_of(self._memory)


def create_segment(name: str, shards: int, groups: int = 0) -> Segment:
    """Make a segment with all values zero, in place of one that a killed run left.

    Args:
        name: see segment_name().
        shards: 1 to MAX_SHARDS.
        groups: 0 to MAX_GROUPS.

    Raises:
        StatsUnavailable: the system has no room, or another user owns the name.
    """
    if not 1 <= shards <= MAX_SHARDS:
        raise ValueError(f"shards: {shards} is not in 1..{MAX_SHARDS}")
    size_bytes = _segment_bytes(shards, groups)
    try:
        _unlink(name)
        _allocate(name, size_bytes)
        memory = _open(name)
    except OSError as exc:
        remedy = "if it belongs to another user, remove it or choose another runtime directory"
        if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM):
            remedy = f"{size_bytes} bytes are needed: free some, or mount /dev/shm with a larger size="
        raise StatsUnavailable(
            f"shared memory /dev/shm/{name} cannot be created: {exc.strerror}; {remedy}"
        ) from exc
    segment = Segment(memory, name, shards, groups, __version__)
    supervisor, shard_stats = SupervisorStats(), SHARD_RECORD.pack(ShardStats())
    segment.supervisor_block().write(0, pack_supervisor(supervisor, shards, groups))
    for shard in range(shards):
        segment.shard_block(shard).write(0, shard_stats)
    # last, so that a reader that sees the magic sees valid blocks
    segment._buffer[: _HEADER.size] = _header(shards, groups)
    return segment


@contextlib.contextmanager
def own_segment(name: str, shards: int, groups: int = 0) -> Iterator[Segment]:
    """A segment that create_segment() makes, removed after the block."""
    segment = create_segment(name, shards, groups)
    try:
        yield segment
    finally:
        segment.unlink()
        segment.close()


def attach_segment(name: str) -> Segment:
    """Open the segment of a running nh.

    Raises:
        StatsUnavailable: there is none, or it belongs to another version or another user.
    """
    try:
        memory = _open(name)
    except FileNotFoundError as exc:
        raise StatsUnavailable(f"no statistics at /dev/shm/{name}: nh is not running there") from exc
    except PermissionError as exc:
        raise StatsUnavailable(
            f"statistics at /dev/shm/{name}: permission denied; run as the relay's user, or as root"
        ) from exc
    except OSError as exc:
        raise StatsUnavailable(f"statistics at /dev/shm/{name} cannot be opened: {exc.strerror}") from exc
    except ValueError as exc:  # its maker has not set its length yet
        raise StatsUnavailable(f"statistics at /dev/shm/{name} are empty: nh is starting; try again") from exc
    try:
        shards, groups, version = _read_header(bytes(_buffer_of(memory)[:_HEADER_BYTES]), name, memory.size)
    except StatsUnavailable:
        memory.close()
        raise
    return Segment(memory, name, shards, groups, version)


def pack_supervisor(stats: SupervisorStats, shards: int, groups: int) -> bytes:
    """The payload of the supervisor's block for so many shards and groups."""
    parts = [SUPERVISOR_RECORD.pack(stats), *map(GROUP_RECORD.pack, stats.groups[:groups])]
    return b"".join([*parts, *map(STATUS_RECORD.pack, stats.shards[:shards])])


def unpack_supervisor(
    payload: bytes, groups: int
) -> tuple[dict[str, Any], list[StandbyGroup], list[ShardStatus]]:
    """What pack_supervisor() packed: the supervisor's own values by name, its groups, the shards."""
    shards_at = SUPERVISOR_RECORD.size_bytes + groups * GROUP_RECORD.size_bytes
    group_places = range(SUPERVISOR_RECORD.size_bytes, shards_at, GROUP_RECORD.size_bytes)
    shard_places = range(shards_at, len(payload), STATUS_RECORD.size_bytes)
    return (
        SUPERVISOR_RECORD.unpack(payload),
        [StandbyGroup(**GROUP_RECORD.unpack(payload, place)) for place in group_places],
        [ShardStatus(**STATUS_RECORD.unpack(payload, place)) for place in shard_places],
    )


def _supervisor_payload(shards: int, groups: int) -> int:
    each = groups * GROUP_RECORD.size_bytes + shards * STATUS_RECORD.size_bytes
    return SUPERVISOR_RECORD.size_bytes + each


def _segment_bytes(shards: int, groups: int) -> int:
    supervisor = block_bytes(_supervisor_payload(shards, groups))
    return _HEADER_BYTES + supervisor + shards * block_bytes(SHARD_RECORD.size_bytes)


def _line(field: FieldInfo) -> str:
    return f"{field.name} {field.unit} {field.text_bytes or ''}"


_RECORDS: Final = (SUPERVISOR_RECORD, GROUP_RECORD, STATUS_RECORD, SHARD_RECORD)

_FINGERPRINT: Final = zlib.crc32(
    "\n".join(
        [_line(field) for record in _RECORDS for field in record.fields]
        + [f"{info.name} {info.bounds}" for record in _RECORDS for info in record.histograms.table]
    ).encode()
)


def _header(shards: int, groups: int) -> bytes:
    sizes = _supervisor_payload(shards, groups), SHARD_RECORD.size_bytes
    return _HEADER.pack(_MAGIC, _FINGERPRINT, shards, *sizes, __version__.encode()[:32], groups)


def _read_header(data: bytes, name: str, size_bytes: int) -> tuple[int, int, str]:
    header = _HEADER.unpack_from(data.ljust(_HEADER_BYTES, b"\0"))
    magic, fingerprint, shards, *sizes, version, groups = header
    if magic != _MAGIC:
        raise StatsUnavailable(f"statistics at /dev/shm/{name} are incomplete: nh is starting; try again")
    text = version.rstrip(b"\0").decode("ascii", "replace")
    if fingerprint != _FINGERPRINT or sizes != [_supervisor_payload(shards, groups), SHARD_RECORD.size_bytes]:
        raise StatsUnavailable(
            f"statistics at /dev/shm/{name} are those of nh {text}, this is nh {__version__} "
            "with other tables: use the version that runs"
        )
    known = 1 <= shards <= MAX_SHARDS and groups <= MAX_GROUPS
    if not known or size_bytes < _segment_bytes(shards, groups):
        raise StatsUnavailable(f"statistics at /dev/shm/{name} are damaged: restart nh")
    return shards, groups, text


def _buffer_of(memory: shared_memory.SharedMemory) -> memoryview:
    if memory.buf is None:
        raise ValueError(f"statistics segment {memory.name} is closed")
    return memory.buf


def _unlink(name: str) -> None:
    Path("/dev/shm", name).unlink(missing_ok=True)


def _allocate(name: str, size_bytes: int) -> None:
    """Make a segment with all its memory allocated, mode 0600.

    SharedMemory only sets the length (ftruncate); its pages are allocated when they are written, and a write
    kills the process with SIGBUS if /dev/shm is full.

    Raises:
        OSError: it cannot be made; then it does not exist.
    """
    path = Path("/dev/shm", name)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _open(name: str) -> shared_memory.SharedMemory:
    if sys.version_info >= (3, 13):
        return shared_memory.SharedMemory(name, track=False)
    with _without_tracker():
        return shared_memory.SharedMemory(name)


class _NoTracker:
    """Replaces multiprocessing.resource_tracker while a segment is opened."""

    @staticmethod
    def register(name: str, rtype: str) -> None:
        """Does nothing."""

    @staticmethod
    def unregister(name: str, rtype: str) -> None:
        """Does nothing."""


_swap: Final = threading.Lock()


@contextlib.contextmanager
def _without_tracker() -> Iterator[None]:
    module = vars(shared_memory)
    with _swap:
        tracker = module["resource_tracker"]
        module["resource_tracker"] = _NoTracker
        try:
            yield
        finally:
            module["resource_tracker"] = tracker
