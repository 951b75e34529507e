"""The ends of a call, and its name: the words that controls, workers and SDP share."""

from typing import NamedTuple


class Endpoint(NamedTuple):
    """A UDP address."""

    address: str
    port: int


class BrowserParameters(NamedTuple):
    """What the SDP of a browser, or that for one, says of ICE (RFC 8839) and DTLS (RFC 8122).

    Args:
        ufrag, password: of ICE.
        fingerprint: of the certificate, with the name of its hash.
    """

    ufrag: str
    password: str
    fingerprint: str


class MediaEnd(NamedTuple):
    """Where one medium is taken: its RTP and its RTCP.

    Args:
        rtp, rtcp: its ports.
        key: master key and salt of what this end sends with, in base64; "": it has no SRTP.
        browser: of an end with ICE, DTLS, and RTCP at the port of RTP; None: of another one.
    """

    rtp: Endpoint
    rtcp: Endpoint
    key: str = ""
    browser: BrowserParameters | None = None


class Targets(NamedTuple):
    """Where each phone of a call has to send: the relay's ports."""

    caller: MediaEnd
    callee: MediaEnd


class TransactionKey(NamedTuple):
    """A call and one of its negotiations.

    Args:
        call_id, from_tag, to_tag: as in SIP.
        cseq: 1 for the INVITE, one more for each re-INVITE.
    """

    call_id: str
    from_tag: str
    to_tag: str
    cseq: int
