"""What each flag means to nh: the words in an ng request's `flags` list.

Some spell out what otherwise is a key with a value (`replace-origin`, `rtcp-mux-offer`, `SDES-off`); these
are handed back. docs/reference/ng.md describes these tables.
"""

from collections.abc import Mapping
from typing import Final

from nh.commands import IceHandling
from nh.wire.ng.dictionary import normalize_key, text_of
from nh.wire.ng.flag_parser import Wishes
from nh.wire.ng.unsupported import REFUSED_FLAGS

_GRANTED: Final[Mapping[bytes, tuple[str, object]]] = {
    b"trust-address": ("trust_received", False),
    b"sip-source-address": ("trust_received", True),
    b"asymmetric": ("asymmetric", True),
    b"strict-source": ("strict_source", True),
    b"media-handover": ("media_handover", True),
    b"port-latching": ("port_latching", True),
    b"loop-protect": ("loop_protect", True),
    b"reject-ice": ("ice", IceHandling.REMOVE),
    b"ice-reject": ("ice", IceHandling.REMOVE),
}
"""The option and its value."""

_SWITCHES: Final = frozenset({b"fatal", b"fast", b"to-tag", b"directional", b"all"})

_DONE_ANYWAY: Final = frozenset(
    {
        b"symmetric",
        b"unidirectional",
        b"original-sendrecv",
        b"no-port-latching",
        b"trickle-ice",
        b"passthrough",
        b"allow-transcoding",
        b"allow-asymmetric-codecs",
        b"asymmetric-codecs",
        b"symmetric-codecs",
        b"allow-no-codec-media",
        b"allow-empty-codec-media",
        b"allow-empty-codec-medias",
        b"block-egress",
        b"early-media",
        b"no-player",
        b"no-audio-player",
        b"no-jitter-buffer",
        b"no-redis-update",
        b"no-tls-id",
        b"discard-recording",
        b"exclude-recording",
        b"skip-recording-db",
        b"skip-recording-database",
        b"reset",
        b"provisional",
        b"debug",
        b"debugging",
    }
)
"""What nh does without being asked, or what undoes things that it never does."""

_PREFIXES: Final = (
    b"endpoint-learning-",
    b"osrtp-",
    b"replace-",
    b"rtcp-mux-",
    b"bundle-",
    b"codec-",
    b"sdes-",
    b"sdp-attr-",
    b"transcode-",
    b"t38-",
    b"t.38-",
    b"ice-lite-",
)
"""What a flag begins with that stands for a key with a list."""

WEBRTC: Final[Mapping[bytes, object]] = {
    b"transport-protocol": b"UDP/TLS/RTP/SAVPF",
    b"ice": b"force",
    b"rtcp-mux": [b"offer", b"require"],
}
"""What the flag WebRTC stands for, as far as nh does it."""


def read_flag(flag: bytes, wishes: Wishes) -> tuple[tuple[bytes, object], ...]:
    """Take one flag into the wishes.

    Returns the keys and values that it stands for, none for most flags.
    """
    word = normalize_key(flag)
    if word in _GRANTED:
        wishes.grant(*_GRANTED[word])
    elif word in _SWITCHES:
        wishes.switches.add(word.decode())
    elif word == b"webrtc":
        return tuple(WEBRTC.items())
    elif word in REFUSED_FLAGS:
        wishes.refuse(text_of(flag), REFUSED_FLAGS[word])
    elif word not in _DONE_ANYWAY:
        for prefix in _PREFIXES:
            if word.startswith(prefix) and len(word) > len(prefix):
                return ((prefix[:-1], [flag[len(prefix) :]]),)
        wishes.ignore(text_of(flag[:64]))
    return ()
