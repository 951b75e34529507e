"""The keys `ICE` and `ICE-lite` of an ng request: which ends have ICE, and whether it is the relay's."""

from typing import Final

from nh.commands import IceHandling
from nh.wire.ng.dictionary import normalized_words, text_of
from nh.wire.ng.parsed_options import ParsedOptions
from nh.wire.ng.unsupported import FULL_ICE

_ICE: Final = {handling.value.encode(): handling for handling in IceHandling}
_LITE: Final = frozenset(
    {
        *(b"both", b"forward", b"offer", b"fwd", b"fw"),
        *(b"backward", b"backwards", b"reverse", b"answer", b"back", b"bkw", b"bk"),
    }
)
"""Names of the ends that a client may have nh be a lite agent for."""


def read_ice(value: object, parsed: ParsedOptions) -> None:
    """What becomes of the ICE of an offer, or of an answer."""
    for word in normalized_words(value):
        if word in _ICE:
            parsed.set("ice", _ICE[word])
        elif word in (b"trickle", b"ice2"):
            parsed.set(word.decode())
        elif word in (b"lite", b"no-lite"):
            read_ice_lite(b"forward" if word == b"lite" else b"off", parsed)
        elif word.startswith(b"lite-"):
            read_ice_lite(word.removeprefix(b"lite-"), parsed)
        else:
            parsed.ignore(f"ICE={text_of(word[:64])}")


def read_ice_lite(value: object, parsed: ParsedOptions) -> None:
    """nh is lite towards both ends, whichever the client names, and never full."""
    for word in normalized_words(value):
        if word in (b"off", b"none", b"no"):
            parsed.unsupported("ICE-lite=off", FULL_ICE)
        elif word not in _LITE:
            parsed.ignore(f"ICE-lite={text_of(word[:64])}")
