"""Restoring: a call is made of its snapshot again, in another table, on the ports that it had.

All or nothing: what could not be made whole leaves no socket, no port and no session behind.
"""

import contextlib
import math

from nh.calls.call import Call
from nh.calls.ports import PortInUse
from nh.calls.resources import Resources
from nh.calls.session import Session
from nh.calls.snapshots.checking import check_snapshot
from nh.calls.snapshots.rebuilding import (
    Parts,
    Times,
    rebuild_media,
    rebuild_offers,
    rebuild_session,
    rebuild_transaction,
)
from nh.calls.snapshots.structs import CallSnapshot, GroupSnapshot
from nh.calls.socket_group import SocketGroup
from nh.calls.table import CallTable
from nh.errors import PortsExhausted, SnapshotUnreadable


def restore_call(table: CallTable, snapshot: CallSnapshot, *, shift_s: float, now: float) -> Call:
    """Make the call of a snapshot again: it relays from then on, and session ids go on above its own.

    Arguments:
        shift_s: added to each time: 0 if the monotonic clock is still the same.
        now: monotonic seconds. Nothing will have happened later; what has expired ends at the next expiry.

    Limits and draining do not count: the call was admitted before. Raises SnapshotUnreadable if the
    snapshot contradicts itself; PortsExhausted or AddressUnavailable if its sockets cannot be had, Refused if
    a call of that call-id is there. Then nothing has changed.
    """
    if not math.isfinite(shift_s):
        raise SnapshotUnreadable(f"snapshot: times cannot be shifted by {shift_s} s")
    check_snapshot(snapshot)
    times = Times(shift_s, now)
    call = table.make_call(snapshot.call_id, created=times.past(snapshot.created))
    resources = table.resources
    with contextlib.ExitStack() as undo:
        parts = Parts(*_open(resources, snapshot, times, undo))
        for each in snapshot.transactions:
            rebuild_transaction(call, each, parts)
        if snapshot.offers is not None:
            call.offers = rebuild_offers(resources, snapshot.offers, parts, times)
        for session in parts.sessions:
            resources.resume_session(session)
            undo.callback(resources.withdraw_session, session)
        undo.pop_all()
    call.next_expiry = times.ahead(snapshot.next_expiry)
    table.keep(call)
    return call


def _open(
    resources: Resources, snapshot: CallSnapshot, times: Times, undo: contextlib.ExitStack
) -> tuple[list[SocketGroup], list[Session]]:
    """All groups with their sockets, and the sessions, which do not relay yet."""
    groups: list[SocketGroup] = []
    for each in snapshot.groups:
        groups.append(_open_group(resources, each, times))
        undo.callback(resources.close_group, groups[-1])
    window_s = resources.settings.latch_window_s
    return groups, [
        rebuild_session(each, groups, times, latch_window_s=window_s) for each in snapshot.sessions
    ]


def _open_group(resources: Resources, snapshot: GroupSnapshot, times: Times) -> SocketGroup:
    try:
        group = resources.adopt_group(
            group_id=snapshot.id,
            side=snapshot.side,
            address=snapshot.address,
            media=[rebuild_media(media) for media in snapshot.media],
            bases=snapshot.bases,
            told=snapshot.told,
            dscp=snapshot.dscp,
            created=times.past(snapshot.created),
        )
    except PortInUse as exc:
        raise PortsExhausted(f"the call's ports on {snapshot.address} are taken: {exc}") from exc
    group.idle_since = times.maybe_past(snapshot.idle_since)
    return group
