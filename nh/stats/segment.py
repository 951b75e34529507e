"""The shared memory itself: where it comes from, its header, and how it goes.

A segment has a header, the supervisor's block and one block a shard. It is made for one number of shards
by one `nh run` and belongs to the user that made it (mode 0600). The header carries a fingerprint of the
tables, so that a reader of another version of nh says so instead of showing nonsense.

Memory comes from multiprocessing.shared_memory without its resource tracker: that is a process of its own,
started by the first use, which unlinks the segments that it was told of when the process that told it
ends. A reader that merely attaches would so take the statistics away from the relay (python/cpython issue
82300), and unlink() would start that process too, so the name is removed as shm_overview(7) allows.
Python 3.13 has track=False; before that the tracker is kept out while a segment is opened.
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
from typing import Final

from nh.errors import StatsUnavailable
from nh.stats import record
from nh.stats.block import Block, block_bytes
from nh.stats.layout import MAX_SHARDS, FieldInfo, ShardStats, SupervisorStats
from nh.version import __version__

_MAGIC: Final = b"nh-stats"
_HEADER: Final = struct.Struct("=8s I I I I 32s")  # magic, tables, shards, two block sizes, version of nh
_HEADER_BYTES: Final = 64


def segment_name(runtime_dir: Path) -> str:
    """The name of the segment of the `nh run` that has this runtime directory."""
    digest = hashlib.blake2b(str(runtime_dir.resolve()).encode("utf-8", "surrogateescape"), digest_size=6)
    return f"nh-{digest.hexdigest()}"


class Segment:
    """An open segment.

    Arguments:
        memory: the shared memory, opened.
        name: its name.
        shards: how many shards it has blocks for, 1 to MAX_SHARDS.
        version: the version of nh that made it.
    """

    def __init__(self, memory: shared_memory.SharedMemory, name: str, shards: int, version: str) -> None:
        self._memory = memory
        self.name = name
        self.shards = shards
        self.version = version

    def supervisor_block(self) -> Block:
        """The block that the supervisor writes: its own values, then one status a shard."""
        return Block(self._buffer, _HEADER_BYTES, _supervisor_payload(self.shards))

    def shard_block(self, shard: int) -> Block:
        """The block that shard `shard` writes. Raises IndexError if there is no such shard."""
        if not 0 <= shard < self.shards:
            raise IndexError(f"shard {shard} is not in 0..{self.shards - 1}")
        size = block_bytes(record.SHARD.size_bytes)
        start = _HEADER_BYTES + block_bytes(_supervisor_payload(self.shards)) + shard * size
        return Block(self._buffer, start, record.SHARD.size_bytes)

    def close(self) -> None:
        """Let go of the memory; others keep it. The segment and its blocks cannot be used any more."""
        self._memory.close()

    def unlink(self) -> None:
        """Take the name away: nobody can attach any more, and the memory goes with its last user."""
        _unlink(self.name)

    @property
    def _buffer(self) -> memoryview:
        return _buffer_of(self._memory)


def create_segment(name: str, shards: int) -> Segment:
    """A new segment with all values zero; one of the same name that a killed run left is removed.

    Arguments:
        name: see segment_name.
        shards: 1 to MAX_SHARDS.

    Raises StatsUnavailable if the system has no room or somebody else owns the name.
    """
    if not 1 <= shards <= MAX_SHARDS:
        raise ValueError(f"shards: {shards} is not in 1..{MAX_SHARDS}")
    size_bytes = _segment_bytes(shards)
    try:
        _unlink(name)
        _allocate(name, size_bytes)
        memory = _open(name)
    except OSError as exc:
        remedy = "if another user's leftover is in the way, remove it or choose another runtime directory"
        if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM):
            remedy = f"{size_bytes} bytes are needed, make room or mount it with a greater size="
        raise StatsUnavailable(
            f"shared memory /dev/shm/{name} cannot be created: {exc.strerror}; {remedy}"
        ) from exc
    segment = Segment(memory, name, shards, __version__)
    supervisor, shard_stats = SupervisorStats(), record.SHARD.pack(ShardStats())
    segment.supervisor_block().write(0, pack_supervisor(supervisor, shards))
    for shard in range(shards):
        segment.shard_block(shard).write(0, shard_stats)
    # last, so that whoever sees the magic sees valid blocks
    segment._buffer[: _HEADER.size] = _header(shards)
    return segment


@contextlib.contextmanager
def own_segment(name: str, shards: int) -> Iterator[Segment]:
    """A new segment as create_segment() makes it, which is gone after the block."""
    segment = create_segment(name, shards)
    try:
        yield segment
    finally:
        segment.unlink()
        segment.close()


def attach_segment(name: str) -> Segment:
    """The segment of a running nh.

    Raises StatsUnavailable if there is none, or it is another version's, or another user's.
    """
    try:
        memory = _open(name)
    except FileNotFoundError as exc:
        raise StatsUnavailable(f"no statistics at /dev/shm/{name}: nh is not running there") from exc
    except OSError as exc:
        raise StatsUnavailable(f"statistics at /dev/shm/{name} cannot be opened: {exc.strerror}") from exc
    except ValueError as exc:  # it has no length yet: its maker is between two system calls, or died there
        raise StatsUnavailable(f"statistics at /dev/shm/{name} are empty: nh is starting") from exc
    try:
        shards, version = _read_header(bytes(_buffer_of(memory)[:_HEADER_BYTES]), name, memory.size)
    except StatsUnavailable:
        memory.close()
        raise
    return Segment(memory, name, shards, version)


def pack_supervisor(stats: SupervisorStats, shards: int) -> bytes:
    """The payload of the supervisor's block."""
    return record.SUPERVISOR.pack(stats) + b"".join(map(record.STATUS.pack, stats.shards[:shards]))


