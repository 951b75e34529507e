"""TimeoutWatch: finds the calls whose media have timed out.

That is a call that ends because its last session was silent for too long. A call that was deleted, or that
never had a session, has not timed out.
"""

import time
from collections.abc import Callable

from nh.calls.events import CallObserver, EndReason
from nh.calls.session import Session
from nh.calls.table import CallTable
from nh.calls.timeline import CallTimeline
from nh.calls.timeouts import TimeoutTarget
from nh.ipc.report_messages import MediaTimedOut

MAX_ENDS = 16
"""Most dialogs of one call that a report names."""


class TimeoutWatch(CallObserver):
    """Reports each call whose media have timed out, once.

    Args:
        table: the calls.
        report: called when the call has ended.
    """

    def __init__(self, table: CallTable, report: Callable[[MediaTimedOut], None]) -> None:
        self._table = table
        self._report = report
        self._silent: dict[bytes, MediaTimedOut] = {}  # of calls that have not ended yet

    def session_activated(self, call_id: bytes, _session: Session) -> None:
        """See CallObserver."""
        self._silent.pop(call_id, None)

    def session_ended(self, call_id: bytes, session: Session, reason: EndReason) -> None:
        """See CallObserver."""
        if reason is EndReason.CLOSED:
            self._silent.pop(call_id, None)
        elif reason is not EndReason.REPLACED:
            ends = (session.group_from.id, session.group_to.id)
            known = self._silent.get(call_id)
            before = known.ends if known is not None else ()
            packets = sum(leg.packets for leg in session.legs) + (known.packets if known is not None else 0)
            if ends not in before:
                before = (*before, ends)[-MAX_ENDS:]
            call = self._table.find_call(call_id)
            self._silent[call_id] = MediaTimedOut(
                call_id=call_id,
                ends=before,
                reason=reason.value,
                age_s=time.monotonic() - call.created if call is not None else 0.0,
                packets=packets,
                target=(call.timeout_target if call is not None else None) or TimeoutTarget(),
            )

    def call_ended(self, call_id: bytes, _timeline: CallTimeline) -> None:
        """See CallObserver."""
        timed_out = self._silent.pop(call_id, None)
        if timed_out is not None:
            self._report(timed_out)
