"""Parties and dialogues: the ends of a call that offer and answer SDPs (ng's model of a call).

A party is one end, told by its SIP tag. It has, for each medium of its latest SDP, a group of sockets that
the relay announced to the other ends in its place. A dialogue joins two parties: for each medium that both
have, a session between the two groups. An offer that was forked makes one dialogue for each answer, all
with the groups of the one who offered. Groups and sessions are those of every other call.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from nh.calls.interfaces import Interface
from nh.calls.media import Media, Side
from nh.calls.resources import Resources
from nh.calls.rules import RelaySettings
from nh.calls.session import Session
from nh.calls.socket_group import SocketGroup
from nh.calls.source import SourcePolicy


class MediumRequest(NamedTuple):
    """What an SDP asks of the relay for one of its media.

    Arguments:
        media: what was announced; None if nothing is to be relayed (rejected, or not over UDP).
        address: local IP address for its sockets, towards the end that the SDP goes to.
        latch: keep the sockets even if the announced endpoint changed.
        dscp: of what new sockets send, 0 to 63; None: as set.
    """

    media: Media | None
    address: str
    latch: bool = False
    dscp: int | None = None


class Mux(NamedTuple):
    """What was said of RTCP on the RTP port (RFC 5761) when a party offered one of its media.

    Arguments:
        offered: by the party.
        passed_on: to the one that it offered to.
        decided: whether the relay accepts it whatever the other says; None: as the other says.
    """

    offered: bool = False
    passed_on: bool = False
    decided: bool | None = None

    def answered(self, accepted: bool) -> tuple[bool, bool]:
        """Whether the offerer muxes, and whether the answerer does, who accepted it or not."""
        answerer = self.passed_on and accepted
        return self.offered and (answerer if self.decided is None else self.decided), answerer


class Counters(NamedTuple):
    """What arrived on legs: packets and bytes that were taken, and packets that were not passed on."""

    packets: int = 0
    bytes: int = 0
    dropped: int = 0


class Branch:
    """A branch of a forked offer that nobody has answered yet.

    Arguments:
        offerer: whose offer it is.
    """

    __slots__ = ("delete_at", "offerer")

    def __init__(self, offerer: "Party") -> None:
        self.offerer = offerer
        self.delete_at = math.inf


class Party:
    """One end of a call.

    Arguments:
        tag: its SIP tag.
        side: of its groups: FROM if the first that it sent was an offer, else TO.
        now: monotonic seconds.
    """

    __slots__ = (
        "blocked",
        "created",
        "delete_at",
        "early",
        "groups",
        "interface",
        "label",
        "mux",
        "past",
        "peer_interface",
        "policy",
        "side",
        "tag",
        "waiting_since",
    )

    def __init__(self, tag: bytes, side: Side, *, now: float) -> None:
        self.tag = tag
        self.side = side
        self.created = now
        # of its last offer, until that is answered
        self.waiting_since: float | None = None
        self.delete_at = math.inf
        # with whoever will answer its first offer: that end may send before it says who it is
        self.early: Dialogue | None = None
        # who may send in its place; None: as set
        self.policy: SourcePolicy | None = None
        self.label = ""
        self.blocked = False
        # where the relay meets it, and where the one that it first offered to
        self.interface: Interface | None = None
        self.peer_interface: Interface | None = None
        self.groups: list[SocketGroup | None] = []
        self.mux: list[Mux] = []
        # what its sessions that are over received, by medium and component
        self.past: dict[tuple[int, int], Counters] = {}

    def find_group(self, index: int) -> SocketGroup | None:
        """The sockets for its medium `index`, None if that is not relayed."""
        return self.groups[index] if index < len(self.groups) else None

    def take_tag(self, tag: bytes) -> None:
        """It turns out who it is."""
        self.tag = tag
        for group in self.groups:
            if group is not None:
                group.id = tag

    def ends_at(self, rules: RelaySettings) -> float:
        """When it goes if it is in no dialogue and nobody answers it (monotonic seconds)."""
        signs = [self.created if self.waiting_since is None else self.waiting_since]
        if self.early is not None:
            signs += [session.last_active for session in self.early.sessions.values()]
        elif self.waiting_since is None:
            left = [
                group.expires_at(unused_s=rules.unused_s, replaced_s=rules.replaced_s)
                for group in self.groups
                if group is not None
            ]
            return max(left, default=self.created + rules.unused_s)
        return max(signs) + rules.unused_s


class Dialogue:
    """Two parties, and the sessions between them.

    Arguments:
        caller: who offered first; FROM of all sessions.
        callee: who answered first; TO of all sessions.
        branch: the Via branch of the last offer, b"" if not told.
        now: monotonic seconds.
    """

    __slots__ = ("branch", "callee", "caller", "delete_at", "sessions", "signalled")

    def __init__(self, caller: Party, callee: Party, *, branch: bytes, now: float) -> None:
        self.signalled = now
        self.delete_at = math.inf
        self.caller = caller
        self.callee = callee
        self.branch = branch
        self.sessions: dict[int, Session] = {}

    @property
    def tags(self) -> frozenset[bytes]:
        """The tags of both parties."""
        return frozenset((self.caller.tag, self.callee.tag))

    def side_of(self, party: Party) -> Side:
        """Which side of the sessions a party is."""
        return Side.FROM if party is self.caller else Side.TO

    def party_on(self, side: Side) -> Party:
        """The party that is this side of the sessions."""
        return self.caller if side is Side.FROM else self.callee

    def has(self, party: Party) -> bool:
        """Whether it is one of the two."""
        return party is self.caller or party is self.callee

    def stop(self, resources: Resources, index: int, *, now: float) -> None:
        """End the session of one medium, if there is one."""
        session = self.sessions.pop(index, None)
        if session is not None:
            resources.stop_session(session, since=now)
            for number, leg in enumerate(session.legs):
                past = self.party_on(leg.side).past
                packets, size, dropped = past.get((index, number // 2), Counters())
                past[index, number // 2] = Counters(
                    packets + leg.packets, size + leg.bytes, dropped + sum(leg.drops or ())
                )

    def stop_all(self, resources: Resources, *, now: float) -> None:
        """End all sessions."""
        for index in list(self.sessions):
            self.stop(resources, index, now=now)

    def refresh(self, resources: Resources, signalled: Party, *, now: float) -> None:
        """Relay every medium that both parties have; what `signalled` sends is learned anew.

        A medium that changed its kind (speech became a fax) waits for the other's consent.
        """
        self.signalled = now
        for index in range(max(len(self.caller.groups), len(self.callee.groups))):
            group_from, group_to = self.caller.find_group(index), self.callee.find_group(index)
            if group_from is None or group_to is None:
                continue
            if len(group_from.components) != len(group_to.components):
                continue
            if index in self.sessions:
                resources.renew_session(
                    self.sessions[index], self.side_of(signalled), policy=signalled.policy, now=now
                )
            else:
                self.sessions[index] = resources.start_session(
                    group_from,
                    group_to,
                    param={},
                    policies=(self.caller.policy, self.callee.policy),
                    now=now,
                )
        self.block(resources)

    def set_mux(self, resources: Resources, index: int, *, offerer: Party, muxes: tuple[bool, bool]) -> None:
        """Which end of medium `index` sends RTCP on its RTP port: (the offerer, the answerer)."""
        session = self.sessions.get(index)
        if session is not None:
            caller, callee = muxes if offerer is self.caller else muxes[::-1]
            session.set_mux(from_muxes=caller, to_muxes=callee)
            resources.plane.renew(session)

    def block(self, resources: Resources) -> None:
        """Pass on what the parties send, or do not, as each of them says."""
        for session in self.sessions.values():
            changed = False
            for leg in session.legs:
                blocked = self.party_on(leg.side).blocked
                changed = changed or leg.blocked is not blocked
                leg.blocked = blocked
            if changed:
                resources.plane.renew(session)

    def expires_at(self, rules: RelaySettings) -> float:
        """Monotonic seconds at which it ends unless a packet comes."""
        # one medium may rest for long while another talks: only together are they silent
        return max(
            (session.expires_at(rules) for session in self.sessions.values()),
            default=self.signalled + rules.unused_s,
        )


def open_groups(
    resources: Resources, party: Party, requests: Sequence[MediumRequest], *, now: float
) -> list[SocketGroup | None]:
    """The groups for a party's new SDP: kept where nothing changed that matters, else new.

    Raises LimitReached, PortsExhausted or AddressUnavailable; then nothing is opened.
    """
    resources.check_sdp(sum(request.media.range for request in requests if request.media is not None))
    groups: list[SocketGroup | None] = []
    opened: list[SocketGroup] = []
    try:
        for index, request in enumerate(requests):
            current = party.find_group(index)
            if request.media is None:
                groups.append(None)
            elif current is not None and _serves(current, request):
                groups.append(current)
            else:
                group = resources.open_group(
                    group_id=party.tag,
                    side=party.side,
                    address=request.address,
                    media=[request.media],
                    now=now,
                    dscp=request.dscp,
                )
                opened.append(group)
                groups.append(group)
    except BaseException:
        for group in opened:
            resources.close_group(group)
        raise
    return groups


def _serves(group: SocketGroup, request: MediumRequest) -> bool:
    """Whether the sockets may stay: rtpengine gives a new place to a peer that has moved."""
    before, after = group.media[0], request.media
    if after is None or group.address != request.address or before.range != after.range:
        return False
    if request.latch or not after.active or not before.active:
        return True
    return (before.address, before.port) == (after.address, after.port)
