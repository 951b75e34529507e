"""What a shard reports to its supervisor for others: calls whose media have timed out, and RTCP for Homer.

Neither waits for a supervisor: without one, or if it does not read, the report is lost, and that is logged or
counted.
"""

import logging
import time
from typing import Final

from nh.errors import NhError
from nh.ipc.channel import Channel
from nh.ipc.link_codec import encode
from nh.ipc.report_messages import MediaTimedOut, RtcpSeen
from nh.logs.lines import about
from nh.logs.throttle import RateLimitedLogger
from nh.printable import short_id

logger = logging.getLogger(__name__)

LOG_INTERVAL_S: Final = 60.0
"""Least time between two log lines about timed-out calls that are not reported: orphans may have many."""


class LinkReports:
    """Sends reports over the link.

    Args:
        channel: the link to the supervisor.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._unreported = RateLimitedLogger(logger, time.monotonic, LOG_INTERVAL_S)

    def media_timed_out(self, timed_out: MediaTimedOut) -> None:
        """Report a call, or log that it cannot be reported."""
        why = self._send(timed_out)
        if why:
            self._unreported.log(
                logging.WARNING,
                "call '%s' has timed out, and no report of that can be sent: %s",
                short_id(timed_out.call_id),
                why,
                extra=about(timed_out.call_id),
            )

    def rtcp_seen(self, seen: RtcpSeen) -> bool:
        """Report RTCP; returns whether the supervisor gets it. If not, the caller counts it with the next."""
        return not self._send(seen)

    def _send(self, report: MediaTimedOut | RtcpSeen) -> str:
        """Send a report; returns why that is impossible, "" if it was sent."""
        if self._channel.closed:
            return "no supervisor runs"
        try:
            self._channel.send(encode(report))
        except (NhError, ValueError) as exc:
            return str(exc)
        return ""
