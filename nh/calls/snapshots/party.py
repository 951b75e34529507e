"""Snapshots of parties (ng's model of a call)."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import msgspec

from nh.calls.blocking import blocks_of
from nh.calls.interfaces import Interface
from nh.calls.latching.source import SourcePolicy
from nh.calls.media import MAX_MEDIA, Media, Side
from nh.calls.offer_answer.agreement import agreed_transports
from nh.calls.offer_answer.offered import Mux, OfferedMedium, RelayOffer
from nh.calls.offer_answer.party import NO_REFERENCES, NOTHING_PENDING, Party, ReceivedTotals, Reference
from nh.calls.origin import Origin, SentOrigin
from nh.calls.shared_values import shared
from nh.calls.snapshots.bundle import Bundles, check_bundles, rebuild_bundles, take_bundles
from nh.calls.snapshots.media import GroupSnapshot, MediaSnapshot
from nh.calls.snapshots.values import (
    Count,
    Index,
    Indexes,
    Time,
    TimeShift,
    require,
    require_index,
    require_token,
)
from nh.calls.sockets.group import SocketGroup
from nh.ip_address import is_unicast

_Forms = Annotated[
    tuple[Annotated[tuple[str, ...], msgspec.Meta(max_length=2)], ...], msgspec.Meta(max_length=MAX_MEDIA)
]


def _take_pending(pending: Mapping[int, Media]) -> dict[int, MediaSnapshot]:
    return {medium: MediaSnapshot.take(media) for medium, media in pending.items()}


class PartySnapshot(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A party.

    Attributes:
        groups: indexes of groups.
        superseded: (medium, index of a group).
        offered_muxes, offered: nh.calls.offer_answer.offered.Mux and OfferedMedium for each medium.
        ended_totals: (medium, component, packets, bytes, dropped).
        sent_origin: user name, session id, version and session name, and the digest.
        split_from: index of a party.
        protos, muxes, with_ice, ice_passes, mids, taken: see AgreedTransports.
        offered_forms: those of what the relay has offered in its place.
    """

    tag: bytes
    side: Side
    branch: bytes
    created: Time
    waiting_since: Time | None
    delete_at: float
    policy: SourcePolicy | None
    label: str
    blocked: bool
    interface: Interface | None
    peer_interface: Interface | None
    groups: list[Index | None]
    superseded: list[tuple[Index, Index]]
    pending: dict[Index, MediaSnapshot]
    offered_muxes: tuple[Mux, ...]
    ended_totals: list[tuple[Index, Index, Count, Count, Count]]
    offered: tuple[OfferedMedium, ...]
    dtmf_blocked: bool = False
    references: tuple[Reference, ...] = ()
    sent_origin: tuple[tuple[bytes, bytes, bytes, bytes], bytes] | None = None
    signalled: Time = 0.0
    silenced: bool = False
    single: bool = False
    split_from: Index | None = None
    bundles: Bundles = []
    bundled: Annotated[tuple[Index, ...], msgspec.Meta(max_length=MAX_MEDIA)] = ()
    protos: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_MEDIA)] = ()
    forms: _Forms = ()
    offered_forms: _Forms = ()
    muxes: Annotated[tuple[bool, ...], msgspec.Meta(max_length=MAX_MEDIA)] = ()
    with_ice: bool = False
    family: Annotated[int, msgspec.Meta(ge=0, le=6)] = 0
    ice_passes: bool = False
    mids: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_MEDIA)] = ()
    taken: bool = True

    @classmethod
    def take(cls, party: Party, groups: Indexes, parties: Indexes) -> Self:
        """The snapshot of `party`."""
        blocked = dtmf_blocked = silenced = False
        if party.blocks:
            blocked, dtmf_blocked, silenced = party.blocked, party.dtmf_blocked, party.silenced
        return cls(
            # by place: words cost a fifth of a snapshot; nothing is made of what nearly all parties lack
            party.tag,
            party.side,
            party.branch,
            party.created,
            party.waiting_since,
            party.delete_at,
            party.policy,
            party.label,
            blocked,
            party.interface,
            party.peer_interface,
            [None if group is None else groups[id(group)] for group in party.groups],
            [(medium, groups[id(group)]) for medium, group in party.superseded] if party.superseded else [],
            _take_pending(party.pending) if party.pending else {},
            party.offered_muxes,
            [(*key, *totals) for key, totals in party.ended_totals.items()] if party.ended_totals else [],
            party.offered,
            dtmf_blocked,
            tuple(sorted(party.references)) if party.references else (),
            party.sent_origin,
            party.signalled,
            silenced,
            party.single,
            None if party.split_from is None else parties[id(party.split_from)],
            take_bundles(party.bundles) if party.bundles else [],
            party.relay_offer.bundled,
            party.agreed.protos,
            party.forms,
            party.relay_offer.forms,
            party.agreed.muxes,
            party.agreed.with_ice,
            party.family,
            party.agreed.ice_passes,
            party.agreed.mids,
            party.agreed.taken,
        )

    @property
    def groups_by_medium(self) -> list[tuple[int, int]]:
        """(medium, index of a group) of all its groups."""
        present = [(medium, index) for medium, index in enumerate(self.groups) if index is not None]
        return present + self.superseded

    def check(self, groups: Sequence[GroupSnapshot]) -> None:
        """Check its groups, m= lines and addresses.

        Raises:
            SnapshotUnreadable: one cannot be a party's.
        """
        require(not math.isnan(self.delete_at), "a party's delete time is NaN")
        check_bundles(self.bundles)
        for _, index in self.groups_by_medium:
            require_index(index, groups, "group")
            require(len(groups[index].media) == 1, "a party's group has several media")
        for media in self.pending.values():
            media.check()
        for offered in self.offered:
            require_token(f"{offered.kind}{offered.proto}{offered.format}{offered.mid}", "an m= line")
        for mid in self.mids:
            require_token(mid, "an a=mid")
        if self.sent_origin is not None:
            require(Origin(*self.sent_origin[0]).is_keepable, "a party's origin is too long")
        for interface in (self.interface, self.peer_interface):
            if interface is not None:
                for address in (interface.address, interface.advertised):
                    require(is_unicast(address), f"the interface address {address!r} is not unicast")

    def rebuild(self, groups: Sequence[SocketGroup], times: TimeShift) -> Party:
        """The party as it was."""
        party = Party(self.tag, self.side, branch=self.branch, now=times.past(self.created))
        party.signalled = times.past(self.signalled)
        party.waiting_since = times.maybe_past(self.waiting_since)
        party.delete_at = times.future(self.delete_at)
        party.policy = self.policy
        party.label = self.label
        party.blocks = blocks_of(blocked=self.blocked, dtmf_blocked=self.dtmf_blocked, silenced=self.silenced)
        party.interface, party.peer_interface = self.interface, self.peer_interface
        party.groups = tuple([None if index is None else groups[index] for index in self.groups])
        party.family = self.family
        party.superseded = tuple([(medium, groups[index]) for medium, index in self.superseded])
        pending = {medium: media.rebuild() for medium, media in self.pending.items()}
        party.pending = pending or NOTHING_PENDING
        party.offered_muxes = shared(self.offered_muxes)
        party.offered = shared(self.offered)
        party.agreed = agreed_transports(
            self.protos, self.muxes, self.with_ice, self.ice_passes, self.mids, taken=self.taken
        )
        party.references = frozenset(self.references) or NO_REFERENCES
        party.single = self.single
        party.bundles = rebuild_bundles(self.bundles)
        party.forms = self.forms
        if self.bundled or self.offered_forms:
            party.relay_offer = RelayOffer(self.bundled, forms=self.offered_forms)
        party.ended_totals = {
            (medium, component): ReceivedTotals(*totals) for medium, component, *totals in self.ended_totals
        }
        if self.sent_origin is not None:
            origin, digest = self.sent_origin
            party.sent_origin = SentOrigin(Origin(*origin), digest)
        return party
