"""The address of an end that counts, by its SDP or its SIP, and the address family that it tells.

Pure functions between the views of nh.sdp and the domain.
"""

from nh.calls.offer_answer.party import Party
from nh.commands import OfferOptions
from nh.ip_address import UNSPECIFIED, ip_version, is_address
from nh.sdp.description import Medium, SessionDescription


def family_of(description: SessionDescription, options: OfferOptions) -> int:
    """The address family (4 or 6) of the first medium that has an address."""
    addresses = (_address_of(medium, options) for medium in description.media)
    return next((ip_version(address) for address in addresses if address), 4)


def family_moved_to(description: SessionDescription, options: OfferOptions, sender: Party | None) -> int:
    """The address family (4 or 6) that an end says it is in now; 0: it does not say, or said so before.

    With ICE its address is one candidate of many, and one of a hold is no address. Where the client names the
    interface, an end may be met in another family than its SDP says from the beginning on.

    Args:
        description: its offer.
        options: of the command.
        sender: the end, None if it is new.
    """
    for medium in description.media:
        connection = medium.connection
        if connection is None or connection in UNSPECIFIED or medium.ice or not medium.port:
            continue
        address = _address_of(medium, options)
        if address:
            family = ip_version(address)
            return 0 if family == _family_before(sender) else family
    return 0


def _family_before(party: Party | None) -> int:
    """The address family of what an end announced last, 0 if there is none."""
    announced = (group.media[0].address for group in (party.groups if party else ()) if group is not None)
    return next((ip_version(address) for address in announced if is_address(address)), 0)


def _address_of(medium: Medium, options: OfferOptions) -> str:
    """The IP address that counts for a medium, "" if none is known: a host name tells no address family."""
    address = believed_address(medium, options) or medium.connection or ""
    return address if is_address(address) else ""


def believed_address(medium: Medium, options: OfferOptions) -> str | None:
    """The address to be used instead of the SDP's, None: the SDP's."""
    return options.received_from or None if options.trust_received and not medium.ice else None
