"""RtcpWatch: hands on what passes of RTCP, for Homer: a tap on each leg that carries RTCP alone.

A leg with a tap stays in user space. RTCP on the port of RTP has a tap only where RTCP is told apart from RTP
(Leg.rtcp), because a tap on RTP would keep all of it out of the kernel.
"""

import functools
import time
from collections.abc import Callable
from typing import Final

import msgspec

from nh.calls.events import CallObserver
from nh.calls.leg import Leg
from nh.calls.session import Session
from nh.calls.table import CallTable
from nh.ipc.report_messages import RtcpPacket, RtcpSeen

MAX_PACKETS: Final = 64
"""So many packets go in one message; fewer wait for the next housekeeping."""

MAX_BYTES: Final = 1472
"""Most bytes of a packet; a longer one is not reported: Ethernet carries none whole."""

_encoder: Final = msgspec.msgpack.Encoder()


class RtcpWatch(CallObserver):
    """Collects packets of RTCP, and reports them in batches.

    Args:
        report: takes a batch; returns whether the supervisor gets it.
    """

    def __init__(self, report: Callable[[RtcpSeen], bool]) -> None:
        self._report = report
        self._packets: list[bytes] = []
        self._lost = 0

    def watch_all(self, table: CallTable) -> None:
        """Watch the sessions of a table: those that are restored were activated in another process."""
        for call in table:
            for session in call.running:
                self.session_activated(call.call_id, session)

    def session_activated(self, call_id: bytes, session: Session) -> None:
        """See CallObserver."""
        for leg in session.legs:
            if leg.rtp is not None and not leg.taps:
                leg.taps = (functools.partial(self._note, call_id, leg),)

    def housekeeping(self, _now: float) -> None:
        """See CallObserver."""
        if self._packets or self._lost:
            self._flush()

    def _note(self, call_id: bytes, leg: Leg, packet: memoryview) -> None:
        transport = leg.transport
        source, local = transport.source, transport.socket.local
        if source is None or len(packet) > MAX_BYTES:
            self._lost += 1
            return
        seen = RtcpPacket(
            call_id,
            (source.address, source.port),
            (local.address, local.port),
            round(time.time() * 1_000_000),
            bytes(packet),
        )
        self._packets.append(_encoder.encode(seen))
        if len(self._packets) >= MAX_PACKETS:
            self._flush()

    def _flush(self) -> None:
        packets, self._packets = self._packets, []
        if self._report(RtcpSeen(tuple(packets), self._lost)):
            self._lost = 0
        else:
            self._lost += len(packets)
