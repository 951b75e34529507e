"""Rules on what came from the sender."""

from typing import Final

from nh.calls.handshake_progress import HandshakeProgress
from nh.ip_address import is_private
from nh.results import LegDetail
from nh.verdict.ruling import (
    LOSSY,
    Direction,
    Ruling,
    State,
    ago,
    came,
    host_of,
    packets,
    port_of,
    received,
    so_far,
)

_ANY_TIME: Final = frozenset({13, 19})
"""Payload types of comfort noise, which phones send without announcing it (RFC 3389; 19: of older ones)."""

_UNDER_WAY: Final = frozenset(HandshakeProgress)
"""How far a handshake is that has not failed."""


def refused(direction: Direction) -> Ruling | None:
    """All that came was turned away."""
    leg = direction.leg
    if leg.packets or not direction.dropped("source_mismatch"):
        return None
    return Ruling(
        State.PROBLEM,
        f"{packets(direction.dropped('source_mismatch'))} came to {leg.local} from other addresses and were"
        f" turned away, the latest from {leg.refused_from or 'an unknown one'};"
        f" none came from {leg.announced or 'the address of the SDP, which is not known'}",
        "the phone sends from an address that its SDP does not announce (a NAT), or strangers send here",
        "let the proxy tell where the SIP message came from (ng: received-from, SIP-source-address), or see"
        " `policy`: who may send",
    )


def begins(direction: Direction) -> Ruling | None:
    """Nothing has come yet: media have as long to begin as in the list of calls (nh.calls.media_arrival)."""
    leg = direction.leg
    if leg.packets or not direction.begins:
        return None
    return Ruling(State.WAITING, f"nothing has come to {leg.local} {so_far(direction)}")


def rtcp_alone(direction: Direction) -> Ruling | None:
    """Nothing came, and RTCP did: the phone reaches the relay."""
    leg, rtcp = direction.leg, direction.rtcp
    if leg.packets or rtcp is None or rtcp.muxed or not rtcp.packets:
        return None
    return Ruling(
        State.PROBLEM,
        f"{_nothing(leg)}, although its RTCP comes to {rtcp.local} from {rtcp.source}",
        "the phone reaches nh and sends no media (muted, no microphone), or a firewall or NAT lets RTCP alone"
        " pass",
        "see with the filter whether RTP comes to this host; if not, see why the phone sends none: its SDP"
        f" says {leg.direction}",
    )


def no_rtp(direction: Direction) -> Ruling | None:
    """Packets came to the port of RTP, and no media: the phone reaches the relay."""
    leg, number = direction.leg, direction.packets_without_rtp
    if not number:
        return None
    return Ruling(
        State.PROBLEM,
        f"{packets(number)} came to {leg.local}, and none of them is RTP",
        "the phone reaches nh and sends no media (muted, no microphone): RTCP at the port of RTP, checks of"
        " ICE or a handshake come alone",
        f"see why the phone sends none: its SDP says {leg.direction}",
    )


def advertised_private(direction: Direction) -> Ruling | None:
    """Nothing came, and a phone in the Internet has to send to an address that only another network knows."""
    leg = direction.leg
    if leg.packets or leg.announced is None:
        return None
    if not is_private(host_of(leg.sdp_endpoint)) or is_private(host_of(leg.announced)):
        return None
    return Ruling(
        State.PROBLEM,
        f"{_nothing(leg)}; its SDP from nh names {leg.sdp_endpoint}, a private address, and the phone has"
        " a public one",
        "nh is behind a NAT and announces its own address, or the proxy asked for another network than that"
        " of this phone",
        "see `address` and `interface`: PRIVATE!PUBLIC announces the public address (ng: direction,"
        " media-address)",
    )


def advertised_elsewhere(direction: Direction) -> Ruling | None:
    """Nothing came, and the phone has to send to an address that is not the relay's own."""
    leg = direction.leg
    if leg.packets or not leg.advertised:
        return None
    return Ruling(
        State.PROBLEM,
        f"{_nothing(leg)}; its SDP from nh names {leg.sdp_endpoint} in place of that",
        f"{host_of(leg.sdp_endpoint)} does not lead to this host (another address, or no port forwarding),"
        " the phone sends nothing (muted, or not answered), or a firewall drops UDP to that port",
        f"{_compare_sdp(leg)}; packets to it have to arrive at {leg.local}",
    )


def nothing_came(direction: Direction) -> Ruling | None:
    """Nothing came at all."""
    leg = direction.leg
    if leg.packets:
        return None
    return Ruling(
        State.PROBLEM,
        _nothing(leg),
        "the phone sends nothing (muted, or not answered), its SDP names another address, or a"
        f" firewall or NAT in between drops UDP to port {port_of(leg.local)}",
        f"{_compare_sdp(leg)}; if not, see which network the proxy asks nh for (ng: direction)",
    )


def _nothing(leg: LegDetail) -> str:
    return f"nothing came to {leg.local} from {leg.announced or 'this end, whose SDP has no address'}"


def _compare_sdp(leg: LegDetail) -> str:
    return (
        f"see whether the SDP that this phone received names {leg.sdp_endpoint}, and whether it reaches that"
    )


