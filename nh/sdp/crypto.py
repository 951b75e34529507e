"""a=crypto: keys of SRTP in SDP (SDES, RFC 4568)."""

import base64
import binascii
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from nh.commands import SdesOptions
from nh.sdp.description import SessionDescription
from nh.sdp.lines import Edits
from nh.sdp.parse import parse_own
from nh.srtp.keys import MasterKey
from nh.srtp.suites import find_suite

MAX_LINES: Final = 32
"""Most a=crypto lines of one medium that are read."""

MAX_MKI_BYTES: Final = 128

_LINE: Final = re.compile(
    rb"[ \t]*+(?P<tag>\d{1,9})[ \t]++(?P<suite>[!-~]++)[ \t]++(?P<keys>[!-~]++)(?P<session>(?:[ \t].*)?)\Z",
    re.DOTALL,
)
_KEY: Final = re.compile(
    rb"inline:(?P<key>[A-Za-z0-9+/]++={0,2})"
    rb"(?:\|(?P<lifetime>(?:2\^)?\d{1,15}))?"
    rb"(?:\|(?P<mki>\d{1,40}):(?P<size>\d{1,3}))?\Z",
    re.IGNORECASE,
)
_HARMLESS: Final = re.compile(rb"(?:WSH=\d+|KDR=0)\Z", re.IGNORECASE)
"""Session parameters that change nothing for nh; with others a line cannot be used (RFC 4568 6.3)."""


class CryptoAttribute(NamedTuple):
    """One a=crypto line that nh can use.

    Attributes:
        tag: names the line, 1 to 9 digits.
        key: what the author of the line sends with.
    """

    tag: int
    key: MasterKey


def read_crypto(values: Sequence[bytes]) -> list[CryptoAttribute]:
    """The lines that nh can use, in their order.

    A line is left out if its suite is unknown, its key has another length than that of the suite, or a
    session parameter asks for something else than RFC 3711's defaults. Of several keys in one line, the first
    counts.

    Args:
        values: what follows `a=crypto:` in each line of a medium.
    """
    found = (_read_line(value) for value in values[:MAX_LINES])
    return [each for each in found if each is not None]


def suite_of(value: bytes) -> str:
    """The name of the suite of an a=crypto line, as nh writes it; "" if nh does not know the suite."""
    line = _LINE.match(value)
    suite = None if line is None else find_suite(line["suite"].decode())
    return "" if suite is None else suite.name


def limit_suites(
    description: SessionDescription, media: Iterable[int], options: SdesOptions
) -> SessionDescription:
    """An SDP whose receiver sees the lines of the suites that a client permits, in its order.

    Args:
        description: the SDP.
        media: indexes of the media that are concerned; one without any such line keeps all.
        options: what a client permits.
    """
    if not (options.only or options.excluded or options.order):
        return description  # as of nearly all clients
    edits = Edits(description.lines)
    changed = False
    for index in media:
        lines = description.media[index].attributes.get("crypto", ())
        suites = {each.line: suite_of(each.value) for each in lines}
        kept = [each.line for each in lines if options.permits(suites[each.line])]
        ranks = {name: rank for rank, name in enumerate(options.order)}
        kept.sort(key=lambda line: ranks.get(suites[line], len(ranks)))
        places = [each.line for each in lines]
        if not kept or kept == places:
            continue
        changed = True
        for place, line in itertools.zip_longest(places, kept):
            edits.drop(place) if line is None else edits.replace(place, edits.text(line))
    return parse_own(edits.render()) if changed else description


def write_crypto(tag: int, key: MasterKey, *, pad: bool = False, lifetime: bool = False) -> bytes:
    """An a=crypto line.

    Args:
        tag: see CryptoAttribute.
        key: what the author of the line sends with.
        pad: write the padding of base64, which RFC 4568 has, and some phones do not take.
        lifetime: write the lifetime of the key: 2^31 packets, which is SRTCP's.
    """
    text = base64.b64encode(key.key + key.salt)
    parts = [b"inline:" + (text if pad else text.rstrip(b"="))]
    if lifetime:
        parts.append(b"2^31")
    if key.mki:
        parts.append(b"%d:%d" % (int.from_bytes(key.mki, "big"), len(key.mki)))
    return b"a=crypto:%d %b %b" % (tag, key.suite.name.encode(), b"|".join(parts))


def _read_line(value: bytes) -> CryptoAttribute | None:
    line = _LINE.match(value)
    if line is None or not all(_HARMLESS.match(each) for each in line["session"].split()):
        return None
    suite = find_suite(line["suite"].decode())
    key = _KEY.match(line["keys"].split(b";")[0])
    if suite is None or key is None:
        return None
    text = key["key"].rstrip(b"=")
    try:
        both = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
        mki = b"" if key["mki"] is None else _read_mki(int(key["mki"]), int(key["size"]))
        return CryptoAttribute(
            int(line["tag"]), MasterKey(suite, both[: suite.key_bytes], both[suite.key_bytes :], mki)
        )
    except (binascii.Error, ValueError, OverflowError):
        return None


def _read_mki(value: int, size: int) -> bytes:
    if not 1 <= size <= MAX_MKI_BYTES:
        raise ValueError(f"an MKI has 1 to {MAX_MKI_BYTES} bytes")
    return value.to_bytes(size, "big")
