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
        ssrcs: of its media (RFC 5576), by which a bundle's RTCP is told apart before RTP has come.
    """

    ufrag: str
    password: str
    fingerprint: str
    ssrcs: tuple[int, ...] = ()


class VideoPorts(NamedTuple):
    """Where an end takes the video beside its audio."""

    rtp: Endpoint
    rtcp: Endpoint


class MediaEnd(NamedTuple):
    """Where the media of an end are taken.

    Args:
        rtp, rtcp: ports of the first medium.
        key: master key and salt of what this end sends with, in base64; "": it has no SRTP.
        browser: of an end with ICE, DTLS, and RTCP at the port of RTP; None: of another one.
        video: None: it has none. A browser takes it at the port of its audio (BUNDLE).
    """

    rtp: Endpoint
    rtcp: Endpoint
    key: str = ""
    browser: BrowserParameters | None = None
    video: VideoPorts | None = None

    @property
    def ports(self) -> list[tuple[Endpoint, Endpoint]]:
        """RTP and RTCP of each medium."""
        first = (self.rtp, self.rtcp)
        return [first] if self.video is None else [first, (self.video.rtp, self.video.rtcp)]


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
