"""RTCP as JSON, as rtpengine and rtpagent send it to Homer (protocol type 5 of HEP). No I/O."""

import struct
from typing import Any, Final

from nh.rtp.compound import RECEIVER_REPORT, SENDER_REPORT, split_rtcp
from nh.rtp.packet import RTCP_FROM, RTCP_TO

_BODY_AT: Final = 8
_sender: Final = struct.Struct("!IIIII")
_block: Final = struct.Struct("!IIIIII")
_TYPES: Final = range(RTCP_FROM, RTCP_TO + 1)


def rtcp_to_json(packet: bytes) -> dict[str, Any] | None:
    """The reports of a compound packet (RFC 3550 6.4); the latest of several counts.

    Args:
        packet: any bytes.

    Returns:
        None for what has no report, is no RTCP from its begin to its end, or is encrypted (SRTCP).
    """
    found: dict[str, Any] | None = None
    whole = 0
    for kind, count, ssrc, at, end in split_rtcp(packet):
        if kind not in _TYPES:
            return None
        if kind in (SENDER_REPORT, RECEIVER_REPORT):
            found = _report(packet[at + _BODY_AT : end], kind, ssrc, count)
            if found is None:
                return None
        whole = end
    return found if whole == len(packet) else None


def _report(body: bytes, kind: int, ssrc: int | None, count: int) -> dict[str, Any] | None:
    """A report; None if it is shorter than it says."""
    report: dict[str, Any] = {"ssrc": ssrc, "type": kind, "report_count": count}
    if kind == SENDER_REPORT:
        if len(body) < _sender.size:
            return None
        seconds, fraction, timestamp, packets, octets = _sender.unpack_from(body)
        report["sender_information"] = {
            "ntp_timestamp_sec": seconds,
            "ntp_timestamp_usec": fraction,
            "rtp_timestamp": timestamp,
            "packets": packets,
            "octets": octets,
        }
        body = body[_sender.size :]
    if len(body) < count * _block.size:
        return None
    report["report_blocks"] = [_read_block(body, number * _block.size) for number in range(count)]
    return report


def _read_block(body: bytes, at: int) -> dict[str, int]:
    ssrc, losses, highest, jitter, lsr, dlsr = _block.unpack_from(body, at)
    lost = losses & 0xFFFFFF
    return {
        "source_ssrc": ssrc,
        "fraction_lost": losses >> 24,
        "packets_lost": lost - (1 << 24) if lost >> 23 else lost,  # a signed number of 24 bits
        "highest_seq_no": highest,
        "ia_jitter": jitter,
        "lsr": lsr,
        "dlsr": dlsr,
    }
