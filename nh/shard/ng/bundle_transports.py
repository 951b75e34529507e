"""Transports of bundles: the port, the ICE and the keys of the tagged medium are those of all (RFC 9143)."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from nh.calls.bundle import Bundle
from nh.errors import UnusableSdp
from nh.sdp.bundles import take_transports
from nh.sdp.description import Medium, SessionDescription
from nh.shard.ng.bundle_members import read_bundles, tagged_of
from nh.shard.ng.ice import NegotiatedIce
from nh.shard.ng.secured import Secured

_TRANSPORT: Final = (
    *("ice-ufrag", "ice-pwd", "ice-options", "ice-lite", "candidate", "end-of-candidates"),
    *("fingerprint", "setup", "tls-id", "rtcp-mux", "rtcp-mux-only", "rtcp", "crypto"),
)
"""Attributes of a transport: those of the tagged medium are those of all (RFC 9143 7.1.3, RFC 8859 5)."""


def share_transports(description: SessionDescription, tagged: Mapping[int, int]) -> SessionDescription:
    """An SDP in which the media of bundles have the port and the transport of their tagged ones.

    Args:
        description: the SDP.
        tagged: see tagged_media().
    """
    if not tagged:
        return description
    media = list(description.media)
    for index, first in tagged.items():
        media[index] = media[index].with_transport_of(media[first], _TRANSPORT)
    return msgspec.structs.replace(description, media=tuple(media))


def tagged_media(
    description: SessionDescription, bundles: Sequence[Bundle], *, agreed: bool
) -> dict[int, int]:
    """The tagged media whose transport others of their bundles have, by these.

    Args:
        description: the SDP.
        bundles: what it bundles.
        agreed: they have been agreed on. Until then, media with a transport of their own keep it: they need
            it without a bundle, or if the tagged medium is rejected (RFC 9143 7.3.1).
    """
    if not bundles:
        return {}
    return {
        index: tagged
        for index, tagged in tagged_of(bundles).items()
        if agreed or not _has_own_transport(description.media[index], description.media[tagged])
    }


def _has_own_transport(medium: Medium, tagged: Medium) -> bool:
    """Whether a medium can do without the tagged one of its bundle."""
    has_port = medium.port not in (0, tagged.port)
    return has_port and tagged.ice <= medium.ice and _has_keys(tagged) <= _has_keys(medium)


def _has_keys(medium: Medium) -> bool:
    return medium.has("crypto") or bool(medium.applying("fingerprint"))


def with_shared_transports(description: SessionDescription) -> SessionDescription:
    """The same by its own bundles, if they can be read, whether or not the relay takes them."""
    if max(map(len, description.bundles), default=0) < 2:
        return description  # a medium alone shares nothing
    try:
        bundles = read_bundles(description)
    except UnusableSdp:
        return description
    return share_transports(description, tagged_media(description, bundles, agreed=False))


def with_new_tagged(
    description: SessionDescription, new_tagged: Mapping[int, int], source: SessionDescription
) -> SessionDescription:
    """An SDP in which new tagged media have the transport of those before them; see take_transports()."""
    return take_transports(description, new_tagged, source, _TRANSPORT)


def share_security(
    secured: Sequence[Secured], ice: NegotiatedIce, tagged: Mapping[int, int]
) -> tuple[list[Secured], NegotiatedIce]:
    """The keys and the ICE of media, some with what the tagged media of their bundles have.

    Args:
        secured, ice: of all media.
        tagged: see tagged_media().
    """
    if not tagged:
        return list(secured), ice
    shared = [
        each._replace(security=theirs.security, open_role=theirs.open_role)
        for index, each in enumerate(secured)
        for theirs in (secured[tagged.get(index, index)],)
    ]
    media = [
        each._replace(agent=ice.media[tagged.get(index, index)].agent) for index, each in enumerate(ice.media)
    ]
    return shared, ice._replace(media=media)
