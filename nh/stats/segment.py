"""Segments of shared memory: creation, header, removal.

A segment has a header, the supervisor's block, and one block for each shard. One `nh run` makes it for one
number of shards, and of groups of calls that it may be a standby for; it belongs to that user (mode 0600).
Behind the header it describes its tables, so that processes of another version of nh can use it, too
(nh.stats.tables).

The memory is a file in /dev/shm (shm_overview(7)), and not multiprocessing.shared_memory's: that removes the
file where a process that only reads it has no memory to map it, and, by its resource tracker, where such a
process ends (python/cpython issue 82300). Shards and the HTTP process get it by its descriptor, so that they
can be started also where another program has removed the file, as systemd-logind does at the logout of the
user (RemoveIPC= in logind.conf(5)).
"""

import contextlib
import errno
import hashlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from nh.errors import StatsUnavailable
from nh.paths import real_path
from nh.reasons import shortage
from nh.stats.block import SharedBlock
from nh.stats.header import MAGIC_BYTES, Header
from nh.stats.layout import MAX_SHARDS, ShardStats, SupervisorStats


def segment_name(runtime_dir: Path) -> str:
    """The name of the segment of the `nh run` with this runtime directory."""
    digest = hashlib.blake2b(str(real_path(runtime_dir)).encode("utf-8", "surrogateescape"), digest_size=6)
    return f"nh-{digest.hexdigest()}"


class Segment:
    """An open segment.

    Args:
        memory: the mapped file; it belongs to this object.
        name: its name.
        header: what its head says.
        fd: its descriptor, which belongs to this object; -1: it has none.

    Attributes:
        name: its name.
        fd: the descriptor by which other processes can have it; -1 where it was opened by its name.
        shards: how many blocks of shards it has, 1 to MAX_SHARDS.
        groups: for how many groups of calls it has room, 0 to MAX_GROUPS.
        version: the nh that made it.
        tables: how values lie in its blocks.
    """

    def __init__(self, memory: mmap.mmap, name: str, header: Header, fd: int = -1) -> None:
        self._memory = memory
        self._view = memoryview(memory)
        self._header = header
        self.name = name
        self.fd = fd
        self.shards = header.shards
        self.groups = header.groups
        self.version = header.version
        self.tables = header.tables

    def supervisor_block(self) -> SharedBlock:
        """The supervisor's block: its own values, then its groups, then one status for each shard."""
        return SharedBlock(self._buffer, self._header.supervisor_at, self._header.supervisor_bytes)

    def shard_block(self, shard: int) -> SharedBlock:
        """The block of shard `shard`.

        Raises:
            IndexError: there is no such shard.
        """
        if not 0 <= shard < self.shards:
            raise IndexError(f"shard {shard} is not in 0..{self.shards - 1}")
        return SharedBlock(self._buffer, self._header.shard_at(shard), self.tables.shard.size_bytes)

    @property
    def removed(self) -> bool:
        """Whether the file has no name any more, of one with a descriptor."""
        return self.fd >= 0 and os.fstat(self.fd).st_nlink == 0

    def close(self) -> None:
        """Unmap the memory in this process. The segment and its blocks cannot be used any more."""
        self._view.release()
        self._memory.close()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def unlink(self) -> None:
        """Remove the name: no process can attach any more; the last user frees the memory."""
        _unlink(self.name)

    @property
    def _buffer(self) -> memoryview:
        if self._memory.closed:
            raise ValueError(f"statistics segment {self.name} is closed")
        return self._view


