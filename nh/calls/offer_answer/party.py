"""Parties: the ends of a call that offer and answer SDPs, told by their SIP tags (ng's model of a call).

A party has, for each medium of its latest SDP, a group of sockets that the relay announced to the other ends
in its place. What joins two of them is a dialog (nh.calls.offer_answer.dialog).
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from nh.calls.interfaces import Interface
from nh.calls.media import Media, Side
from nh.calls.resources import Resources
from nh.calls.settings import RelaySettings
from nh.calls.socket_group import SocketGroup
from nh.calls.source import SourcePolicy

if TYPE_CHECKING:
    from nh.calls.offer_answer.dialog import Dialog


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
        "former",
        "groups",
        "holds",
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
        self.early: Dialog | None = None
        # who may send in its place; None: as set
        self.policy: SourcePolicy | None = None
        self.label = ""
        self.blocked = False
        # where the relay meets it, and where the one that it first offered to
        self.interface: Interface | None = None
        self.peer_interface: Interface | None = None
        self.groups: list[SocketGroup | None] = []
        # those that an offer of its own replaced, by medium, while they are needed: nobody agreed yet
        self.former: list[tuple[int, SocketGroup]] = []
        # what it offered to put on hold, by medium, while nobody agreed yet: until then it is sent to there
        self.holds: dict[int, Media] = {}
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
        """When it goes if it is in no dialog and nobody answers it (monotonic seconds)."""
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
            current = _find_serving(party, index, request)
            if request.media is None or current is not None:
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


def _find_serving(party: Party, index: int, request: MediumRequest) -> SocketGroup | None:
    """Sockets of the party that will do: the present ones, or those of before an offer that was refused."""
    candidates = [party.find_group(index), *(group for medium, group in party.former if medium == index)]
    return next((group for group in candidates if group is not None and _serves(group, request)), None)


def _serves(group: SocketGroup, request: MediumRequest) -> bool:
    """Whether the sockets may stay: rtpengine gives a new place to a peer that has moved."""
    before, after = group.media[0], request.media
    if after is None or group.address != request.address or before.range != after.range:
        return False
    if request.latch or not after.active or not before.active:
        return True
    return (before.address, before.port) == (after.address, after.port)
