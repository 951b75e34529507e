"""Snapshots of sessions."""

from collections.abc import Sequence
from typing import Annotated, Self

import msgspec

from nh.calls.pairing import payload_types
from nh.calls.session import NO_PARAM, Session
from nh.calls.snapshots.leg import LegSnapshot
from nh.calls.snapshots.media import GroupSnapshot
from nh.calls.snapshots.values import Index, Indexes, Time, TimeShift, require, require_index
from nh.calls.sockets.group import SocketGroup


class SessionSnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A session.

    Attributes:
        group_from, group_to: indexes of groups.
        from_muxes, to_muxes: the arguments of the last Session.set_mux().
    """

    id: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    group_from: Index
    group_to: Index
    created: Time
    last_active: Time
    replaced_at: Time | None
    on_hold: bool
    from_muxes: bool
    to_muxes: bool
    param: dict[str, str]
    legs: list[LegSnapshot]

    @classmethod
    def take(cls, session: Session, groups: Indexes) -> Self:
        """The snapshot of `session`."""
        announced = payload_types(session.group_from, session.group_to)
        muxes = [leg.rtcp is not None for leg in session.legs]
        return cls(
            # by place: words cost a fifth of a snapshot
            session.id,
            groups[id(session.group_from)],
            groups[id(session.group_to)],
            session.created,
            session.last_active,
            session.replaced_at,
            session.on_hold,
            True in muxes[::2],
            True in muxes[1::2],
            session.param,
            [LegSnapshot.take(leg, types) for leg, types in zip(session.legs, announced, strict=True)],
        )

    def check(self, groups: Sequence[GroupSnapshot]) -> None:
        """Check that its groups can be paired and that it has the legs for them.

        Raises:
            SnapshotUnreadable: they cannot, or it has others.
        """
        for index in (self.group_from, self.group_to):
            require_index(index, groups, "group")
        ports = groups[self.group_from].ports
        require(self.group_from != self.group_to, "a session pairs a group with itself")
        require(
            ports == groups[self.group_to].ports and len(self.legs) == 2 * ports,
            "a session's groups and legs differ in number of ports",
        )
        for leg in self.legs:
            leg.check()

    def rebuild(
        self,
        groups: Sequence[SocketGroup],
        times: TimeShift,
        *,
        latch_window_s: float,
        relatch_s: float = 0.0,
    ) -> Session:
        """The session as it was, not started yet; its groups count it as a user.

        Args:
            groups: all of the call.
            times: from those of the snapshot to those of this process.
            latch_window_s: the setting; no window ends later than that from now, even if a clock was set
                back.
            relatch_s: the setting.
        """
        first = self.legs[:2]
        policies = (first[0].policy, first[1].policy) if first else (None, None)
        session = Session(
            id=self.id,
            group_from=groups[self.group_from],
            group_to=groups[self.group_to],
            param=self.param or NO_PARAM,
            policies=policies,  # type: ignore[arg-type]  # a session without legs uses none
            latch_window_s=0.0,
            relatch_s=relatch_s,
            now=times.past(self.created),
        )
        session.last_active = times.past(self.last_active)
        session.set_replaced(times.maybe_past(self.replaced_at))
        session.on_hold = self.on_hold
        for leg, state in zip(session.legs, self.legs, strict=True):
            state.apply(leg, times)
            leg.window_ends = min(times.future(state.window_ends), times.now + latch_window_s)
        session.set_mux(from_muxes=self.from_muxes, to_muxes=self.to_muxes)
        return session
