"""The `flags` list of an ng request: what each flag does.

Some flags are another spelling of a key with a value (`replace-origin`, `rtcp-mux-offer`, `SDES-off`); they
are returned as that key and value. docs/reference/ng.md describes these tables.
"""

from collections.abc import Mapping
from typing import Final

from nh.wire.ng.codecs import CHOICE_FLAGS, read_choice_flag
from nh.wire.ng.dictionary import normalize_key, text_of
from nh.wire.ng.dtls import read_no_tls_id
from nh.wire.ng.parsed_options import ParsedOptions
from nh.wire.ng.sdp_text import TEXT_FLAGS
from nh.wire.ng.unsupported import UNSUPPORTED_FLAGS

_OPTIONS: Final[Mapping[bytes, tuple[str, object]]] = {
    b"trust-address": ("trust_received", False),
    b"sip-source-address": ("trust_received", True),
    b"asymmetric": ("asymmetric", True),
    b"strict-source": ("strict_source", True),
    b"media-handover": ("media_handover", True),
    b"port-latching": ("port_latching", True),
    b"no-port-latching": ("port_latching", False),
    b"loop-protect": ("loop_protect", True),
    b"reject-ice": ("reject_ice", True),
    b"ice-reject": ("reject_ice", True),
    b"trickle-ice": ("trickle", True),
    b"fragment": ("fragment", True),
    b"recrypt": ("recrypt", True),
    b"block-dtmf": ("block_dtmf", True),
}
"""Flags that set an option: the field of OfferOptions and its value."""

_SWITCHES: Final = frozenset({b"fatal", b"fast", b"to-tag", b"directional", b"all"})

_NO_EFFECT: Final = frozenset(
    {
        b"symmetric",
        b"unidirectional",
        b"passthrough",
        b"allow-transcoding",
        b"allow-asymmetric-codec",
        b"allow-asymmetric-codecs",
        b"asymmetric-codecs",
        b"symmetric-codecs",
        b"block-egress",
        b"early-media",
        b"no-player",
        b"no-audio-player",
        b"no-jitter-buffer",
        b"no-redis-update",
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
"""Flags that ask for what nh does in any case, or switch off what nh never does."""

_IGNORED: Final = frozenset(
    {
        b"inject-dtmf",
        b"always-transcode",
        b"static-codec",
        b"static-codecs",
        b"reorder-codecs",
        b"reuse-codecs",
        b"no-codec-renegotiation",
    }
)
"""Flags that clients send with every call, and without which it works: no DTMF is played and nothing is
transcoded. The reply names them."""

_PREFIXES: Final = (
    b"endpoint-learning-",
    b"osrtp-",
    b"replace-",
    b"rtcp-mux-",
    b"bundle-",
    b"codec-",
    b"sdes-",
    b"dtls-",
    b"sdp-attr-",
    b"transcode-",
    b"t38-",
    b"t.38-",
    b"ice-lite-",
)
"""Prefixes of flags that stand for a key with a list: `replace-origin` is `replace=[origin]`."""

WEBRTC: Final[Mapping[bytes, object]] = {
    b"flags": [b"no-rtcp-attribute", b"generate-mid", b"trickle-ice"],
    b"transport-protocol": b"UDP/TLS/RTP/SAVPF",
    b"ice": b"force",
    b"rtcp-mux": [b"offer", b"require"],
    b"bundle": [b"offer"],
    b"sdes": [b"off"],
}
"""The keys that the flag `WebRTC` stands for. A browser with `max-bundle` refuses offers without a bundle."""


def read_flag(flag: bytes, parsed: ParsedOptions) -> tuple[tuple[bytes, object], ...]:
    """Add what one flag asks for to `parsed`.

    Returns:
        The keys and values that the flag stands for; none for most flags.
    """
    word = normalize_key(flag)
    if word in _OPTIONS:
        parsed.set(*_OPTIONS[word])
    elif word in TEXT_FLAGS:
        parsed.set_text(*TEXT_FLAGS[word])
    elif word == b"no-tls-id":
        read_no_tls_id(parsed)
    elif word in CHOICE_FLAGS:
        read_choice_flag(CHOICE_FLAGS[word], parsed)
    elif word in _SWITCHES:
        parsed.switches.add(word.decode())
    elif word == b"webrtc":
        return tuple(WEBRTC.items())
    elif word in UNSUPPORTED_FLAGS:
        parsed.unsupported(text_of(flag), UNSUPPORTED_FLAGS[word])
    elif word in _IGNORED:
        parsed.ignore(text_of(flag))
    elif word not in _NO_EFFECT:
        for prefix in _PREFIXES:
            if word.startswith(prefix) and len(word) > len(prefix):
                return ((prefix[:-1], [flag[len(prefix) :]]),)
        parsed.ignore(text_of(flag[:64]))
    return ()
