"""The keys `DTLS`, `DTLS-reverse` and `DTLS-fingerprint` of an ng request: how DTLS agrees on SRTP keys."""

from typing import Final

from msgspec import structs

from nh.commands import DEFAULT_DTLS, DtlsOptions
from nh.dtls.fingerprints import ALGORITHMS
from nh.wire.ng.dictionary import normalized_words, text_of
from nh.wire.ng.parsed_options import ParsedOptions

_WORDS: Final = {
    **dict.fromkeys((b"off", b"no", b"disable", b"disabled"), ("off", True)),
    b"active": ("active", True),
    b"passive": ("active", False),
}
"""The values of `DTLS`, and what each of them sets."""


def read_dtls(value: object, parsed: ParsedOptions) -> None:
    """Add the words of `DTLS` or `DTLS-reverse` to what a request asks for; an unknown word is ignored.

    Both are about the role towards the end that the SDP is of: the end that gets it chooses its own.
    """
    for word in normalized_words(value):
        if word in _WORDS:
            option, value_of_it = _WORDS[word]
            parsed.set("dtls", structs.replace(_present(parsed), **{option: value_of_it}))
        else:
            parsed.ignore(f"DTLS={text_of(word[:64])}")


def read_dtls_fingerprint(value: object, parsed: ParsedOptions) -> None:
    """The hash function of the fingerprints that nh writes."""
    for word in normalized_words(value):
        algorithm = text_of(word[:64])
        if algorithm in ALGORITHMS:
            parsed.set("dtls", structs.replace(_present(parsed), algorithm=algorithm))
        else:
            parsed.ignore(f"DTLS-fingerprint={algorithm}")


def read_no_tls_id(parsed: ParsedOptions) -> None:
    """The flag `no-tls-id`."""
    parsed.set("dtls", structs.replace(_present(parsed), no_tls_id=True))


def _present(parsed: ParsedOptions) -> DtlsOptions:
    present: DtlsOptions = parsed.options.get("dtls", DEFAULT_DTLS)
    return present
