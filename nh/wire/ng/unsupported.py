"""Flags and keys of rtpengine that make nh refuse a request, and why; docs/reference/ng.md lists them.

A client that sends one of them relies on it, so nh returns an error instead of ignoring it. Tables only.
"""

from collections.abc import Mapping
from typing import Final

_RECORDING: Final = "nh records nothing"
_CODECS: Final = "nh does not look into codecs"
_MEDIA: Final = "nh does not look into media"
_HEADERS: Final = "nh does not look into RTP headers"
_PLAYER: Final = "nh plays nothing"
_SRTP: Final = "nh hands SRTP through as it is"
_RTCP: Final = "nh relays RTCP, and sends none of its own"
_SDP: Final = "nh changes of an SDP only what a relay must"
_ROUTES: Final = "nh does not look into routes, name an interface"

UNSUPPORTED_FLAGS: Final[Mapping[bytes, str]] = {
    b"record-call": _RECORDING,
    b"recording-announcement": _RECORDING,
    b"recording-vsc": _RECORDING,
    b"siprec": _RECORDING,
    b"always-transcode": _CODECS,
    b"force-transcoding": _CODECS,
    b"no-passthrough": _CODECS,
    b"single-codec": _CODECS,
    b"static-codec": _CODECS,
    b"static-codecs": _CODECS,
    b"reorder-codecs": _CODECS,
    b"reuse-codecs": _CODECS,
    b"no-codec-renegotiation": _CODECS,
    b"strip-extmap": _HEADERS,
    b"block-dtmf": _MEDIA,
    b"detect-dtmf": _MEDIA,
    b"inject-dtmf": _MEDIA,
    b"block-short": _MEDIA,
    b"block-shorts": _MEDIA,
    b"block-short-packets": _MEDIA,
    b"audio-player": _PLAYER,
    b"player": _PLAYER,
    b"generate-rtcp": _RTCP,
    b"recrypt": _SRTP,
    b"fragment": "nh needs whole SDPs",
}
"""Flags that make a request fail, with the reason in the error."""

UNSUPPORTED_KEYS: Final[Mapping[bytes, str]] = {
    b"codec": _CODECS,
    b"codecs": _CODECS,
    b"transcode": _CODECS,
    **{
        f"codec-{what}".encode(): _CODECS for what in ("transcode", "strip", "offer", "mask", "set", "accept")
    },
    **{f"codec-{what}".encode(): _CODECS for what in ("except", "consume", "ignore")},
    b"ptime": _CODECS,
    b"ptime-reverse": _CODECS,
    b"reverse-ptime": _CODECS,
    b"delay-buffer": _MEDIA,
    b"extmap": _HEADERS,
    b"sdp-attr": _SDP,
    b"sdp-media-remove": _SDP,
    b"audio-player": _PLAYER,
    b"player": _PLAYER,
    b"moh": _PLAYER,
    b"media-echo": _PLAYER,
    b"ice-lite": "nh has no ICE agent",
    b"inbound-peer": _ROUTES,
    b"outbound-peer": _ROUTES,
    b"peer": _ROUTES,
    b"template": "nh has no templates",
    b"dtmf-security": _MEDIA,
    b"dtmf-security-trigger": _MEDIA,
    b"dtmf-delay": _MEDIA,
    b"dtmf-log-dest": _MEDIA,
    b"dtmf-log-destination": _MEDIA,
    b"trigger": _MEDIA,
}
"""Keys that make a request fail unless their value is empty or off, with the reason in the error."""

NOT_OPTIONS: Final = frozenset(
    {
        b"command",
        b"call-id",
        b"from-tag",
        b"to-tag",
        b"via-branch",
        b"sdp",
        b"delete-delay",
        b"limit",
        b"rtpp-flags",
        b"sip-message-type",
        b"sip-code",
        b"sip-response-code",
        b"metadata",
        b"alias-key",
        b"xmlrpc-callback",
        b"address",
        b"to-label",
    }
)
"""Keys that are not options: a command reads them itself, or a relay has no use for them."""
