"""Flags, keys and commands of rtpengine that nh does not have, and why; docs/reference/ng.md lists them.

A client that sends one of them relies on it, so nh returns an error, unless the setting `ng_unsupported` says
that the feature is left out with a warning. Tables only.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from nh.commands import Feature


class Gap(NamedTuple):
    """Something that nh does not do: the family of features that it belongs to, and the reason."""

    feature: Feature
    why: str


RECORDING: Final = Gap(Feature.RECORDING, "nh records nothing")
CODECS: Final = Gap(Feature.CODECS, "nh does not transcode")
DTMF: Final = Gap(Feature.DTMF, "nh hears no tones in audio, and plays none")
PLAYING: Final = Gap(Feature.PLAYING, "nh plays nothing")
FULL_ICE: Final = Gap(Feature.ICE, "nh is a lite agent of ICE")
RTCP: Final = Gap(Feature.PACKETS, "nh relays RTCP, and sends none of its own")
T38: Final = Gap(Feature.PACKETS, "nh does not convert T.38, it hands it through")
TRAFFIC: Final = Gap(Feature.PACKETS, "use the command block media")
_MEDIA: Final = Gap(Feature.PACKETS, "nh does not look into media")
HEADERS: Final = Gap(Feature.SDP, "nh does not look into RTP headers")
_ROUTES: Final = Gap(Feature.ROUTES, "nh does not look into routes, name an interface")

UNSUPPORTED_FLAGS: Final[Mapping[bytes, Gap]] = {
    b"record-call": RECORDING,
    b"recording-announcement": RECORDING,
    b"recording-vsc": RECORDING,
    b"siprec": RECORDING,
    b"force-transcoding": CODECS,
    b"no-passthrough": CODECS,
    b"detect-dtmf": DTMF,
    b"block-short": _MEDIA,
    b"block-shorts": _MEDIA,
    b"block-short-packets": _MEDIA,
    b"audio-player": PLAYING,
    b"player": PLAYING,
    b"generate-rtcp": RTCP,
}
"""Flags that make a request fail."""

UNSUPPORTED_KEYS: Final[Mapping[bytes, Gap]] = {
    b"codecs": CODECS,
    b"ptime": CODECS,
    b"ptime-reverse": CODECS,
    b"reverse-ptime": CODECS,
    b"delay-buffer": _MEDIA,
    b"audio-player": PLAYING,
    b"player": PLAYING,
    b"moh": PLAYING,
    b"media-echo": PLAYING,
    b"inbound-peer": _ROUTES,
    b"outbound-peer": _ROUTES,
    b"peer": _ROUTES,
    b"template": Gap(Feature.ROUTES, "nh has no templates"),
    b"dtmf-security": DTMF,
    b"dtmf-security-trigger": DTMF,
    b"dtmf-delay": DTMF,
    b"trigger": DTMF,
}
"""Keys that make a request fail unless their value is empty or off."""

CODEC_OPTIONS: Final[Mapping[bytes, Gap | None]] = {
    b"consume": CODECS,
    b"accept": None,
    b"ignore": None,
    b"set": None,
}
"""What the key `codec` may ask for beside a choice of codecs (nh.wire.ng.codecs). None: a call works without
it, so it is ignored with a warning: it needs no transcoding, or only says how to transcode."""

UNSUPPORTED_COMMANDS: Final[Mapping[bytes, Gap | None]] = {
    b"start recording": RECORDING,
    b"stop recording": RECORDING,
    b"pause recording": RECORDING,
    b"start forwarding": RECORDING,
    b"stop forwarding": RECORDING,
    b"play dtmf": DTMF,
    b"play media": PLAYING,
    b"stop media": PLAYING,
    b"publish": None,
    b"subscribe request": None,
    b"subscribe answer": None,
    b"unsubscribe": None,
    b"inject start": None,
    b"inject stop": None,
    b"connect": None,
    b"cli": None,
    b"transform": None,
    b"create": None,
    b"create answer": None,
    b"mesh": None,
}
"""Commands that fail. None: whatever `ng_unsupported` says, as the client needs more of the reply than ok."""

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
        b"passthrough",
        b"passthru",
        b"address",
        b"to-label",
    }
)
"""Keys that are not options: a command reads them itself, or a relay has no use for them."""
