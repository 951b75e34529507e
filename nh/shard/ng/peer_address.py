"""The address of an end that counts, by its SDP or its SIP, and the address family that it tells.

Pure functions between the views of nh.sdp and the domain.
"""

from collections.abc import Iterable

from nh.calls.offer_answer.party import Party
from nh.commands import OfferOptions
from nh.ip_address import UNSPECIFIED, ip_version, is_address, is_unicast
from nh.sdp.description import Medium, SessionDescription


def held_family(description: SessionDescription) -> int:
    """The address family (4 or 6) of the address by which an SDP is on hold; 4 if there is none."""
    held = (medium.connection for medium in description.media if medium.connection in UNSPECIFIED)
    return ip_version(next(held, None) or "0.0.0.0")


def told_family(description: SessionDescription, options: OfferOptions) -> int:
    """The address family (4 or 6) that the first address in an SDP tells; 0: there is none.

    An address with ICE, one candidate of many, counts where no medium has another, and that of a rejected
    medium where none is in use.
    """
    return _first_family(sorted(description.media, key=lambda each: (not each.port, each.ice)), options)


def said_family(description: SessionDescription, options: OfferOptions) -> int:
    """The address family (4 or 6) that the author of an offer says it is in now; 0: it does not say.

    With ICE its address is one candidate of many, and one of a hold is no address. Where the client names the
    interface, an end may be met in another family than its SDP says from the beginning on.
    """
    return _first_family((each for each in description.media if each.port and not each.ice), options)


def known_family(party: Party | None) -> int:
    """The address family (4 or 6) of an end, see Party.family; 0: it is not known.

    A snapshot of an nh that did not remember it has that of the end's last SDP.
    """
    if party is None:
        return 0
    announced = (group.medium.address for group in party.groups if group is not None)
    return party.family or next((ip_version(each) for each in announced if is_unicast(each)), 0)


def _first_family(media: Iterable[Medium], options: OfferOptions) -> int:
    """The address family of the first medium that has an address, 0 if none has."""
    return next((ip_version(address) for each in media if (address := _address_of(each, options))), 0)


def _address_of(medium: Medium, options: OfferOptions) -> str:
    """The IP address that counts for a medium, "" if none is known: a host name tells no address family."""
    address = believed_address(medium, options) or medium.connection or ""
    return address if is_address(address) and address not in UNSPECIFIED else ""


def believed_address(medium: Medium, options: OfferOptions) -> str | None:
    """The address to be used instead of the SDP's, None: the SDP's."""
    return options.received_from or None if options.trust_received and not medium.ice else None