def _supervisor_payload(shards: int) -> int:
    return record.SUPERVISOR.size_bytes + shards * record.STATUS.size_bytes


def _segment_bytes(shards: int) -> int:
    supervisor = block_bytes(_supervisor_payload(shards))
    return _HEADER_BYTES + supervisor + shards * block_bytes(record.SHARD.size_bytes)


def _line(field: FieldInfo) -> str:
    return f"{field.name} {field.unit}"


_FINGERPRINT: Final = zlib.crc32(
    "\n".join(map(_line, record.SUPERVISOR.fields + record.STATUS.fields + record.SHARD.fields)).encode()
)


def _header(shards: int) -> bytes:
    sizes = _supervisor_payload(shards), record.SHARD.size_bytes
    return _HEADER.pack(_MAGIC, _FINGERPRINT, shards, *sizes, __version__.encode()[:32])


def _read_header(data: bytes, name: str, size_bytes: int) -> tuple[int, str]:
    magic, fingerprint, shards, _, _, version = _HEADER.unpack_from(data.ljust(_HEADER_BYTES, b"\0"))
    if magic != _MAGIC:
        raise StatsUnavailable(f"statistics at /dev/shm/{name} are not complete: nh is starting")
    text = version.rstrip(b"\0").decode("ascii", "replace")
    if data[: _HEADER.size] != _header(shards)[: _HEADER.size - 32] + version or fingerprint != _FINGERPRINT:
        raise StatsUnavailable(
            f"statistics at /dev/shm/{name} are those of nh {text}, this is nh {__version__} "
            "with other tables: use the nh that runs"
        )
    if not 1 <= shards <= MAX_SHARDS or size_bytes < _segment_bytes(shards):
        raise StatsUnavailable(f"statistics at /dev/shm/{name} are damaged: start nh again")
    return shards, text


def _buffer_of(memory: shared_memory.SharedMemory) -> memoryview:
    if memory.buf is None:
        raise ValueError(f"statistics segment {memory.name} is closed")
    return memory.buf


def _unlink(name: str) -> None:
    Path("/dev/shm", name).unlink(missing_ok=True)


def _allocate(name: str, size_bytes: int) -> None:
    """Make a segment whose memory is there: zeros, for its owner alone. Raises OSError; then there is none.

    SharedMemory gives a new one its length only (ftruncate), whose pages come as they are written, and who
    writes to one that a full /dev/shm has no room for dies of SIGBUS.
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
    with _tracker_kept_out():
        return shared_memory.SharedMemory(name)


class _NoTracker:
    """What stands in for multiprocessing.resource_tracker while a segment is opened."""

    @staticmethod
    def register(name: str, rtype: str) -> None:
        """Track nothing."""

    @staticmethod
    def unregister(name: str, rtype: str) -> None:
        """Nothing was tracked."""


_swap: Final = threading.Lock()


@contextlib.contextmanager
def _tracker_kept_out() -> Iterator[None]:
    module = vars(shared_memory)
    with _swap:
        tracker = module["resource_tracker"]
        module["resource_tracker"] = _NoTracker
        try:
            yield
        finally:
            module["resource_tracker"] = tracker
