"""Pairing: the legs between the sockets of two groups, by what the media of both say. No I/O."""

import functools
from typing import Final

from nh.calls.latching.claims import carried_by
from nh.calls.latching.source import SourcePolicy
from nh.calls.latching.terms import leg_terms
from nh.calls.leg import Leg
from nh.calls.media import Media, Side
from nh.calls.rtp.payload_types import PayloadTypes, agreed
from nh.calls.sockets.group import SocketGroup

RTCP_SILENCES: Final = 10
"""How many times as long as RTP an RTCP leg is silent before another source takes over."""


def pair_sockets(
    group_from: SocketGroup,
    group_to: SocketGroup,
    policies: tuple[SourcePolicy, SourcePolicy],
    *,
    window_ends: float,
    relatch_s: float,
) -> tuple[Leg, ...]:
    """The legs between two groups with the same number of sockets, in the order of Session.legs.

    Args:
        group_from, group_to: the sockets for the request's and the response's SDP.
        policies: source policies for the FROM end and the TO end.
        window_ends: monotonic seconds until which a better source takes over.
        relatch_s: seconds of silence after which another source of the same IP address takes over; 0: none.
    """
    groups, media = (group_from, group_to), (group_from.media, group_to.media)
    legs: list[Leg] = []
    for index in range(len(group_from.sockets)):
        from_ = _leg(
            Side.FROM, groups, media, index, policies[0], window_ends=window_ends, relatch_s=relatch_s
        )
        to = _leg(Side.TO, groups, media, index, policies[1], window_ends=window_ends, relatch_s=relatch_s)
        from_.other, to.other = to, from_
        legs += from_, to
    for index, place in enumerate(group_from.components):
        if place.component % 2:
            legs[2 * index].rtp, legs[2 * index + 1].rtp = legs[2 * index - 2], legs[2 * index - 1]
    return tuple(legs)


@functools.lru_cache(maxsize=4)  # all legs of a shard have the same number
def _rtcp_silence(relatch_s: float) -> float:
    return relatch_s * RTCP_SILENCES


def _leg(
    side: Side,
    groups: tuple[SocketGroup, SocketGroup],
    media: tuple[tuple[Media, ...], tuple[Media, ...]],
    index: int,
    policy: SourcePolicy,
    *,
    window_ends: float,
    relatch_s: float,
) -> Leg:
    """The leg of what the end on `side` sends, to the socket at `index` of the other group."""
    group, opposite = groups[side], groups[1 - side]
    place, opposite_place = group.components[index], opposite.components[index]
    said, heard = media[side][place.medium], media[1 - side][opposite_place.medium]
    is_rtcp, receives = bool(place.component % 2), said.active
    leg = Leg(
        socket=opposite.sockets[index],
        announced=said.endpoint(place.component) if receives else None,
        # RTCP is silent for seconds between two reports
        terms=leg_terms(
            policy,
            carried_by(said, place.component),
            _rtcp_silence(relatch_s) if is_rtcp else relatch_s,
            receives,
        ),
        window_ends=window_ends,
        signalled_from=said.signalled_from,
        payload_types=None if is_rtcp else _payload_types(said, heard),
    )
    if said.ice_ufrag and not group.is_checked:
        leg.ice_ufrag = said.ice_ufrag
    if opposite.rare is not None:
        leg.candidates = opposite.candidates_of(index)
    return leg


def _payload_types(sender: Media, receiver: Media) -> PayloadTypes | None:
    """The payload types of one direction of RTP (the even ports); None for other media."""
    return agreed(sender.formats, receiver.formats, receiver.payload_types) if sender.rtp else None


def payload_types(group_from: SocketGroup, group_to: SocketGroup) -> list[PayloadTypes | None]:
    """The payload types of each leg by the present media of both groups, in the order of the legs; None for
    RTCP."""
    found: list[PayloadTypes | None] = []
    media_from, media_to = group_from.media, group_to.media
    for in_from, in_to in zip(group_from.components, group_to.components, strict=True):
        if in_from.component % 2 and in_to.component % 2:
            found += (None, None)
            continue
        said_from, said_to = media_from[in_from.medium], media_to[in_to.medium]
        found.append(None if in_from.component % 2 else _payload_types(said_from, said_to))
        found.append(None if in_to.component % 2 else _payload_types(said_to, said_from))
    return found
