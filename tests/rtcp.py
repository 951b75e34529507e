"""Packets of RTCP for tests (RFC 3550 6.4)."""

import struct


def sender_report(ssrc: int, ntp: int, *blocks: bytes) -> bytes:
    """A sender report.

    Args:
        ssrc: of its sender.
        ntp: middle 32 bits of its NTP time.
        blocks: report blocks.
    """
    times = struct.pack("!II", ntp >> 16, (ntp & 0xFFFF) << 16)
    body = struct.pack("!I", ssrc) + times + bytes(12) + b"".join(blocks)
    return struct.pack("!BBH", 0x80 | len(blocks), 200, len(body) // 4) + body


def receiver_report(ssrc: int, *blocks: bytes) -> bytes:
    """A receiver report of `ssrc` with report blocks."""
    body = struct.pack("!I", ssrc) + b"".join(blocks)
    return struct.pack("!BBH", 0x80 | len(blocks), 201, len(body) // 4) + body


def report_block(
    about: int,
    *,
    lsr: int,
    dlsr_s: float = 0.0,
    fraction_lost: int = 0,
    highest: int = 0,
    jitter: int = 0,
) -> bytes:
    """A report block about a stream.

    Args:
        about: SSRC of the stream.
        lsr: middle 32 bits of the NTP time of the latest sender report.
        dlsr_s: seconds since it came.
        fraction_lost: in 256ths.
        highest: extended highest sequence number received.
        jitter: in units of the RTP timestamp.
    """
    return struct.pack("!IIIIII", about, fraction_lost << 24, highest, jitter, lsr, round(dlsr_s * 65_536))


def bye(*sources: int) -> bytes:
    """A BYE of these sources; of none, it is valid and has its header alone (RFC 3550 6.6)."""
    return struct.pack(f"!BBH{len(sources)}I", 0x80 | len(sources), 203, len(sources), *sources)
