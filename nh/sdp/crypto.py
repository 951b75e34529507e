"""a=crypto: keys of SRTP in SDP (SDES, RFC 4568)."""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

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
