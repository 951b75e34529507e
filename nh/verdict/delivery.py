"""Rules on what was sent on, and whether the receiver gets it."""

from typing import Final

from nh.calls.media import is_private
from nh.calls.media_state import SILENT_S
from nh.verdict.finding import LOSSY, Direction, Finding, State, host_of, packets

DEAF_REPORTS: Final = 2
"""So many reports of RTCP are no accident."""

BY_DTLS: Final = ", by DTLS"
"""Ends what LegDetail.srtp says of keys that a handshake agreed on."""


def unreachable(direction: Direction) -> Finding | None:
    """ICMP says that the receiver is not reached; lately, as seen from the latest packet."""
    other = direction.other
    if other.unreachable_s is None or other.unreachable_s > (direction.leg.idle_s or 0.0) + SILENT_S:
        return None
    target = direction.target or "the other end"
    return Finding(
        State.PROBLEM,
        f"{packets(direction.leg.packets)} were sent to {target}; ICMP said {other.unreachable} times that it"
        f" cannot be reached, the latest time {other.unreachable_s:.0f} s ago",
        "the phone has closed its port (it has ended the call, or its SDP announces another one), or a"
        " firewall rejects the packets",
        "see whether the phone still has the call, and listens at that address and port",
    )


def not_sent(direction: Direction) -> Finding | None:
    """The kernel refused to send."""
    if not direction.lost_to("send_failed"):
        return None
    target = direction.target or "the other end"
    failed = packets(direction.dropped("send_failed"))
    return Finding(
        State.PROBLEM,
        f"{failed} of {direction.leg.packets} could not be sent to {target}",
        "the kernel refused to send: no route, or a local firewall",
        f"on this host: ip route get {host_of(target)}; see the output chain of the firewall",
    )


def not_protected(direction: Direction) -> Finding | None:
    """The sender begins again with indices that the receiver's key has protected already."""
    if not direction.lost_to("srtp_unsent"):
        return None
    unsent = f"{packets(direction.dropped('srtp_unsent'))} of {direction.leg.packets} were not sent on"
    if direction.other.srtp.endswith(BY_DTLS):
        return Finding(
            State.PROBLEM,
            f"{unsent}: the other end's key of SRTP was not agreed on yet, or has protected packets with"
            " their sequence numbers already",
            "the phone sent before the handshake of DTLS had ended, or began its RTP stream again with the"
            " same SSRC",
            "nothing if it does not grow; else see at which SIP message the phone begins again",
        )
    return Finding(
        State.PROBLEM,
        f"{unsent}, because the SRTP key of the other end has protected packets with their sequence numbers"
        " already",
        "the phone began its RTP stream again with the same SSRC, or two phones send with one SSRC",
        "the media pass when the stream is beyond its former sequence numbers; see at which SIP message the"
        " phone begins again",
    )


def no_target(direction: Direction) -> Finding | None:
    """There was nowhere to send to."""
    if not direction.lost_to("no_target"):
        return None
    return Finding(
        State.PROBLEM,
        f"{packets(direction.dropped('no_target'))} of {direction.leg.packets} were not sent on",
        "the other end does not receive now (hold, or blocked by the proxy), or it has no address: its SDP"
        " announces none, and no packet came from it",
        "see what the other end announced, and whether its SDP says sendonly or inactive",
    )


def to_private_address(direction: Direction) -> Finding | None:
    """The receiver's address is one that only its own network knows."""
    target = direction.target
    if direction.other.source is not None or target is None or not direction.leg.packets:
        return None
    if not is_private(host_of(target)) or is_private(host_of(direction.other.local)):
        return None
    return Finding(
        State.PROBLEM,
        f"{packets(direction.leg.packets)} were sent to {target}, a private address that its SDP announces:"
        " nothing has come from that end, so nh knows no other",
        "the phone is behind a NAT, and media reach it only after it has sent",
        "see the verdict on the other direction: that phone has to send first",
    )


def not_received(direction: Direction) -> Finding | None:
    """The receiver's RTCP says that it receives nothing."""
    reports = direction.leg.deaf_reports
    if reports < DEAF_REPORTS:
        return None
    return Finding(
        State.PROBLEM,
        f"{packets(direction.leg.packets)} were sent to {direction.target}, and the latest {reports} RTCP"
        " reports of that end say that it receives nothing",
        "a firewall or NAT between the relay and that end drops them, or the phone accepts packets of another"
        " address only",
        "see with the filter whether they leave this host, and whether the SDP that that phone received names"
        f" {direction.other.local}",
    )


def lossy_beyond(direction: Direction) -> Finding | None:
    """The receiver's RTCP says that it loses packets."""
    stream = direction.largest_stream
    if stream is None or stream.reported_loss is None or stream.reported_loss <= LOSSY:
        return None
    return Finding(
        State.PROBLEM,
        f"{packets(direction.leg.packets)} were sent to {direction.target}, whose latest RTCP report says"
        f" that {stream.reported_loss:.1%} were lost",
        "the network between the relay and that phone loses packets, or they arrive too late",
        "compare with other calls to that network (`nh calls`): it is one phone's link, or all of it",
    )
