"""RTP payload types: what their numbers mean in a medium, and how fast their timestamps run.

Static ones are RFC 3551's, the others are told by a=rtpmap (RFC 8866 6.6). What thousands of calls say alike
is kept once. Knows nothing of packets.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

MAX_CLOCK_HZ: Final = 10_000_000
"""Fastest RTP clock; those in use are 8,000 to 192,000 Hz."""

MAX_FORMATS: Final = 128
"""Most payload types of a medium: there are no more (RFC 3550 5.1)."""

_RTPMAP: Final = re.compile(
    r"(?P<type>\d{1,3})[ \t]++(?P<encoding>[!-.0-~]{1,64})/(?P<clock>\d{1,8})(?:/[!-~]*+)?[ \t]*+\Z",
    re.ASCII,
)

_CLOCKLESS: Final = frozenset(
    {"telephone-event", "tone", "cn", "red", "ulpfec", "parityfec", "flexfec", "flexfec-03", "rtx"}
)
"""Encodings whose timestamps do not tell when a packet was sent: events (RFC 4733) and comfort noise
(RFC 3389) come when there is something to say, repairs (RFC 2198, 4588, 5109, 8627) bear others' times."""


class PayloadFormat(msgspec.Struct, frozen=True):
    """One payload type as an SDP describes it.

    Arguments:
        payload_type: 0 to 127.
        encoding: its name, such as opus, in the SDP's letter case.
        clock_hz: 1 to MAX_CLOCK_HZ.
    """

    payload_type: int
    encoding: str
    clock_hz: int


class PayloadTypes(NamedTuple):
    """What the payload types in one direction mean: clock rates in Hz and encoding names.

    `clocks` leaves out what has no clock in the sense of jitter, such as telephone-event.
    """

    clocks: Mapping[int, int]
    encodings: Mapping[int, str]


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
        # it samples at 16,000 Hz, but its clock was written down wrong once and stays so (RFC 3551 4.5.2)
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
    """What a=rtpmap attributes say, in the order of their payload types.

    Arguments:
        values: what stands behind `a=rtpmap:`, such as `111 opus/48000/2`. What cannot be read is left out:
            packets are relayed all the same.
    """
    found = {each.payload_type: each for each in map(_read_rtpmap, values) if each is not None}
    return tuple(found[number] for number in sorted(found))


def _read_rtpmap(value: str) -> PayloadFormat | None:
    match = _RTPMAP.match(value)
    if match is None:
        return None
    payload_type, clock_hz = int(match["type"]), int(match["clock"])
    if payload_type > 127 or not 1 <= clock_hz <= MAX_CLOCK_HZ:
        return None
    return PayloadFormat(payload_type, match["encoding"], clock_hz)


@functools.lru_cache(maxsize=256)
def shared(formats: tuple[PayloadFormat, ...]) -> tuple[PayloadFormat, ...]:
    """The same formats, as one object for all who say the same."""
    return formats


@functools.lru_cache(maxsize=256)
def agreed(sender: tuple[PayloadFormat, ...], receiver: tuple[PayloadFormat, ...]) -> PayloadTypes:
    """What payload types mean from one end to the other, as one object for all who say the same.

    Arguments:
        sender, receiver: what their SDPs say. The receiver's word counts more: it is its numbers that the
            sender has to use (RFC 3264 5.1). Static ones mean what they mean unless told otherwise.
    """
    formats = {each.payload_type: each for each in (*STATIC, *sender, *receiver)}
    return PayloadTypes(
        clocks={
            number: each.clock_hz
            for number, each in formats.items()
            if each.encoding.lower() not in _CLOCKLESS
        },
        encodings={number: each.encoding for number, each in formats.items()},
    )
