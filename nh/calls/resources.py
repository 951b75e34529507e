"""The sockets and sessions of one call, within the limits that all calls of a table share."""

import sys
from collections.abc import Sequence

from nh.calls.events import EndReason
from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Media, Side, interned
from nh.calls.session import NO_PARAM, Session
from nh.calls.settings import RelaySettings
from nh.calls.shared_resources import SharedResources
from nh.calls.sockets.candidates import SHARE, adopt_candidates, open_candidates
from nh.calls.sockets.group import SocketGroup
from nh.calls.sockets.runs import SocketRun, SocketRuns
from nh.errors import LimitReached


class CallResources:
    """Opens and closes the groups of one call, and starts and stops its sessions.

    Args:
        shared: what all calls share.
        call_id: the call.
    """

    __slots__ = ("call_id", "shared")

    def __init__(self, shared: SharedResources, call_id: bytes) -> None:
        self.shared = shared
        self.call_id = call_id

    @property
    def settings(self) -> RelaySettings:
        """Limits and rules."""
        return self.shared.settings

    def open_group(
        self,
        *,
        group_id: bytes,
        side: Side,
        address: str,
        media: Sequence[Media],
        now: float,
        dscp: int | None = None,
        further: Sequence[str] = (),
    ) -> SocketGroup:
        """Open a group with all its sockets.

        Args:
            group_id: idfrom or idto of the end whose SDP it is for.
            side: the side of that end.
            address: local IP address.
            media: the media of the SDP, interned.
            now: monotonic seconds.
            dscp: see SocketFactory.open_sockets.
            further: local IP addresses for its only medium (nh.calls.sockets.candidates).

        Raises:
            LimitReached: max_sockets or max_sockets_in_group would be exceeded.
            PortsExhausted: no ports, descriptors or memory are left.
            AddressUnavailable: the address cannot be bound.
        """
        shared = self.shared
        wanted = sum([medium.range for medium in media])
        self.check_sdp(wanted)
        limit = shared.settings.max_sockets
        if limit and shared.sockets + wanted > limit:
            raise LimitReached(
                f"{wanted} more sockets exceed max_sockets: this shard has {shared.sockets}, and its share is"
                f" {limit}",
                "max_sockets",
            )
        runs = self._runs(dscp)
        group = SocketGroup.open(
            id=group_id,
            side=side,
            address=sys.intern(address),
            media=media,
            runs=runs,
            now=now,
        )
        shared.sockets += wanted
        if further:
            group.further = self._open_further(further, wanted, runs)
        shared.multicast += sum([medium.multicast for medium in media])
        return group

    def _open_further(self, addresses: Sequence[str], count: int, runs: SocketRuns) -> tuple[SocketRun, ...]:
        """Open further candidates of `count` sockets each, as far as max_sockets leaves room for a choice."""
        shared = self.shared
        limit = shared.settings.max_sockets
        room = max(0, int(limit * SHARE) - shared.sockets) // count if limit else len(addresses)
        found = open_candidates(addresses[:room], count, runs)
        shared.sockets += count * len(found)
        return found

    def _runs(self, dscp: int | None = None) -> SocketRuns:
        shared = self.shared
        return SocketRuns(shared.ports, shared.plane, call_id=self.call_id, dscp=dscp)

    def check_sdp(self, sockets: int) -> None:
        """Check how many sockets one SDP asks for.

        Raises:
            LimitReached: more than max_sockets_in_group.
        """
        shared = self.shared
        limit = shared.settings.max_sockets_in_group
        if limit and sockets > limit:
            raise LimitReached(f"{sockets} sockets for one SDP exceed max_sockets_in_group = {limit}")

    def expire_group(self, group: SocketGroup) -> None:
        """Close a group whose time is over."""
        self.note_unused(group)
        self.close_group(group)

    def note_unused(self, group: SocketGroup) -> None:
        """Report a group whose time is over if it never had a session."""
        if group.idle_since is None:
            self.shared.events.group_unused(self.call_id, group)

    def close_group(self, group: SocketGroup) -> None:
        """Close the sockets of a group that no session uses, if no other group has them."""
        shared = self.shared
        if group.is_last:
            shared.sockets -= len(group.all_sockets)
        group.close(self._runs())

    def adopt_group(
        self,
        *,
        group_id: bytes,
        side: Side,
        address: str,
        media: Sequence[Media],
        bases: Sequence[int],
        announced: Sequence[bool],
        dscp: int | None,
        created: float,
        further: Sequence[tuple[str, int]],
    ) -> SocketGroup:
        """Restore a group on the ports that it had. No limit applies, because its call was admitted before.

        Args:
            group_id, side, address, media, dscp: see open_group().
            bases: the lowest port of each medium.
            announced: for each medium, whether its port was announced.
            created: monotonic seconds.
            further: address and lowest port of its further candidates; those that cannot be had are left out.

        Raises:
            PortInUse, PortsExhausted, AddressUnavailable: no socket is kept.
        """
        runs = self._runs(dscp)
        group = SocketGroup.adopt(
            id=group_id,
            side=side,
            address=sys.intern(address),
            media=[interned(medium) for medium in media],
            bases=bases,
            announced=announced,
            runs=runs,
            created=created,
        )
        if further:
            group.further = adopt_candidates(further, len(group.sockets), runs)
        self.shared.sockets += len(group.all_sockets)
        return group

    def resume_session(self, session: Session) -> None:
        """Start relaying for a restored session, with its legs as they are."""
        shared = self.shared
        shared.plane.start(session)
        shared.session_ids.advance_past(session.id)
        shared.sessions += 1

    def withdraw_session(self, session: Session) -> None:
        """Undo resume_session: another part of its call could not be restored."""
        shared = self.shared
        shared.plane.stop(session)
        session.unlink()
        shared.sessions -= 1

    def start_session(
        self,
        group_from: SocketGroup,
        group_to: SocketGroup,
        *,
        param: dict[str, str] = NO_PARAM,
        policies: tuple[SourcePolicy | None, SourcePolicy | None] = (None, None),
        before: Session | None,
        now: float,
    ) -> Session:
        """Relay between two groups.

        Args:
            group_from, group_to: the groups for the request's and the response's SDP.
            param: see Session.
            policies: source policies for the FROM end and the TO end; None: that of the settings.
            before: the session between the same ends that this one replaces; None: there is none.
            now: monotonic seconds.

        Raises:
            SocketCountMismatch: the groups differ in their number of sockets.
        """
        shared = self.shared
        session = Session(
            id=shared.session_ids.take(),
            group_from=group_from,
            group_to=group_to,
            param=param,
            policies=(policies[0] or shared.settings.policy, policies[1] or shared.settings.policy),
            latch_window_s=shared.settings.latch_window_s,
            relatch_s=shared.settings.relatch_s,
            now=now,
        )
        if before is not None:
            self._keep_earlier(before, now=now)
        for leg in session.legs:
            earlier = shared.earlier.find(leg.socket.local, call_id=self.call_id, now=now)
            if earlier:
                leg.earlier = earlier
        if before is not None:
            session.inherit(before)
        shared.sessions += 1
        shared.plane.start(session)
        shared.events.session_activated(self.call_id, session)
        return session

    def renew_session(self, session: Session, side: Side, *, policy: SourcePolicy | None, now: float) -> None:
        """Apply new signalling of the end on `side`: its legs learn their sources again.

        Args:
            session: the session.
            side: the end.
            policy: its source policy; None: that of the settings.
            now: monotonic seconds.
        """
        shared = self.shared
        session.renew(
            side,
            policy=policy or shared.settings.policy,
            latch_window_s=shared.settings.latch_window_s,
            now=now,
        )
        shared.plane.renew(session)

    def refresh_session(self, session: Session) -> None:
        """Follow the legs of a session that were blocked or unblocked, or whose RTCP moved."""
        self.shared.plane.renew(session)

    def stop_session(self, session: Session, *, since: float, silent: bool = False) -> None:
        """Stop relaying for a session, for good.

        Args:
            session: the session.
            since: when the session was last in use, in monotonic seconds.
            silent: True: it ends because no packet came, not by a command.
        """
        shared = self.shared
        shared.plane.stop(session)
        shared.events.session_ended(self.call_id, session, _reason(session, silent=silent))
        self._keep_earlier(session, now=since)
        for leg in session.legs:
            if leg.source is not None:
                ssrcs = frozenset(stream.ssrc for stream in (leg.rtp or leg).streams)
                shared.earlier.add(leg.socket.local, leg.source, ssrcs, call_id=self.call_id, now=since)
        session.unlink()
        shared.sessions -= 1
        session.group_from.detach(since=since)
        session.group_to.detach(since=since)

    def _keep_earlier(self, session: Session, *, now: float) -> None:
        """Have who is remembered at the ports of a session remembered in the next one there, too."""
        for leg in session.legs:
            if leg.rare is not None:  # as of few legs
                self.shared.earlier.keep(leg.socket.local, leg.earlier, now=now)


def _reason(session: Session, *, silent: bool) -> EndReason:
    if session.replaced_at is not None:
        return EndReason.REPLACED
    if silent:
        return EndReason.HOLD if session.on_hold else EndReason.EXPIRED
    return EndReason.CLOSED
