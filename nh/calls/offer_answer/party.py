"""Parties: the ends of a call that offer and answer SDPs, identified by SIP tags (ng's model).

For each medium of its latest SDP a party has a socket group: the ports that the relay announces to the other
ends in its place. A dialog (nh.calls.offer_answer.dialog) joins two parties.
"""

import enum
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from nh.calls.blocking import NOTHING_BLOCKED, Blockable
from nh.calls.bundle import Bundle
from nh.calls.interfaces import Interface
from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Block, Media, Side
from nh.calls.offer_answer.agreement import NOTHING_AGREED
from nh.calls.offer_answer.offered import NO_RELAY_OFFER, Mux, OfferedMedium
from nh.calls.origin import SentOrigin
from nh.calls.protocols.media_security import MediaSecurity
from nh.calls.session import Session
from nh.calls.sockets.group import SocketGroup
from nh.ice.agent import IceAgent


class ReceivedTotals(NamedTuple):
    """What some legs received: packets and bytes that they admitted, and packets that were dropped."""

    packets: int = 0
    bytes: int = 0
    dropped: int = 0


NOTHING_PENDING: Final[Mapping[int, Media]] = MappingProxyType({})
_NO_TOTALS: Final[Mapping[tuple[int, int], ReceivedTotals]] = MappingProxyType({})


class Reference(enum.StrEnum):
    """What of rtpproxy's commands an offerer's media are for; they end when a delete takes the last one away.

    STRONG: of U without the modifier W.
    WEAK_NEAR, WEAK_FAR: of U or L with W, for the port towards the other end, or towards the offerer.
    """

    STRONG = "strong"
    WEAK_NEAR = "weak_near"
    WEAK_FAR = "weak_far"


NO_REFERENCES: Final[frozenset[Reference]] = frozenset()