def no_keys(direction: Direction) -> Ruling | None:
    """DTLS has not agreed on keys with one of the ends: nothing is taken of it, and nothing sent to it."""
    for leg, what in (
        (direction.leg, "of this end passes"),
        (direction.other, "can be sent to the other end"),
    ):
        unchecked = leg.ice is not None and leg.ice.expected and not leg.ice.checks
        if leg.dtls and not unchecked:  # DTLS waits for ICE
            why = f"there are no keys of SRTP. DTLS: {leg.dtls}"
            if direction.begins and leg.dtls in _UNDER_WAY:
                return Ruling(State.WAITING, f"nothing {what} {so_far(direction)}: {why}")
            return Ruling(
                State.PROBLEM,
                f"nothing {what}: {why}",
                "the handshake of DTLS at the media ports does not arrive, or phone and relay do not agree:"
                " another certificate than the SDP says, no common profile, an alert",
                f"see whether UDP reaches {leg.local} from {leg.announced or 'the phone'}, and compare"
                " a=fingerprint and a=setup of the SDPs that phone and relay exchanged",
            )
    return None


def not_authentic(direction: Direction) -> Ruling | None:
    """SRTP comes that is not protected with the key of its sender's SDP."""
    leg = direction.leg
    foreign = direction.dropped("srtp_authentication") + direction.dropped("srtp_no_key")
    if not (direction.lost_to("srtp_authentication") or direction.lost_to("srtp_no_key")):
        return None
    return Ruling(
        State.PROBLEM,
        f"{packets(foreign)} came to {leg.local} that are not protected with the key of this end's SDP"
        f" ({leg.srtp or 'which is not known yet'}); {received(leg)}",
        "the phone uses another key or suite than its SDP says, or sends plain RTP; or strangers send here",
        "compare the a=crypto lines of the SDPs that phone and relay exchanged; the phone takes one of those"
        " that it was offered, with its tag",
    )


def key_used_up(direction: Direction) -> Ruling | None:
    """SRTP comes that is beyond what its key may protect."""
    if not direction.lost_to("srtp_exhausted"):
        return None
    lost = packets(direction.dropped("srtp_exhausted"))
    return Ruling(
        State.PROBLEM,
        f"{lost} came to {direction.leg.local} that the SRTP key of this end may not protect:"
        " it has protected as many streams or packets as it may",
        "the phone begins ever new RTP streams: more than 256 SSRCs",
        "see why the SSRC changes; a re-INVITE with a new key lets media pass again",
    )


def fell_silent(direction: Direction) -> Ruling | None:
    """Packets came, and come no more."""
    leg = direction.leg
    if leg.idle_s is None or not direction.silent:
        return None
    found = f"packets {came(leg)} until {ago(direction, leg.idle_s)}, and none since"
    if refused := direction.dropped("source_mismatch"):
        return Ruling(
            State.PROBLEM,
            f"{found}; {packets(refused)} of other addresses were turned away, the latest from"
            f" {leg.refused_from}",
            "a NAT gave the phone another address, and nh does not recognize its stream; or strangers send",
            "see `relatch_s` and `policy`: who may send",
        )
    if replayed := direction.dropped("srtp_replay"):
        return Ruling(
            State.PROBLEM,
            f"{found}; {packets(replayed)} of SRTP had come before, or are too late",
            "the phone began its stream again, from earlier sequence numbers with the same SSRC and key; or"
            " strangers send again what they have seen",
            "see at which SIP message the phone begins again; with a new key, media pass again",
        )
    return Ruling(
        State.PROBLEM,
        found,
        "the phone stopped (muted with silence suppression, or lost its network), or something in between"
        " began to drop its packets",
        "see whether packets still reach this host, with the filter",
    )


def overflowed(direction: Direction) -> Ruling | None:
    """The socket had no room."""
    if not direction.lost_to("overflow"):
        return None
    lost = packets(direction.dropped("overflow"))
    return Ruling(
        State.PROBLEM,
        f"{lost} did not fit into the receive buffer of {direction.leg.local}",
        "bursts are larger than the buffer, or the shard has too little CPU time",
        "see `nh doctor` (socket buffers) and `nh stats` (loop late)",
    )


def other_payload_type(direction: Direction) -> Ruling | None:
    """The latest RTP has a payload type that the receiver's SDP does not list (RFC 3264 5.1)."""
    leg = direction.leg
    number = leg.payload_type
    if number is None or not leg.allowed or number in leg.allowed or number in _ANY_TIME:
        return None
    encoding = next((each.encoding for each in leg.streams if each.payload_type == number), "")
    return Ruling(
        State.PROBLEM,
        f"RTP came with payload type {number}{f' ({encoding})' if encoding else ''},"
        f" the SDP of the other end allows {', '.join(map(str, leg.allowed))}",
        "the phone sends a codec that was not agreed, or something changed the SDP after nh had seen it;"
        " the other phone plays none of it",
        "compare the m= lines of the SDPs that both phones received",
    )


def lossy(direction: Direction) -> Ruling | None:
    """The network loses packets on their way to the relay."""
    stream = direction.largest_stream
    if stream is None or stream.loss_ratio <= LOSSY:
        return None
    lost = f"{stream.lost} RTP packets ({stream.loss_ratio:.1%}) were lost before the relay"
    return Ruling(
        State.PROBLEM,
        f"{received(direction.leg)}; {lost}",
        "the network between this phone and the relay loses packets",
        "compare with other calls from that network (`nh calls`): it is one phone's link, or all of it",
    )
