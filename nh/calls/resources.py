"""What calls take: sockets and sessions, within the limits that all calls of a table share.

`MediaPlane` is where the domain meets the world; nh.shard.media.plane is the real one, tests have a fake.
"""

import functools
import sys
from collections.abc import Sequence
from typing import Protocol

from nh.calls.events import CallEvents, EndReason
from nh.calls.leg import RelaySocket
from nh.calls.media import Media, Side, interned
from nh.calls.ports import PortSpace
from nh.calls.session import Session
from nh.calls.session_ids import SessionIds
from nh.calls.settings import RelaySettings
from nh.calls.socket_group import SocketGroup
from nh.calls.source import SourcePolicy
from nh.errors import LimitReached


class MediaPlane(Protocol):
    """Opens sockets and moves packets."""

    def open_sockets(
        self, address: str, base: int, count: int, dscp: int | None = None, call_id: bytes = b""
    ) -> list[RelaySocket]:
        """`count` sockets on consecutive ports from `base` on, or none; they are those of `call_id`.

        `dscp` (0 to 63; None: as set) is of what they send.

        Raises PortInUse, AddressUnavailable, or PortsExhausted if descriptors or memory are used up.
        """

    def adopt_sockets(
        self, address: str, base: int, count: int, dscp: int | None = None, call_id: bytes = b""
    ) -> list[RelaySocket]:
        """The same for a call that is restored: what a predecessor held is taken over, others are bound."""

    def close_sockets(self, sockets: list[RelaySocket]) -> None:
        """Close what open_sockets or adopt_sockets opened; no session uses it any more."""

    def start(self, session: Session) -> None:
        """Relay from now on."""

    def renew(self, session: Session) -> None:
        """The session's legs learn anew, or were blocked or unblocked: relay by what they say now."""

    def stop(self, session: Session) -> None:
        """Relay no more."""


class Resources:
    """What all calls of a table share, counted and limited.

    Arguments:
        plane: see MediaPlane.
        ports: where sockets may be.
        settings: limits and rules.
        session_ids: numbers for sessions; those of several tables must not meet.
        events: is told what happens to calls.
    """

    def __init__(
        self,
        *,
        plane: MediaPlane,
        ports: PortSpace,
        settings: RelaySettings,
        session_ids: SessionIds | None = None,
        events: CallEvents | None = None,
    ) -> None:
        self.events = events or CallEvents()
        self.plane = plane
        self.ports = ports
        self.settings = settings
        self.sockets = 0
        self.sessions = 0
        # media, announced at addresses that are not one host's, for which sockets were opened
        self.to_many = 0
        self.session_ids = session_ids or SessionIds()

    def of_call(self, call_id: bytes) -> "CallResources":
        """What one call takes of these."""
        return CallResources(self, call_id)


