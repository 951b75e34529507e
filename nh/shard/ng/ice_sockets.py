"""The sockets of media with ICE that a later offer keeps, and the credentials that go with them.

An agent that does not restart ICE finds the candidates that it has (RFC 8839 4.4.1.1.1): other sockets of the
relay are a restart.
"""

from collections.abc import Sequence

from msgspec import structs

from nh.calls.offer_answer.offered import MediumRequest, member_at
from nh.calls.offer_answer.party import Party
from nh.calls.sockets.group import SocketGroup
from nh.commands import OfferOptions
from nh.ice.credentials import IceCredentials
from nh.sdp.description import Medium
from nh.shard.ng.ice_agents import agents_towards
from nh.shard.ng.offer_ends import OfferEnds


def keep_components(
    requests: Sequence[MediumRequest],
    media: Sequence[Medium],
    written: Sequence[IceCredentials | None],
    sender: Party | None,
) -> list[MediumRequest]:
    """The requests of an offer, in which a fax with ICE has all sockets of the audio before or after it.

    Args:
        requests: what the media request.
        media: of the offer.
        written: the credentials of the relay in the forwarded offer; None: none.
        sender: who offers; None: it is new.
    """
    return [
        request
        if request.media is None or not (medium.ice or credentials)
        else request._replace(
            media=structs.replace(request.media, range=_components_of(medium, sender, index))
        )
        for index, (request, medium, credentials) in enumerate(zip(requests, media, written, strict=True))
    ]


def _components_of(medium: Medium, sender: Party | None, index: int) -> int:
    """How many sockets a medium with ICE has: a fax as many as the audio that may take its place."""
    if medium.rtp or medium.fax:
        return 2 * medium.field.count
    present = None if sender is None else sender.find_group(index)
    return max(medium.field.count, 0 if present is None else present.medium.range)


def known_credentials(
    medium: Medium, ends: OfferEnds, index: int, options: OfferOptions, address: str
) -> IceCredentials | None:
    """The credentials that the receiver of an offer has for the sockets that it is told of.

    None: these sockets are others than those before, as with `no-port-latching`: ICE restarts.

    Args:
        medium: of the offer, with this index.
        ends: who offers, and who will be offered to.
        index: of the medium.
        options: of the command.
        address: local IP address of the relay for the receiver.
    """
    sender = ends.sender
    groups = [] if sender is None else sender.groups_of(index)
    count = _components_of(medium, sender, index)
    serving = next((group for group in groups if _serves(group, medium, count, options, address)), None)
    if groups and serving is None:
        return None
    towards = next(agents_towards(ends.receiver, index), None)
    agreed = None if towards is None else towards.credentials[0]
    offered = None if sender is None else member_at(sender.relay_offer.ice, index)
    if groups[1:] and serving is groups[0]:  # the receiver has the others, too, or has not answered these
        return offered or agreed
    return agreed or offered


def _serves(group: SocketGroup, medium: Medium, count: int, options: OfferOptions, address: str) -> bool:
    """Whether the sockets of a group, `count` of them, are those of a medium that is offered again."""
    before = group.medium
    same = (before.address, before.port) == (medium.connection, medium.port)
    return (group.address, before.range) == (address, count) and (same or options.port_latching is not False)
