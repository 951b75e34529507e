"""The keys of an ng request that nh implements in part or not at all: what of their values it cannot ignore.

nh.wire.ng.unsupported has the keys that fail whatever their value asks for.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final

from nh.wire.ng.codecs import CHOICES, read_codec, read_codec_option
from nh.wire.ng.dictionary import NO, normalized_words, text_of, words_of
from nh.wire.ng.dtls import read_dtls, read_dtls_fingerprint
from nh.wire.ng.parsed_options import ParsedOptions
from nh.wire.ng.sdes import read_sdes
from nh.wire.ng.unsupported import CODEC_OPTIONS, RECORDING, RTCP, T38, TRAFFIC, Gap

Reader = Callable[[object, ParsedOptions], None]
"""Adds the value of one key to what a request asks for."""

_YES: Final = frozenset({b"yes", b"on", b"1", b"true"})
_NO: Final = NO | {b"0"}
_FAX: Final = frozenset(
    {b"stop", b"no-ecm", b"no-iaf", b"fec"}
    | {b"no-" + name for name in (b"v17", b"v.17", b"v27ter", b"v.27ter", b"v29", b"v.29", b"v34", b"v.34")}
)
"""Values of `T.38` that are about its conversion alone."""


def says_something(value: object) -> bool:
    """Whether a value is other than empty, 0, "no", "off" and the like."""
    if isinstance(value, dict):
        return any(value.values())
    return not _NO.issuperset(normalized_words(value))


_OSRTP: Final = {
    b"offer": ("osrtp_offer",),
    b"offer-rfc": ("osrtp_offer",),
    b"offer-legacy": ("osrtp_offer_twice",),
    b"accept": ("osrtp_accept", "osrtp_accept_twice"),
    b"accept-rfc": ("osrtp_accept",),
    b"accept-legacy": ("osrtp_accept_twice",),
}
"""The values of `OSRTP`, and the options that each of them sets."""


def _read_osrtp(value: object, parsed: ParsedOptions) -> None:
    for word in normalized_words(value):
        for option in _OSRTP.get(word, ()):
            parsed.set(option)
        if word not in _OSRTP:
            parsed.ignore(f"OSRTP={text_of(word[:64])}")


def _unsupported_words(
    name: str, gap: Gap, unsupported: Collection[bytes], done: Collection[bytes] = ()
) -> Reader:
    """The reader of a key of which nh cannot ignore some words, and does others in any case."""

    def read(value: object, parsed: ParsedOptions) -> None:
        for word in normalized_words(value):
            text = f"{name}={text_of(word[:64])}"
            if word in unsupported:
                parsed.unsupported(text, gap)
            elif word not in done and word not in _NO:
                parsed.ignore(text)

    return read


def _reader_of_codec_option(option: bytes) -> Reader:
    def read(value: object, parsed: ParsedOptions) -> None:
        read_codec_option(option, words_of(value), parsed)

    return read


PARTIAL_READERS: Final[Mapping[bytes, Reader]] = {
    **dict.fromkeys((b"t.38", b"t38"), _unsupported_words("T.38", T38, {b"decode", b"force"}, _FAX)),
    b"osrtp": _read_osrtp,
    b"sdes": read_sdes,
    b"dtls": read_dtls,
    b"dtls-reverse": read_dtls,
    b"dtls-fingerprint": read_dtls_fingerprint,
    b"codec": read_codec,
    **{b"codec-" + option: _reader_of_codec_option(option) for option in (*CHOICES, *CODEC_OPTIONS)},
    b"transcode": _reader_of_codec_option(b"transcode"),
    b"record-call": _unsupported_words("record-call", RECORDING, _YES, {b"discard"}),
    b"generate-rtcp": _unsupported_words("generate-RTCP", RTCP, _YES),
    b"drop-traffic": _unsupported_words("drop-traffic", TRAFFIC, {b"start"}, {b"stop"}),
}
"""The reader of each key."""