class CallResources:
    """What one call takes: its groups and sessions are opened, started and ended here.

    Args:
        shared: what it shares with all other calls.
        call_id: the call.
    """

    __slots__ = ("call_id", "shared")

    def __init__(self, shared: Resources, call_id: bytes) -> None:
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
    ) -> SocketGroup:
        """A new group with all its sockets.

        Raises LimitReached, PortsExhausted or AddressUnavailable.
        """
        shared = self.shared
        wanted = sum(medium.range for medium in media)
        self.check_sdp(wanted)
        limit = shared.settings.max_sockets
        if limit and shared.sockets + wanted > limit:
            raise LimitReached(
                f"{wanted} more sockets exceed max_sockets = {limit} ({shared.sockets} are in use)"
            )
        group = SocketGroup.open(
            id=group_id,
            side=side,
            address=sys.intern(address),
            media=[interned(medium) for medium in media],
            ports=shared.ports,
            open_sockets=functools.partial(shared.plane.open_sockets, dscp=dscp, call_id=self.call_id),
            close_sockets=shared.plane.close_sockets,
            now=now,
            dscp=dscp,
        )
        shared.sockets += wanted
        shared.to_many += sum(medium.to_many for medium in media)
        return group

    def check_sdp(self, sockets: int) -> None:
        """Raises LimitReached if one SDP asks for more sockets than it may."""
        shared = self.shared
        limit = shared.settings.max_sockets_in_group
        if limit and sockets > limit:
            raise LimitReached(f"{sockets} sockets for one SDP exceed max_sockets_in_group = {limit}")

    def expire_group(self, group: SocketGroup) -> None:
        """Close the sockets of a group that nothing needs any more."""
        self.note_unused(group)
        self.close_group(group)

    def note_unused(self, group: SocketGroup) -> None:
        """Report a group whose time is over if it never had a session."""
        if group.idle_since is None:
            self.shared.events.group_unused(self.call_id, group)

    def close_group(self, group: SocketGroup) -> None:
        """Close the sockets of a group that no session uses."""
        shared = self.shared
        group.close(ports=shared.ports, close_sockets=shared.plane.close_sockets)
        shared.sockets -= len(group.sockets)

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
    ) -> SocketGroup:
        """A group as it was, on the ports that it had. No limit applies: its call was admitted.

        Arguments:
            bases: the first port of each medium.
            announced: for each medium, whether its port was announced.
            created: monotonic seconds.

        Raises PortInUse, PortsExhausted or AddressUnavailable; then nothing is kept.
        """
        shared = self.shared
        group = SocketGroup.adopt(
            id=group_id,
            side=side,
            address=sys.intern(address),
            media=[interned(medium) for medium in media],
            bases=bases,
            announced=announced,
            ports=shared.ports,
            adopt_sockets=functools.partial(shared.plane.adopt_sockets, dscp=dscp, call_id=self.call_id),
            close_sockets=shared.plane.close_sockets,
            created=created,
            dscp=dscp,
        )
        shared.sockets += len(group.sockets)
        return group

    def resume_session(self, session: Session) -> None:
        """Relay for a session that was restored, with its legs as they are."""
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
        param: dict[str, str],
        policies: tuple[SourcePolicy | None, SourcePolicy | None] = (None, None),
        now: float,
    ) -> Session:
        """Relay between two groups.

        Arguments:
            policies: who may send in the place of the FROM end, and of the TO end; as set if None.

        Raises SocketCountMismatch.
        """
        shared = self.shared
        session = Session(
            id=shared.session_ids.take(),
            group_from=group_from,
            group_to=group_to,
            param=param,
            policies=(policies[0] or shared.settings.policy, policies[1] or shared.settings.policy),
            latch_window_s=shared.settings.latch_window_s,
            now=now,
        )
        shared.sessions += 1
        shared.plane.start(session)
        shared.events.session_activated(self.call_id, session)
        return session

    def renew_session(self, session: Session, side: Side, *, policy: SourcePolicy | None, now: float) -> None:
        """The end on `side` signalled anew: its legs learn again.

        Arguments:
            policy: who may send in that end's place; as set if None.
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
        """Relay by what the session's legs say now: they were blocked, unblocked, or their RTCP moved."""
        self.shared.plane.renew(session)

    def stop_session(self, session: Session, *, since: float, silent: bool = False) -> None:
        """Relay no more.

        Args:
            since: when the session was last of use, in monotonic seconds.
            silent: it ends because no packet came, not by a command.
        """
        shared = self.shared
        shared.plane.stop(session)
        shared.events.session_ended(self.call_id, session, _reason(session, silent=silent))
        session.unlink()
        shared.sessions -= 1
        session.group_from.detach(since=since)
        session.group_to.detach(since=since)


def _reason(session: Session, *, silent: bool) -> EndReason:
    if session.replaced_at is not None:
        return EndReason.REPLACED
    if silent:
        return EndReason.HOLD if session.on_hold else EndReason.EXPIRED
    return EndReason.CLOSED