class Party(Blockable):
    """One end of a call, as one branch of it knows this end.

    An end that offers on several Via branches is one party for each of them: each branch has ports,
    interfaces and rtcp-mux of its own, as in rtpengine. An end whose offer several others may answer becomes
    a party of its own in each dialog in which it signals again. These parties have the same tag.

    Args:
        tag: its SIP tag.
        side: the side of its groups: FROM if its first SDP was an offer, otherwise TO.
        branch: the Via branch that its first offer went out on, b"" if unknown.
        now: monotonic seconds.

    Attributes:
        created: monotonic seconds of its construction.
        signalled: monotonic seconds of its last SDP, 0 before the first.
        waiting_since: monotonic seconds of its last offer while that is unanswered, otherwise None.
        delete_at: monotonic seconds at which a delete removes it; infinite without one.
        policy: source policy for packets from this end; None: the setting's.
        label: ng's label.
        blocks: what of this end's media is not forwarded.
        interface: where the relay meets this end (ng's direction).
        peer_interface: where the relay meets the end that it last offered to or answered.
        family: the address family, 4 or 6, that its SDP had when the relay last chose where to meet it, as ng
            has it do; 0: none yet.
        groups: the current socket group of each medium; None where a medium is not relayed.
        superseded: (medium, group) of the groups that its own unanswered offer replaced, while sessions
            still use them.
        pending: by medium, what its unanswered offer announces and what takes effect with the answer only: a
            hold (RFC 3264 8.3), or another kind of media at the same sockets. RFC 8829 names the description
            of such an offer so; the medium of the group is the current one.
        offered: the m= lines of its last offer.
        offered_muxes: RTCP multiplexing of each medium of its last offer.
        relay_offer: what the relay made of its last offer.
        agreed: what it has agreed on about the transports of its media.
        forms: of each medium of its last SDP, the transports of two m= lines that stand for it, if it has two
            (nh.shard.ng.two_forms).
        bundles: those of its last SDP that end at the relay.
        security: of each medium of its last SDP; () if none has any, as in `ice`. That of an offer which
            changes an agreed medium is in force with the answer; until then the end goes on with the keys
            before.
        ice: the relay's agent towards the party, of each medium of its last SDP.
        ended_totals: by (medium, component), what ended sessions received from this end.
        references: see Reference; empty where rtpproxy's commands have not made it.
        sent_origin: origin of the SDP that this end was sent last, if a client wanted any of it kept.
        single: it is of one dialog alone; no other end can answer it.
        split_from: the party whose offer began that dialog, while other ends may still answer that offer as
            it was.
    """

    __slots__ = (
        "agreed",
        "blocks",
        "branch",
        "bundles",
        "created",
        "delete_at",
        "ended_totals",
        "family",
        "forms",
        "groups",
        "ice",
        "interface",
        "label",
        "offered",
        "offered_muxes",
        "peer_interface",
        "pending",
        "policy",
        "references",
        "relay_offer",
        "security",
        "sent_origin",
        "side",
        "signalled",
        "single",
        "split_from",
        "superseded",
        "tag",
        "waiting_since",
    )

    def __init__(self, tag: bytes, side: Side, *, branch: bytes = b"", now: float) -> None:
        self.tag = tag
        self.side = side
        self.branch = branch
        self.created = now
        self.signalled = 0.0
        self.waiting_since: float | None = None
        self.delete_at = math.inf
        self.policy: SourcePolicy | None = None
        self.label = ""
        self.blocks = NOTHING_BLOCKED
        self.interface: Interface | None = None
        self.peer_interface: Interface | None = None
        self.family = 0
        self.groups: tuple[SocketGroup | None, ...] = ()
        self.superseded: tuple[tuple[int, SocketGroup], ...] = ()
        self.pending: Mapping[int, Media] = NOTHING_PENDING
        self.offered: tuple[OfferedMedium, ...] = ()
        self.agreed = NOTHING_AGREED
        self.forms: tuple[tuple[str, ...], ...] = ()
        self.offered_muxes: tuple[Mux, ...] = ()
        self.bundles: tuple[Bundle, ...] = ()
        self.relay_offer = NO_RELAY_OFFER
        self.security: tuple[MediaSecurity | None, ...] = ()
        self.ice: tuple[IceAgent | None, ...] = ()
        self.ended_totals: Mapping[tuple[int, int], ReceivedTotals] = _NO_TOTALS
        self.references = NO_REFERENCES
        self.sent_origin: SentOrigin | None = None
        self.single = False
        self.split_from: Party | None = None

    def split(self, sessions: Sequence[Session], *, now: float) -> "Party":
        """A party of one dialog alone, which begins as this one is, on the same sockets.

        Args:
            sessions: those of the dialog; they use the groups of that party from now on.
            now: monotonic seconds.
        """
        own = Party(self.tag, self.side, branch=self.branch, now=self.created)
        own.take_offer(self)
        own.waiting_since = None
        own.blocks = self.blocks
        own.references, own.sent_origin = self.references, self.sent_origin
        own.agreed = self.agreed
        own.single, own.split_from = True, self
        own.groups = tuple([None if group is None else group.share() for group in self.groups])
        own.superseded = tuple([(index, group.share()) for index, group in self.superseded])
        for session in sessions:
            for group, shared in zip(self.all_groups, own.all_groups, strict=True):
                if shared is not None and session.group_from is group:
                    session.use_from(shared, now=now)
        return own

    def take_offer(self, other: "Party") -> None:
        """Have offered last what another party of the same end has, but for its groups."""
        self.signalled, self.waiting_since = other.signalled, other.waiting_since
        self.policy, self.label = other.policy, other.label or self.label
        self.interface, self.peer_interface = other.interface, other.peer_interface
        self.family = other.family
        self.offered, self.offered_muxes = other.offered, other.offered_muxes
        self.pending = NOTHING_PENDING
        self.forms = other.forms
        self.bundles, self.relay_offer = other.bundles, other.relay_offer
        self.security, self.ice = other.security, other.ice

    @property
    def all_groups(self) -> list[SocketGroup | None]:
        """Its current groups, then those that its unanswered offer replaced."""
        if not self.superseded:
            return list(self.groups)
        return [*self.groups, *[group for _, group in self.superseded]]

    def find_group(self, index: int) -> SocketGroup | None:
        """The socket group of its medium `index`, None if that is not relayed."""
        return self.groups[index] if index < len(self.groups) else None

    def groups_of(self, index: int) -> list[SocketGroup]:
        """Those of its medium `index`: the present one, then those that it replaced, the latest first."""
        superseded = [group for medium, group in reversed(self.superseded) if medium == index]
        return [group for group in (self.find_group(index), *superseded) if group is not None]

    def block(self, what: Block, *, blocked: bool) -> None:
        """Block something of what this end sends, or no longer."""
        self.blocks = self.blocks | {what} if blocked else self.blocks - {what}

    def set_tag(self, tag: bytes) -> None:
        """Name a party that had no tag before it answered."""
        self.tag = tag
        for group in self.groups:
            if group is not None:
                group.id = tag
