"""Bundling: the legs of an end whose media share a transport (nh.calls.bundle). No I/O."""

from collections.abc import Mapping, Sequence

from nh.calls.bundle import Bundle, BundledMedium, Demultiplexer
from nh.calls.bundled_rtcp import split_compound
from nh.calls.classify import MediaKind
from nh.calls.leg import Leg
from nh.calls.media import Side
from nh.calls.session import Session
from nh.rtp.packet import RTP_VERSION


def media_of(leg: Leg, kind: MediaKind, packet: memoryview) -> list[tuple[Leg, memoryview]]:
    """What a packet is that has come over a bundle: its parts, each with the leg of its medium.

    Args:
        leg: of the tagged medium, which has the bundle.
        kind: of the packet.
        packet: as its end sent it, without SRTP. What is neither RTP nor RTCP is of the tagged medium.

    Returns:
        None at all if it is of no medium.
    """
    bundle = leg.bundle
    if bundle is None or not len(packet) or packet[0] >> 6 != RTP_VERSION:
        return [(leg, packet)]
    if kind is MediaKind.RTCP:
        sent = {ssrc: each for each in reversed(bundle.members) for ssrc in each.other.known_ssrcs}
        return split_compound(packet, bundle.members, bundle.find_sender, sent.get)
    member = bundle.find(packet)
    return [] if member is None else [(member, packet)]


def bundle_legs(sessions: Mapping[int, Session], side: Side, bundles: Sequence[Bundle]) -> set[Session]:
    """Let the media of an end share transports; those that are in no bundle have their own again.

    Args:
        sessions: of each medium, by its index.
        side: of the end.
        bundles: what the end has agreed on; media without a session are left out of them.

    Returns:
        The sessions whose legs changed.
    """
    before = {index: session.legs[side].bundled_on for index, session in sessions.items()}
    tables = [session.legs[side].bundle for session in sessions.values()]
    learned = {ssrc: leg for table in tables if table is not None for ssrc, leg in table.known().items()}
    had = {index for index, session in sessions.items() if session.legs[side].bundle is not None}
    for session in sessions.values():
        session.legs[side].bundle = session.legs[side].bundled_on = None
    for bundle in bundles:
        members = [(each, sessions[each.medium]) for each in bundle.media if each.medium in sessions]
        tagged = before[members[0][0].medium] if members else None
        if tagged is not None:
            members[0][1].legs[side].take_transport(tagged)
        if len(members) > 1:
            _bundle(members, side, bundle.mid_extension, learned)
    has = {index for index, session in sessions.items() if session.legs[side].bundle is not None}
    return {
        session
        for index, session in sessions.items()
        if index in had | has or session.legs[side].bundled_on is not before[index]
    }


def _bundle(
    members: Sequence[tuple[BundledMedium, Session]],
    side: Side,
    mid_extension: int,
    learned: Mapping[int, Leg],
) -> None:
    legs = [session.legs[side] for _, session in members]
    known = {ssrc: leg for ssrc, leg in learned.items() if leg in legs}
    known.update({ssrc: leg for leg in legs for ssrc in leg.known_ssrcs})
    legs[0].bundle = Demultiplexer(
        [(medium, leg) for (medium, _), leg in zip(members, legs, strict=True)],
        [_payload_types(session) for _, session in members],
        mid_extension,
        known,
    )
    for leg in legs[1:]:
        leg.bundled_on = legs[0]


def _payload_types(session: Session) -> tuple[int, ...]:
    """What an end may send: the payload types of the other end's SDP, and of its own (RFC 3264 5.1)."""
    announced = (*session.group_from.media, *session.group_to.media)
    return tuple(dict.fromkeys(number for media in announced for number in media.payload_types))
