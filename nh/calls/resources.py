"""What all calls of a table share: sockets within limits, and the plane that relays their media.

`MediaPlane` is where the domain meets the world; nh.shard.media.plane is the real one, tests have a fake.
"""

import functools
import sys
from collections.abc import Sequence
from typing import Protocol

from nh.calls.leg import RelaySocket
from nh.calls.media import Media, Side, interned
from nh.calls.ports import PortSpace
from nh.calls.session import Session, SessionInfo
from nh.calls.session_ids import SessionIds
from nh.calls.settings import RelaySettings
from nh.calls.socket_group import SocketGroup
from nh.calls.source import SourcePolicy
from nh.errors import LimitReached


class MediaPlane(Protocol):
    """Opens sockets and moves packets."""

    def open_sockets(self, address: str, base: int, count: int, dscp: int | None = None) -> list[RelaySocket]:
        """`count` sockets on consecutive ports from `base` on, or none.

        `dscp` (0 to 63; None: as set) is of what they send.

        Raises PortInUse, AddressUnavailable, or PortsExhausted if descriptors or memory are used up.
        """

    def adopt_sockets(
        self, address: str, base: int, count: int, dscp: int | None = None
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
    """Sockets and sessions of all calls, counted and limited.

    Arguments:
        plane: see MediaPlane.
        ports: where sockets may be.
        settings: limits and rules.
        session_ids: numbers for sessions; those of several tables must not meet.
    """

    def __init__(
        self,
        *,
        plane: MediaPlane,
        ports: PortSpace,
        settings: RelaySettings,
        session_ids: SessionIds | None = None,
    ) -> None:
        self.plane = plane
        self.ports = ports
        self.settings = settings
        self.sockets = 0
        self.sessions = 0
        # all that ever began here, and those that began in a predecessor
        self.started = 0
        self.restored = 0
        # media, announced at addresses that are not one host's, for which sockets were opened
        self.to_many = 0
        # sessions that newer ones replaced since the last expiry, which reports them
        self.replaced: list[SessionInfo] = []
        self.session_ids = session_ids or SessionIds()

    @property
    def ended(self) -> int:
        """Sessions that ended here."""
        return self.started + self.restored - self.sessions

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
        wanted = sum(medium.range for medium in media)
        self.check_sdp(wanted)
        limit = self.settings.max_sockets
        if limit and self.sockets + wanted > limit:
            raise LimitReached(
                f"{wanted} more sockets exceed max_sockets = {limit} ({self.sockets} are in use)"
            )
        group = SocketGroup.open(
            id=group_id,
            side=side,
            address=sys.intern(address),
            media=[interned(medium) for medium in media],
            ports=self.ports,
            open_sockets=functools.partial(self.plane.open_sockets, dscp=dscp),
            close_sockets=self.plane.close_sockets,
            now=now,
            dscp=dscp,
        )
        self.sockets += wanted
        self.to_many += sum(medium.to_many for medium in media)
        return group

    def check_sdp(self, sockets: int) -> None:
        """Raises LimitReached if one SDP asks for more sockets than it may."""
        limit = self.settings.max_sockets_in_group
        if limit and sockets > limit:
            raise LimitReached(f"{sockets} sockets for one SDP exceed max_sockets_in_group = {limit}")

    def close_group(self, group: SocketGroup) -> None:
        """Close the sockets of a group that no session uses."""
        group.close(ports=self.ports, close_sockets=self.plane.close_sockets)
        self.sockets -= len(group.sockets)

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
        group = SocketGroup.adopt(
            id=group_id,
            side=side,
            address=sys.intern(address),
            media=[interned(medium) for medium in media],
            bases=bases,
            announced=announced,
            ports=self.ports,
            adopt_sockets=functools.partial(self.plane.adopt_sockets, dscp=dscp),
            close_sockets=self.plane.close_sockets,
            created=created,
            dscp=dscp,
        )
        self.sockets += len(group.sockets)
        return group

    def resume_session(self, session: Session) -> None:
        """Relay for a session that was restored, with its legs as they are."""
        self.plane.start(session)
        self.session_ids.go_on_above(session.id)
        self.sessions += 1
        self.restored += 1

    def withdraw_session(self, session: Session) -> None:
        """Undo resume_session: another part of its call could not be restored."""
        self.plane.stop(session)
        session.unlink()
        self.sessions -= 1
        self.restored -= 1

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
        session = Session(
            id=self.session_ids.take(),
            group_from=group_from,
            group_to=group_to,
            param=param,
            policies=(policies[0] or self.settings.policy, policies[1] or self.settings.policy),
            latch_window_s=self.settings.latch_window_s,
            now=now,
        )
        self.sessions += 1
        self.started += 1
        self.plane.start(session)
        return session

    def renew_session(self, session: Session, side: Side, *, policy: SourcePolicy | None, now: float) -> None:
        """The end on `side` signalled anew: its legs learn again.

        Arguments:
            policy: who may send in that end's place; as set if None.
        """
        session.renew(
            side,
            policy=policy or self.settings.policy,
            latch_window_s=self.settings.latch_window_s,
            now=now,
        )
        self.plane.renew(session)

    def stop_session(self, session: Session, *, since: float) -> None:
        """Relay no more; `since` is when the session was last of use (monotonic seconds)."""
        self.plane.stop(session)
        session.unlink()
        self.sessions -= 1
        session.group_from.detach(since=since)
        session.group_to.detach(since=since)
