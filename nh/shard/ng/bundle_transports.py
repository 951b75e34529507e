"""Transports of bundles: the port, the ICE and the keys of the tagged medium are those of all (RFC 9143)."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from nh.calls.bundle import Bundle
from nh.errors import UnusableSdp
from nh.sdp.bundles import take_transports
from nh.sdp.description import SessionDescription
from nh.shard.ng.bundles import indexes_of, read_bundles
from nh.shard.ng.ice import NegotiatedIce
from nh.shard.ng.secured import Secured

_TRANSPORT: Final = (
    *("ice-ufrag", "ice-pwd", "ice-options", "ice-lite", "candidate", "end-of-candidates"),
    *("fingerprint", "setup", "tls-id", "rtcp-mux", "rtcp-mux-only", "rtcp", "crypto"),
)
"""Attributes of a transport: those of the tagged medium are those of all (RFC 9143 7.1.3, RFC 8859 5)."""


def share_transports(
    description: SessionDescription, bundles: Sequence[Bundle], *, taken: bool = True
) -> SessionDescription:
    """An SDP in which the media of each bundle have the port and the transport of its tagged medium.

    Args:
        description: the SDP.
        bundles: what it bundles.
        taken: the relay has taken them. Until then, media with a port of their own keep their keys: they need
            them without a bundle.
    """
    if not bundles:
        return description
    media = list(description.media)
    for bundle in bundles:
        tagged = media[bundle.media[0].medium]
        for index in [each.medium for each in bundle.media[1:]]:
            medium = media[index]
            has_own = medium.port not in (0, tagged.port) and medium.has("crypto")
            names = _TRANSPORT if taken or not has_own else [name for name in _TRANSPORT if name != "crypto"]
            media[index] = medium.with_transport_of(tagged, names)
    return msgspec.structs.replace(description, media=tuple(media))


def with_shared_transports(description: SessionDescription) -> SessionDescription:
    """The same by its own bundles, if they can be read, whether or not the relay takes them."""
    try:
        return share_transports(description, read_bundles(description), taken=False)
    except UnusableSdp:
        return description


def with_new_tagged(
    description: SessionDescription, new_tagged: Mapping[int, int], source: SessionDescription
) -> SessionDescription:
    """An SDP in which new tagged media have the transport of those before them; see take_transports()."""
    return take_transports(description, new_tagged, source, _TRANSPORT)


def share_security(
    secured: Sequence[Secured], ice: NegotiatedIce, bundles: Sequence[Bundle]
) -> tuple[list[Secured], NegotiatedIce]:
    """The keys and the ICE of media, those of each bundle with what its tagged medium has."""
    if not bundles:
        return list(secured), ice
    tagged = {index: bundle.media[0].medium for bundle in bundles for index in indexes_of(bundle)}
    shared = [
        each._replace(security=secured[tagged.get(index, index)].security)
        for index, each in enumerate(secured)
    ]
    media = [
        each._replace(agent=ice.media[tagged.get(index, index)].agent) for index, each in enumerate(ice.media)
    ]
    return shared, ice._replace(media=media)
