"""What the two ends of a dialog agree on by an answer about the transports of their media."""

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from nh.calls.bundle import Bundle

Carriers = Mapping[int, int]
"""By medium, the one whose sockets carry it, of bundles that two ends have agreed on with each other.

Media that are in no such bundle are not in there.
"""

NO_CARRIERS: Final[Carriers] = MappingProxyType({})


class Agreement(NamedTuple):
    """What an offerer and an answerer have agreed on about the transports of their media.

    Attributes:
        muxes: for each medium, whether the offerer and whether the answerer sends RTCP on its RTP port
            (RFC 5761).
        bundles: which media share a transport (RFC 9143): what the offerer, and what the answerer has agreed
            on with the relay.
        carriers: what they have agreed on with each other.
    """

    muxes: Sequence[tuple[bool, bool]] = ()
    bundles: tuple[tuple[Bundle, ...], tuple[Bundle, ...]] = ((), ())
    carriers: Carriers = NO_CARRIERS


OWN_TRANSPORTS: Final = Agreement()
"""Each medium has ports of its own for RTP and RTCP."""


class AgreedTransports(NamedTuple):
    """What one end has agreed on, which later offers to it keep.

    While none of its media is RTP, it is what the answer before said. Before any answer has taken a medium of
    RTP, it is what the answer has rejected: `taken` is False.

    Attributes:
        protos: of each medium, the transport protocol of RTP; "" of one that is rejected or no RTP.
        muxes: of each medium, whether the end sends RTCP on its RTP port (RFC 5761); () if of none.
        with_ice: whether the end has ICE with the relay.
        ice_passes: whether it has ICE with the other end.
        mids: of each medium, the a=mid by which the end knows it (RFC 5888): that of its last answer, or of
            its last offer that named it; "" for none, () if none has one.
        taken: whether an answer has taken a medium of RTP.
    """

    protos: tuple[str, ...] = ()
    muxes: tuple[bool, ...] = ()
    with_ice: bool = False
    ice_passes: bool = False
    mids: tuple[str, ...] = ()
    taken: bool = True


NOTHING_AGREED: Final = AgreedTransports()


@functools.lru_cache(maxsize=256)
def agreed_transports(
    protos: tuple[str, ...],
    muxes: tuple[bool, ...],
    with_ice: bool,
    ice_passes: bool,
    mids: tuple[str, ...],
    *,
    taken: bool = True,
) -> AgreedTransports:
    """What one end has agreed on, the same object for equal arguments: thousands of calls agree alike.

    Args:
        protos, muxes, with_ice, ice_passes, mids, taken: see AgreedTransports.
    """
    return AgreedTransports(protos, muxes, with_ice, ice_passes, mids, taken)
