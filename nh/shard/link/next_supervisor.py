"""How the next supervisor gets the calls of a shard, whether this one hands over or dies.

The shard listens for the next supervisor as long as it serves. When its link ends, it goes on as an Orphan.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from nh.ipc.handover_socket import HandoverSocket
from nh.ipc.left_records import LeftRecord, leave_records
from nh.loop import SelectorLoop
from nh.printable import counted
from nh.shard.recovery.orphan import Orphan
from nh.shard.recovery.unconfirmed import UnconfirmedRecords
from nh.shard.shard import Shard

logger = logging.getLogger(__name__)


class NextSupervisor:
    """The next supervisor, as a shard awaits it.

    Args:
        loop: the shard's own loop.
        records: of calls that have ended, which no supervisor has confirmed.
        on_over: called when an orphan has no call left, or the next supervisor has them.

    Attributes:
        expected: whether the supervisor has said that it hands over. May be set.
    """

    def __init__(self, loop: SelectorLoop, records: UnconfirmedRecords, on_over: Callable[[], None]) -> None:
        self.expected = False
        self._loop = loop
        self._records = records
        self._on_over = on_over
        self._handover_socket: HandoverSocket | None = None
        self._orphan: Orphan | None = None

    @property
    def is_orphan(self) -> bool:
        """Whether the shard goes on without a supervisor."""
        return self._orphan is not None

    @property
    def handed_over(self) -> bool:
        """Whether the next supervisor has the calls."""
        return self._orphan is not None and self._orphan.handed_over

    def listen(self, shard: Shard, level: int = logging.DEBUG) -> None:
        """Listen for the next supervisor, again if another program removed the socket.

        It may be impossible for a while, as for want of room.

        Args:
            shard: listens once it serves.
            level: of the log line if it is impossible.
        """
        listening = self._handover_socket
        if listening is not None:
            if not listening.is_in_place():
                (listening if self._orphan is None else self._orphan).listen_again()
        elif shard.serving:
            path = shard.configure.handover_path
            self._handover_socket = HandoverSocket.open(path, level) if path else None

    def await_it_as_orphan(self, shard: Shard) -> bool:
        """Go on as an orphan, as the link has ended; returns whether that is of use."""
        level, event = logging.WARNING, "the supervisor is gone"
        if self.expected:
            level, event = logging.INFO, "the supervisor hands over"
        self.listen(shard)
        number, calls = shard.configure.relay.shard, shard.calls
        if self._handover_socket is None or not calls:
            why = "it has no calls"
            if shard.serving and calls:
                level, why = logging.ERROR, "no supervisor would find it; only a store has its calls"
            logger.log(level, "%s: shard %d ends, because %s", event, number, why)
            return False
        logger.log(
            level,
            "%s: shard %d relays its %s until the next supervisor has them",
            event,
            number,
            counted(calls, "call"),
        )
        self._orphan = Orphan(
            self._loop,
            shard.recovery,
            shard.configure,
            self._handover_socket,
            records=self._records,
            on_over=self._on_over,
        )
        return True

    def end_if_empty(self) -> None:
        """End an orphan that has no calls; to be called from time to time."""
        if self._orphan is not None:
            self._orphan.end_if_empty()

    def leave_records(self, shard: Shard) -> None:
        """Leave what no supervisor has confirmed for the next one, in a file: this process ends."""
        left = [LeftRecord(number, record) for number, _, record in self._records]
        path = shard.configure.handover_path
        if not left or not path:
            return
        try:
            leave_records(Path(path), left)
        except OSError as exc:
            logger.error("the records of %s are lost: %s", counted(len(left), "call"), exc)

    def close(self) -> None:
        """Accept no supervisor any more."""
        if self._orphan is not None:
            self._orphan.close()
        if self._handover_socket is not None:
            self._handover_socket.close()
