"""Rules on what was sent on, and whether the receiver gets it."""

from typing import Final

from nh.calls.media_state import SILENT_S
from nh.ip_address import is_private
from nh.verdict.ruling import LARGE_BYTES, LOSSY, Direction, Ruling, State, ago, host_of, packets

DEAF_REPORTS: Final = 2
"""So many reports of RTCP are no accident."""

_NO_KEY: Final = "srtp_unsent_no_key"

_UNPROTECTED: Final = {
    _NO_KEY: (
        "the SRTP key of the other end was not agreed on yet",
        "the phone sent before the other one had answered, or before the handshake of DTLS had ended",
        "nothing if it does not grow; else see the verdict on the other direction",
    ),
    "srtp_unsent_index_used": (
        "the SRTP key of the other end has protected packets with their sequence numbers already",
        "the phone began its RTP stream again with the same SSRC, or two phones send with one SSRC",
        "a stream that begins again passes after 8 packets; if the drops grow, see which phones send with one"
        " SSRC, such as branches of a fork",
    ),
    "srtp_unsent_exhausted": (
        "the SRTP key of the other end has protected as many streams or packets as it may",
        "the phone begins ever new RTP streams: more than 256 SSRCs",
        "see why the SSRC changes; a re-INVITE with a new key lets media pass again",
    ),
    "srtp_unsent_not_media": (
        "they are neither RTP nor RTCP, and the other end takes nothing but SRTP",
        "the phone sends something else than its SDP says, such as T.38 or ZRTP",
        "see with the filter what it sends, and compare the m= lines of the SDPs",
    ),
}
"""Reasons of Drop for packets that SRTP does not protect: what is so, the likely cause and the remedy."""


def unreachable(direction: Direction) -> Ruling | None:
    """ICMP says that the receiver is not reached; lately, as seen from the latest packet."""
    other = direction.other
    if _goes_to_private_address(direction):  # that is why
        return None
    if other.unreachable_s is None or other.unreachable_s > (direction.leg.idle_s or 0.0) + SILENT_S:
        return None
    target = direction.target or "the other end"
    return Ruling(
        State.PROBLEM,
        f"{packets(direction.leg.packets)} were sent to {target}; ICMP said {other.unreachable} times that it"
        f" cannot be reached, the latest time {ago(direction, other.unreachable_s)}",
        "the phone has closed its port (it has ended the call, or its SDP announces another one), a firewall"
        " rejects the packets, or the route leads to a network without that address",
        "see whether the phone still has the call, and listens at that address and port; on this host:"
        f" ip route get {host_of(target)}",
    )


def not_sent(direction: Direction) -> Ruling | None:
    """The kernel refused to send."""
    if not direction.lost_to("send_failed") or _goes_to_private_address(direction):
        return None
    target = direction.target or "the other end"
    failed = packets(direction.dropped("send_failed"))
    return Ruling(
        State.PROBLEM,
        f"{failed} of {direction.leg.packets} could not be sent to {target}",
        "the kernel refused to send: no route, or a local firewall",
        f"on this host: ip route get {host_of(target)}; see the output chain of the firewall",
    )


def not_protected(direction: Direction) -> Ruling | None:
    """The key of the receiver protects nothing of what came, or not all of it."""
    reasons = [
        reason
        for reason in _UNPROTECTED
        if (direction.lost_unready if reason == _NO_KEY else direction.lost_to)(reason)
    ]
    if not reasons:
        return None
    reason = max(reasons, key=direction.dropped)
    found, cause, remedy = _UNPROTECTED[reason]
    unsent = f"{packets(direction.dropped(reason))} of {direction.leg.packets} were not sent on"
    return Ruling(State.PROBLEM, f"{unsent}: {found}", cause, remedy)


def no_target(direction: Direction) -> Ruling | None:
    """There was nowhere to send to."""
    if not direction.lost_unready("no_target"):
        return None
    return Ruling(
        State.PROBLEM,
        f"{packets(direction.dropped('no_target'))} of {direction.leg.packets} were not sent on",
        "the other end does not receive now (hold, or blocked by the proxy), or it has no address: its SDP"
        " announces none, and no packet came from it",
        "see what the other end announced, and whether its SDP says sendonly or inactive",
    )


def to_private_address(direction: Direction) -> Ruling | None:
    """The receiver's address is one that only its own network knows."""
    if not _goes_to_private_address(direction):
        return None
    return Ruling(
        State.PROBLEM,
        f"{packets(direction.leg.packets)} were for {direction.target}, a private address that its SDP"
        " announces: nothing has come from that end, so nh knows no other",
        "the phone is behind a NAT, and media reach it only after it has sent",
        "see the verdict on the other direction: that phone has to send first",
    )


def _goes_to_private_address(direction: Direction) -> bool:
    target = direction.target
    if direction.other.source is not None or target is None or not direction.leg.packets:
        return False
    return is_private(host_of(target)) and not is_private(host_of(direction.other.sdp_endpoint))


def not_received(direction: Direction) -> Ruling | None:
    """The receiver's RTCP says that it receives nothing."""
    reports = direction.leg.deaf_reports
    if reports < DEAF_REPORTS:
        return None
    return Ruling(
        State.PROBLEM,
        f"{packets(direction.leg.packets)} were sent to {direction.target}, and the latest {reports} RTCP"
        " reports of that end say that it receives nothing",
        "a firewall or NAT between the relay and that end drops them, the phone accepts packets of another"
        f" address only{_too_large(direction)}, or its RTCP never says what it receives",
        "see with the filter whether they leave this host, and whether the SDP that that phone received names"
        f" {direction.other.sdp_endpoint}{_try_size(direction)}",
    )


def lossy_beyond(direction: Direction) -> Ruling | None:
    """The receiver's RTCP says that it loses packets."""
    stream = direction.largest_stream
    if stream is None or stream.reported_loss is None or stream.reported_loss <= LOSSY:
        return None
    return Ruling(
        State.PROBLEM,
        f"{packets(direction.leg.packets)} were sent to {direction.target}, whose latest RTCP report says"
        f" that {stream.reported_loss:.1%} were lost",
        f"the network between the relay and that phone loses packets{_too_large(direction)}, or they arrive"
        " too late",
        "compare with other calls to that network (`nh calls`): it is one phone's link, or all of"
        f" it{_try_size(direction)}",
    )


def _too_large(direction: Direction) -> str:
    """A likely cause, if packets are large: a link drops them in silence (RFC 4821 1: a black hole)."""
    if direction.mean_bytes < LARGE_BYTES:
        return ""
    return (
        f", a link in between is too small for them ({direction.mean_bytes} bytes on average) and no ICMP"
        " says so"
    )


def _try_size(direction: Direction) -> str:
    """How to see that: a ping of the same length; ICMP's header is as long as that of UDP."""
    if direction.mean_bytes < LARGE_BYTES or direction.target is None:
        return ""
    return f"; on this host: ping -M do -s {direction.mean_bytes} {host_of(direction.target)}"
