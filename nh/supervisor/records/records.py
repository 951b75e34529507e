"""Records: takes the records of calls from the shards, for the history and for the targets."""

import functools
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from nh.calls.call_event import NO_CLIENT, CallEnd
from nh.config import Settings
from nh.ipc.left_records import take_records
from nh.ipc.report_messages import RtcpSeen
from nh.results import CallRecord, EndedCall
from nh.stats import SupervisorStats
from nh.supervisor.records.history import History
from nh.supervisor.records.targets import fault_of
from nh.supervisor.records.writer import RecordWriter

logger = logging.getLogger(__name__)

GRACE_S: Final = 1.0
"""How long the end waits for records that are to be written."""

HANDOVER_GRACE_S: Final = 0.2
"""The same at an upgrade, for which clients wait."""

_summary: Final = msgspec.msgpack.Decoder(EndedCall)


class Records:
    """The records of all shards.

    Args:
        settings: the targets, and the size of the history.
        stats: where to count, by update_stats().

    Raises:
        ConfigError: the key for Homer cannot be read.

    Attributes:
        history: the latest records.
    """

    def __init__(self, settings: Settings, stats: SupervisorStats) -> None:
        self.history = History(settings.history)
        self._writers = [RecordWriter(target) for target in settings.records]
        for target in settings.records:
            if fault := fault_of(target):
                logger.warning("records: %s: %s: till then the records of calls are lost", target, fault)
        self._rtcp_writer: RecordWriter | None = None
        if settings.hep:
            writer, self._rtcp_writer = _hep_writers(settings)
            self._writers.append(writer)
        self._stats = stats

    def add(self, call_id: bytes, record: bytes) -> None:
        """Take the record of one call (nh.results.CallRecord in msgpack)."""
        self.history.add(call_id, record)
        for writer in self._writers:
            writer.put(record)

    def add_encoded(self, record: bytes) -> None:
        """Take the record of a call that ended without a supervisor."""
        try:
            call_id = _summary.decode(record).call_id
        except msgspec.DecodeError:  # of another version of nh
            self._stats.records_lost += 1
        else:
            self.add(call_id, record)

    def add_left_behind(self, directory: Path, recorded: Mapping[str, int]) -> None:
        """Take the records that shards left in the runtime directory when they ended without a supervisor.

        Args:
            directory: the runtime directory.
            recorded: see HandoverMessage.
        """
        left, unreadable = take_records(directory, recorded)
        for record in left:
            self.add_encoded(record)
        self._stats.records_lost += unreadable

    def add_lost(self, call_id: bytes, shard: int) -> None:
        """A call is lost, and only its call-id is known."""
        now = datetime.now(UTC)
        lost = CallRecord(
            call_id, shard, NO_CLIENT, now, now, 0.0, CallEnd.LOST.value, None, tags=(), packets=0, bytes=0
        )
        self.add(call_id, msgspec.msgpack.encode(lost))

    def add_rtcp(self, seen: RtcpSeen) -> None:
        """Take RTCP that passed, for Homer."""
        if self._rtcp_writer is not None:
            self._stats.hep_rtcp_lost += seen.lost
            for packet in seen.packets:
                self._rtcp_writer.put(packet)

    def reopen(self) -> None:
        """Open the files anew with the next record."""
        for writer in self._writers:
            writer.reopen()

    def update_stats(self) -> None:
        """Count what the threads have done since the last call."""
        for writer in self._writers:
            written, lost = writer.take_counts()
            self._stats.records_written += written
            self._stats.records_lost += lost
        if self._rtcp_writer is not None:
            sent, lost = self._rtcp_writer.take_counts()
            self._stats.hep_rtcp_sent += sent
            self._stats.hep_rtcp_lost += lost

    def close(self, *, at_handover: bool = False) -> None:
        """Take no records any more; those that wait have a moment. What waits then is lost."""
        ends_at = time.monotonic() + (HANDOVER_GRACE_S if at_handover else GRACE_S)
        for writer in (*self._writers, self._rtcp_writer):
            if writer is not None:
                writer.close(ends_at)
        self.update_stats()


def _hep_writers(settings: Settings) -> tuple[RecordWriter, RecordWriter]:
    """Those that send records, and RTCP, to Homer."""
    from nh.supervisor.records.hep import HepEncoder, HepTarget, read_key  # noqa: PLC0415  few relays have it

    target = settings.hep_target
    encoder = HepEncoder(settings.hep_id, read_key(settings))
    open_ = functools.partial(HepTarget, target.address, tcp=target.tcp)
    name = f"hep {settings.hep}"
    rtcp = RecordWriter(name, open_, encoder.rtcp, what="reports of RTCP", counter="hep_rtcp_lost")
    return RecordWriter(name, open_, encoder.record), rtcp