def create_segment(name: str, shards: int, groups: int = 0) -> Segment:
    """Make a segment with all values zero, in place of one that a killed run left.

    Args:
        name: see segment_name().
        shards: 1 to MAX_SHARDS.
        groups: 0 to MAX_GROUPS.

    Raises:
        StatsUnavailable: the system has no room, or another user owns the name.
        ValueError: `shards` is out of range.
    """
    if not 1 <= shards <= MAX_SHARDS:
        raise ValueError(f"shards: {shards} is not in 1..{MAX_SHARDS}")
    header = Header(shards, groups)
    try:
        _unlink(name)
        memory, fd = _create(name, header.size_bytes)
    except OSError as exc:
        raise StatsUnavailable(
            f"shared memory /dev/shm/{name} cannot be created: {_why(exc, header.size_bytes)}"
        ) from exc
    segment = Segment(memory, name, header, fd)
    tables, head = header.tables, header.pack()
    segment.supervisor_block().write(0, tables.pack_supervisor(SupervisorStats(), shards, groups))
    for shard in range(shards):
        segment.shard_block(shard).write(0, tables.shard.pack(ShardStats()))
    # the magic last, so that a reader that sees it sees valid blocks
    for part in (slice(MAGIC_BYTES, len(head)), slice(MAGIC_BYTES)):
        segment._buffer[part] = head[part]
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
    """Open the segment of a running nh by its name.

    Raises:
        StatsUnavailable: there is none, or it belongs to another user, or is damaged.
    """
    try:
        memory = _open(name)
    except FileNotFoundError as exc:
        raise StatsUnavailable(
            f"no statistics at /dev/shm/{name}: nh is not running there, or another program removed them;"
            " then `nh upgrade` makes them anew"
        ) from exc
    except PermissionError as exc:
        raise StatsUnavailable(
            f"statistics at /dev/shm/{name}: permission denied; run as the relay's user, or as root"
        ) from exc
    except OSError as exc:
        raise StatsUnavailable(f"statistics at /dev/shm/{name} cannot be opened: {exc.strerror}") from exc
    except ValueError as exc:  # its maker has not set its length yet
        raise StatsUnavailable(f"statistics at /dev/shm/{name} are empty: nh is starting; try again") from exc
    return _read(memory, name)


def inherit_segment(fd: int, name: str) -> Segment:
    """Open the segment whose descriptor this process has from the one that made it.

    Args:
        fd: the descriptor; it stays the caller's.
        name: of the segment, for errors; its file may have been removed.

    Raises:
        StatsUnavailable: it is damaged, or there is no memory to map it.
    """
    try:
        memory = mmap.mmap(fd, 0)
    except OSError as exc:
        raise StatsUnavailable(f"statistics of {name} cannot be opened: {exc.strerror}") from exc
    return _read(memory, name)


def open_segment(fd: int, name: str) -> Segment:
    """Open a segment as inherit_segment() does, or as attach_segment() if `fd` is -1."""
    return attach_segment(name) if fd < 0 else inherit_segment(fd, name)


def _read(memory: mmap.mmap, name: str) -> Segment:
    try:
        with memoryview(memory) as head:
            header = Header.parse(head, name)
    except StatsUnavailable:
        memory.close()
        raise
    return Segment(memory, name, header)


def _why(exc: OSError, size_bytes: int) -> str:
    """Why a segment cannot be created, and what to do."""
    if exc.errno in (errno.EMFILE, errno.ENFILE):
        return shortage(exc)
    remedy = "if it belongs to another user, remove it or choose another runtime directory"
    if exc.errno in (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM):
        remedy = f"{size_bytes} bytes are needed: free some, or mount /dev/shm with a larger size="
    if exc.errno in (errno.ENOENT, errno.EROFS):
        remedy = "mount it so that nh can write there: mount -t tmpfs -o mode=1777 shm /dev/shm"
    return f"{exc.strerror}; {remedy}"


def _unlink(name: str) -> None:
    Path("/dev/shm", name).unlink(missing_ok=True)


def _create(name: str, size_bytes: int) -> tuple[mmap.mmap, int]:
    """Make and map a segment with all its memory allocated, mode 0600.

    With its length alone (ftruncate) its pages would be allocated when they are written, and a write kills
    the process with SIGBUS if /dev/shm is full.

    Raises:
        OSError: it cannot be made; then it does not exist.
    """
    path = Path("/dev/shm", name)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
        return mmap.mmap(descriptor, size_bytes), descriptor
    except BaseException:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        raise


def _open(name: str) -> mmap.mmap:
    descriptor = os.open(Path("/dev/shm", name), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return mmap.mmap(descriptor, 0)
    finally:
        os.close(descriptor)
