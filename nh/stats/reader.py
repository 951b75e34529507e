"""Reads the statistics from shared memory, without contacting the relay."""

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nh.errors import StatsUnavailable
from nh.stats.block import SharedBlock
from nh.stats.fields import Kind
from nh.stats.layout import (
    SHARD_TABLE,
    STATUS_HISTOGRAMS,
    STATUS_TABLE,
    ShardState,
    ShardStatus,
)
from nh.stats.segment import Segment, attach_segment, segment_name

if TYPE_CHECKING:
    from nh.stats.reading import ShardReading, StatsReading, SupervisorReading


def read_once(runtime_path: Path) -> "StatsReading":
    """The latest statistics of the nh with this runtime directory. For repeated reads use a StatsReader.

    Raises:
        StatsUnavailable: no nh runs there, or its statistics cannot be read.
    """
    with contextlib.closing(attach_segment(segment_name(runtime_path))) as segment:
        return StatsReader(segment).read()


class StatsReader:
    """Reads all blocks of a segment.

    Args:
        segment: it must stay open.
    """

    def __init__(self, segment: Segment) -> None:
        self._version = segment.version
        self._groups = segment.groups
        self._tables = segment.tables
        self._supervisor = _BlockReader(segment.supervisor_block(), f"{segment.name}: the supervisor")
        self._shards = [
            _BlockReader(segment.shard_block(shard), f"{segment.name}: shard {shard}")
            for shard in range(segment.shards)
        ]

    def read(self) -> "StatsReading":
        """The latest published values.

        The gauges of a shard that is down are zero, because what it published last is outdated; its counters
        stay.

        Raises:
            StatsUnavailable: a block cannot be read, and this reader has never read it before.
        """
        from nh.stats.reading import StatsReading, add_up  # noqa: PLC0415  see nh.stats

        supervisor = self._read_supervisor()
        shards = tuple(
            _shard_reading(number, self._tables.shard.unpack(block.read()), supervisor.shards[number])
            for number, block in enumerate(self._shards)
        )
        clock = time.monotonic()  # after the readings, so that no age is negative
        supervisor.heartbeat_age_s = _age_s(supervisor.heartbeat, clock)
        for shard in shards:
            shard.heartbeat_age_s = _age_s(shard.heartbeat, clock)
        return StatsReading(
            time=time.time(),
            clock=clock,
            version=self._version,
            supervisor=supervisor,
            shards=shards,
            totals=add_up(shards),
        )

    def _read_supervisor(self) -> "SupervisorReading":
        from nh.stats.reading import SupervisorReading  # noqa: PLC0415

        values, groups, statuses = self._tables.unpack_supervisor(self._supervisor.read(), self._groups)
        return SupervisorReading(**values, groups=groups, shards=statuses)


class Heartbeat:
    """Reads the heartbeat of one shard: that it publishes.

    Args:
        segment: it must stay open.
        shard: number of the shard.

    Raises:
        IndexError: there is no such shard.
    """

    def __init__(self, segment: Segment, shard: int) -> None:
        self._block = segment.shard_block(shard)

    def read(self) -> int:
        """The number of the shard's last publication; 0: there was none."""
        return self._block.sequence


class _BlockReader:
    """A block, and the latest payload that was read."""

    def __init__(self, block: SharedBlock, whose: str) -> None:
        self._block = block
        self._whose = whose
        self._last: bytes | None = None

    def read(self) -> bytes:
        if newest := self._block.find_newest():
            self._last = newest[1]
        if self._last is None:
            raise StatsUnavailable(f"statistics at /dev/shm/{self._whose} cannot be read; try again")
        return self._last


def _age_s(heartbeat: float, clock: float) -> float | None:
    return max(0.0, clock - heartbeat) if heartbeat else None


def _shard_reading(shard: int, values: dict[str, Any], status: ShardStatus) -> "ShardReading":
    from nh.stats.reading import ShardReading  # noqa: PLC0415

    state = ShardState(status.state)
    if state is ShardState.DOWN:
        values |= {field.name: field.zero for field in SHARD_TABLE if field.kind is Kind.GAUGE}
    names = [field.name for field in STATUS_TABLE] + [info.name for info in STATUS_HISTOGRAMS]
    said = {name: getattr(status, name) for name in names}
    return ShardReading(**values, **said | {"state": state}, shard=shard)
