"""RTP payload types: encoding names and clock rates, static (RFC 3551) or by a=rtpmap (RFC 8866 6.6).

Equal values of thousands of calls are one object in memory.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

MAX_CLOCK_HZ: Final = 10_000_000
"""Highest RTP clock rate; those in use are 8,000 to 192,000 Hz."""

MAX_FORMATS: Final = 128
"""Most payload types of a medium: the field has 7 bits (RFC 3550 5.1)."""

_RTPMAP: Final = re.compile(
    r"(?P<type>\d{1,3})[ \t]++(?P<encoding>[!-.0-~]{1,64})/(?P<clock>\d{1,8})(?:/[!-~]*+)?[ \t]*+\Z",
    re.ASCII,
)

_SHORT: Final = 64
"""Most characters of an a=rtpmap that is cached: what a peer sends must not fill the memory."""

CLOCKLESS: Final = frozenset(
    {"telephone-event", "tone", "cn", "red", "ulpfec", "parityfec", "flexfec", "flexfec-03", "rtx"}
)
"""Encodings whose timestamps do not follow the time of sending, so that jitter cannot be measured on them:
events (RFC 4733), comfort noise (RFC 3389), redundancy and repair (RFC 2198, 4588, 5109, 8627).
They are of no use without a codec."""


class PayloadFormat(msgspec.Struct, frozen=True, cache_hash=True):
    """One payload type as an SDP describes it.

    Attributes:
        payload_type: 0 to 127.
        encoding: name, such as opus, in the SDP's letter case.
        clock_hz: 1 to MAX_CLOCK_HZ.
    """

    payload_type: int
    encoding: str
    clock_hz: int


class PayloadTypes(NamedTuple):
    """The payload types of one direction.

    Attributes:
        clocks: clock rates in Hz, without encodings that jitter cannot be measured on.
        encodings: encoding names.
        allowed: those that the receiver's SDP lists; () if they are not known.
    """

    clocks: Mapping[int, int]
    encodings: Mapping[int, str]
    allowed: tuple[int, ...] = ()

    @property
    def events(self) -> frozenset[int]:
        """The payload types of DTMF and other telephone events (RFC 4733)."""
        return frozenset(
            number for number, encoding in self.encodings.items() if encoding.lower() == "telephone-event"
        )


STATIC: Final = tuple(
    PayloadFormat(number, encoding, clock_hz)
    for number, encoding, clock_hz in (
        (0, "PCMU", 8000),
        (3, "GSM", 8000),
        (4, "G723", 8000),
        (5, "DVI4", 8000),
        (6, "DVI4", 16000),
        (7, "LPC", 8000),
        (8, "PCMA", 8000),
        # it samples at 16,000 Hz; the clock rate is a historical error that stays (RFC 3551 4.5.2)
        (9, "G722", 8000),
        (10, "L16", 44100),
        (11, "L16", 44100),
        (12, "QCELP", 8000),
        (13, "CN", 8000),
        (14, "MPA", 90000),
        (15, "G728", 8000),
        (16, "DVI4", 11025),
        (17, "DVI4", 22050),
        (18, "G729", 8000),
        (25, "CelB", 90000),
        (26, "JPEG", 90000),
        (28, "nv", 90000),
        (31, "H261", 90000),
        (32, "MPV", 90000),
        (33, "MP2T", 90000),
        (34, "H263", 90000),
    )
)
"""Static payload types (RFC 3551 6)."""


def read_rtpmaps(values: Iterable[str]) -> tuple[PayloadFormat, ...]:
    """Parse a=rtpmap attributes; returns the formats ordered by payload type.

    Args:
        values: text after `a=rtpmap:`, such as `111 opus/48000/2`. Malformed ones are ignored, because
            packets can be relayed without them.
    """
    found = {each.payload_type: each for each in map(_read_rtpmap, values) if each is not None}
    return tuple([found[number] for number in sorted(found)])


def _read_rtpmap(value: str) -> PayloadFormat | None:
    return _read_short(value) if len(value) <= _SHORT else _parse(value)


@functools.lru_cache(maxsize=256)  # phones have the same few
def _read_short(value: str) -> PayloadFormat | None:
    return _parse(value)


def _parse(value: str) -> PayloadFormat | None:
    match = _RTPMAP.match(value)
    if match is None:
        return None
    payload_type, clock_hz = int(match["type"]), int(match["clock"])
    if payload_type > 127 or not 1 <= clock_hz <= MAX_CLOCK_HZ:
        return None
    return PayloadFormat(payload_type, match["encoding"], clock_hz)


@functools.lru_cache(maxsize=256)
def agreed(
    sender: tuple[PayloadFormat, ...], receiver: tuple[PayloadFormat, ...], allowed: tuple[int, ...] = ()
) -> PayloadTypes:
    """The payload types of the direction from `sender` to `receiver`, the same object for equal arguments.

    The receiver's numbers take precedence, because the sender has to use them (RFC 3264 5.1); static payload
    types apply where neither SDP redefines them.

    Args:
        sender, receiver: the formats that their SDPs announce.
        allowed: see PayloadTypes.
    """
    formats = {each.payload_type: each for each in (*STATIC, *sender, *receiver)}
    return PayloadTypes(
        clocks={
            number: each.clock_hz
            for number, each in formats.items()
            if each.encoding.lower() not in CLOCKLESS
        },
        encodings={number: each.encoding for number, each in formats.items()},
        allowed=allowed,
    )
