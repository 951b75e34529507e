"""Snapshots of calls: taken from a call, and restored in another table on the ports that the call had."""

import contextlib
import math
import operator
from collections.abc import Sequence
from typing import Annotated, Final

import msgspec

from nh.calls.call import Call
from nh.calls.media import Endpoint
from nh.calls.session import Session
from nh.calls.snapshots.media import GroupSnapshot
from nh.calls.snapshots.offer_answer import OffersSnapshot
from nh.calls.snapshots.secrets import SecretsRestorer, take_secrets
from nh.calls.snapshots.session import SessionSnapshot
from nh.calls.snapshots.timeline import TimelineSnapshot
from nh.calls.snapshots.transaction import TransactionSnapshot
from nh.calls.snapshots.values import Time, TimeShift, indexes_of, require, require_distinct
from nh.calls.sockets.group import SocketGroup
from nh.calls.table import CallTable
from nh.calls.timeouts import TimeoutTarget
from nh.errors import SnapshotUnreadable


class Clock(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """When a snapshot was taken.

    Attributes:
        monotonic: seconds of the monotonic clock.
        wall: seconds since 1970.
        boot: identifies the boot of the host that the monotonic clock belongs to; b"" if unknown.
    """

    monotonic: Time
    wall: Time
    boot: Annotated[bytes, msgspec.Meta(max_length=16)] = b""


class CallSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A call.

    Attributes:
        clock: when it was taken; all times are of its monotonic clock.
        sessions: in the order in which they began.
        offers: None in a call of Net::SIP's.
        timeline: None: of an nh that wrote none.
        secrets: see nh.calls.snapshots.secrets; b"" if the call has none.
        grace_s: while packets come, the next snapshot may follow so much later than a call may be silent
            for: a session that is restored from this one alone is taken to have been active for so long.
        final: whether the process has relayed nothing since: what came later is lost. Otherwise a successor
            does not know what came.
    """

    call_id: bytes
    clock: Clock
    created: Time
    next_expiry: float
    groups: list[GroupSnapshot]
    sessions: list[SessionSnapshot]
    transactions: list[TransactionSnapshot]
    offers: OffersSnapshot | None = None
    timeout_target: TimeoutTarget | None = None
    timeline: TimelineSnapshot | None = None
    secrets: bytes = b""
    grace_s: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 0.0
    dtmf_target: Endpoint | None = None
    final: bool = False

    def __repr__(self) -> str:
        """All fields but the secrets: an exception may show a snapshot."""
        names = [name for name in self.__struct_fields__ if name != "secrets"]
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"CallSnapshot({shown}, secrets={len(self.secrets)} bytes)"

    def check(self) -> None:
        """Check that it can be restored whole, if the host gives its ports.

        Raises:
            SnapshotUnreadable: it contradicts itself.
        """
        require(not math.isnan(self.next_expiry), "the time of the next expiry is NaN")
        # a host name would be looked up in the DNS with each digit
        target = self.dtmf_target
        require(target is None or Endpoint.parse(str(target)) == target, f"no events can go to {target}")
        for index, group in enumerate(self.groups):
            group.check(self.groups[:index] if group.shares is not None else ())
        for session in self.sessions:
            session.check(self.groups)
        for transaction in self.transactions:
            transaction.check(self.groups, self.sessions)
        require_distinct([(each.id_from, each.cseq) for each in self.transactions], "transactions")
        owners: list[TransactionSnapshot | OffersSnapshot] = [*self.transactions]
        if self.offers is not None:
            self.offers.check(self.groups, self.sessions)
            owners.append(self.offers)
        require(
            bool(self.transactions) or (self.offers is not None and bool(self.offers.parties)),
            "the call is empty",
        )
        # what two own, or none, would be closed twice, or never
        groups = sorted(index for owner in owners for index in owner.owned_groups)
        sessions = sorted(index for owner in owners for index in owner.owned_sessions)
        require(groups == list(range(len(self.groups))), "a group has no owner, or two")
        require(sessions == list(range(len(self.sessions))), "a session has no owner, or two")
        require_distinct([session.id for session in self.sessions], "session ids")


_by_id: Final = operator.attrgetter("id")


def take_snapshot(call: Call, *, clock: Clock, grace_s: float = 0.0, final: bool = False) -> CallSnapshot:
    """The snapshot of a call; nothing in the call changes.

    Counters are taken as the legs have them: Call.note() brings them up to date. What the kernel has counted
    since then is not lost, because the snapshot says how much of each flow the counters include.

    Args:
        call: of either model.
        clock: the present time.
        grace_s, final: see CallSnapshot.
    """
    offers = call.offers
    groups = call.all_groups
    sessions = sorted(call.running, key=_by_id)
    group_indexes, session_indexes = indexes_of(groups), indexes_of(sessions)
    return CallSnapshot(
        call_id=call.call_id,
        clock=clock,
        created=call.created,
        next_expiry=call.next_expiry,
        groups=_take_groups(groups),
        sessions=[SessionSnapshot.take(session, group_indexes) for session in sessions],
        transactions=[
            TransactionSnapshot.take(each, group_indexes, session_indexes) for each in call.transactions
        ],
        offers=None if offers is None else OffersSnapshot.take(offers, group_indexes, session_indexes),
        timeout_target=call.timeout_target,
        timeline=TimelineSnapshot.take(call.timeline),
        secrets=b"" if offers is None else take_secrets(groups, offers.participants.all_parties),
        grace_s=grace_s,
        dtmf_target=call.dtmf_target,
        final=final,
    )


def _take_groups(groups: Sequence[SocketGroup]) -> list[GroupSnapshot]:
    first: dict[int, int] = {}  # by the first socket, the first group that has it
    taken = []
    for index, group in enumerate(groups):
        shares = first.setdefault(id(group.sockets[0]), index) if group.sockets else index
        taken.append(GroupSnapshot.take(group, None if shares == index else shares))
    return taken


def restore_call(
    table: CallTable, snapshot: CallSnapshot, *, shift_s: float, now: float, grace_s: float = 0.0
) -> Call:
    """Restore a call: it relays from then on, and new session ids are above those of its sessions.

    Limits and draining do not apply, because the call was admitted before. What has expired meanwhile ends at
    the next expiry.

    Args:
        table: where the call will be.
        snapshot: of the call.
        shift_s: added to each time of the snapshot; 0 if the monotonic clock is still the same.
        now: monotonic seconds.
        grace_s: how long packets may have come after the snapshot was taken.

    Raises:
        SnapshotUnreadable: the snapshot contradicts itself.
        PortsExhausted, AddressUnavailable: its sockets cannot be had.
        Refused: the table has a call of that call-id. In all cases nothing has changed.
    """
    if not math.isfinite(shift_s):
        raise SnapshotUnreadable(f"snapshot: times cannot be shifted by {shift_s} s")
    snapshot.check()
    timeline = snapshot.timeline.rebuild() if snapshot.timeline is not None else None
    times = TimeShift(shift_s, now)
    call = table.make_call(snapshot.call_id, created=times.past(snapshot.created))
    resources = call.resources
    groups: list[SocketGroup] = []
    with contextlib.ExitStack() as undo:
        for each in snapshot.groups:
            groups.append(each.rebuild(resources, times, groups))
            undo.callback(resources.close_group, groups[-1])
        secrets = SecretsRestorer(snapshot.secrets) if snapshot.secrets else None
        if secrets is not None:
            secrets.apply_to_groups(groups)
        settings = resources.settings
        sessions: list[Session] = [
            each.rebuild(groups, times, latch_window_s=settings.latch_window_s, relatch_s=settings.relatch_s)
            for each in snapshot.sessions
        ]
        if snapshot.transactions:
            call.transactions = tuple([each.rebuild(groups, sessions) for each in snapshot.transactions])
        if snapshot.offers is not None:
            call.offers = snapshot.offers.rebuild(resources, groups, sessions, times)
            if secrets is not None:
                secrets.apply_to_parties(call.offers.participants.all_parties)
        for session in sessions:
            session.last_active = min(now, session.last_active + grace_s)
            resources.resume_session(session)
            undo.callback(resources.withdraw_session, session)
        undo.pop_all()
    call.next_expiry = times.future(snapshot.next_expiry)
    call.timeout_target = snapshot.timeout_target
    call.dtmf_target = snapshot.dtmf_target
    if timeline is not None:
        call.timeline = timeline
    table.add(call)
    return call
