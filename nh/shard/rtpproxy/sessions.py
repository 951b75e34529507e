"""Sessions: the commands of rtpproxy, carried out on the calls.

A command is about one medium of an end's SDP, so U is an offer, and L an answer, in which all other media of
that end stay as they are. The rules of offer and answer are those of nh.calls.offer_answer.offers. As in
rtpproxy the relay's ports stay whatever address an end announces.
"""

import math
import time
from collections.abc import Sequence
from typing import Final

from nh.calls.interfaces import Interface
from nh.calls.latching.claims import HANDSHAKES
from nh.calls.latching.source import SourcePolicy
from nh.calls.media import Media, Side, interned
from nh.calls.offer_answer.matching import find_answered, find_ends
from nh.calls.offer_answer.offered import MediumRequest
from nh.calls.offer_answer.offers import Offers
from nh.calls.offer_answer.party import Party, Reference
from nh.calls.sockets.group import SocketGroup
from nh.calls.table import CallTable
from nh.commands import (
    DeleteAll,
    DeleteSessions,
    Lookup,
    OfferOptions,
    QuerySession,
    SessionCommand,
    SessionOptions,
    Update,
)
from nh.errors import UnknownCall
from nh.results import Closed, RelayPort, RelayResult, SessionCounters
from nh.shard.ng.interface_choice import InterfaceChoice, note_answerer
from nh.shard.rtpproxy.counters import count_session
from nh.shard.rtpproxy.interfaces import Bridge

DISCARD_PORT: Final = 9
"""The port in the reply for a rejected medium, which gets none: clients want one, and write no port."""

_ANY_HANDSHAKE: Final = tuple(HANDSHAKES)
"""What may come besides RTP: the commands do not say what the SDP does."""


class Sessions:
    """The sessions of one relay.

    Args:
        table: the calls.
        interfaces: where the relay receives, the default first; without any, U is refused.
    """

    def __init__(self, table: CallTable, interfaces: Sequence[Interface]) -> None:
        self._table = table
        self._interfaces = InterfaceChoice(interfaces)
        self._bridge = Bridge(interfaces)

    def execute(self, command: SessionCommand | DeleteAll) -> RelayResult:
        """Carry out a command.

        Raises:
            UnknownCall, WrongDialog, Unsupported, Draining, LimitReached, PortsExhausted, AddressUnavailable.
        """
        match command:
            case Update():
                return self._update(command)
            case Lookup():
                return self._look_up(command)
            case QuerySession():
                return self._query(command)
            case DeleteSessions():
                return self._delete(command)
            case DeleteAll():
                return self._delete_all()

    # --- U and L ----------------------------------------------------------------------------------

    def _update(self, command: Update) -> RelayPort:
        now = time.monotonic()
        call = self._table.find_call(command.call_id)
        offers = call.offers if call is not None else None
        if offers is not None and _is_answer(offers, command):
            return self._look_up(_as_lookup(command))
        media = [*[None] * command.medium, _media_of(command)]
        sender, receiver = _ends(offers, command.from_tag, command.to_tag, media)
        options = command.options
        interfaces = self._interfaces.for_offer(
            OfferOptions(direction=self._bridge.names(options)),
            options.family,
            sender,
            receiver,
            call_id=command.call_id,
        )
        early = offers.participants.find_early(sender) if offers is not None and sender is not None else None
        request = _request(command, interfaces.far)
        expected = _request(command, interfaces.near, known=False)
        sender = self._table.offer(
            call_id=command.call_id,
            from_tag=command.from_tag,
            to_tag=command.to_tag,
            branch=b"",
            requests=_with(sender, command.medium, request),
            expected=_with(early.callee if early is not None else None, command.medium, expected),
            policy=_policy(options),
            now=now,
        )
        call = self._table.get_call(command.call_id)
        call.timeout_target = command.timeout_target
        offers = call.get_offers(now=now)
        interfaces.note(sender, receiver)
        _refer(offers, sender, options, near_port=True)
        return _port(sender.groups[command.medium], interfaces.far)

    def _look_up(self, command: Lookup) -> RelayPort:
        now = time.monotonic()
        offers = self._table.get_call(command.call_id).get_offers(now=now)
        participants = offers.participants
        answered = find_answered(participants, command.from_tag, command.to_tag, b"")
        offerer, dialog, _ = answered
        named = self._bridge.local(command.options)
        near = named or offerer.interface or self._interfaces.default(command.options.family)
        offered = offerer.find_group(command.medium)
        if offered is None and command.port:
            raise UnknownCall("the medium was not offered")
        early = participants.find_early(offerer) if dialog is None else None
        answerer = (
            dialog.party_with(command.to_tag) if dialog is not None else early.callee if early else None
        )
        dialog = offers.answer(
            answered,
            to_tag=command.to_tag,
            branch=b"",
            requests=_with(answerer, command.medium, _request(command, near)),
            policy=_policy(command.options),
            now=now,
        )
        offerer, answerer = dialog.party_with(command.from_tag), dialog.party_with(command.to_tag)
        note_answerer(answerer, offerer, near)
        _refer(offers, offerer, command.options, near_port=False)
        return _port(answerer.groups[command.medium], near)

    # --- D, X and Q -------------------------------------------------------------------------------

    def _delete(self, command: DeleteSessions) -> Closed:
        now = time.monotonic()
        call = self._table.get_call(command.call_id)
        offers = call.get_offers(now=now)
        named = [party for party in _offerers(offers) if party.tag in (command.from_tag, command.to_tag)]
        if not named:
            raise UnknownCall("no end with these tags has offered anything")
        for party in named:
            # rtpproxy's rule: an end removes the weak reference of the other one
            weak = Reference.WEAK_FAR if party.tag == command.from_tag else Reference.WEAK_NEAR
            party.references -= {weak if command.weak else Reference.STRONG}
        ended = [party for party in named if not party.references]
        self._table.delete_offered(call, ended, now=now)
        return Closed(len(ended))

    def _delete_all(self) -> Closed:
        now = time.monotonic()
        ended = 0
        for call in list(self._table):
            if call.offers is not None and any(party.references for party in call.offers.parties):
                ended += len(self._table.close_call(call.call_id, now=now))
        return Closed(ended)

    def _query(self, command: QuerySession) -> SessionCounters:
        now = time.monotonic()
        call = self._table.get_call(command.call_id)
        call.note(now=now)
        offers = call.get_offers(now=now)
        party = _find_with_medium(offers, command)
        expires_at = offers.expires_at(party)
        ttl_s = max(0, math.ceil(expires_at - now)) if math.isfinite(expires_at) else 0
        return count_session(offers.participants.dialogs_of(party), party, command.medium, ttl_s=ttl_s)


# --- requests to the domain -----------------------------------------------------------------------


def _request(command: Update | Lookup, towards: Interface, *, known: bool = True) -> MediumRequest:
    """What a command asks for, with sockets on `towards`.

    Args:
        known: False: for the other end, of which nothing is known yet.
    """
    media = _media_of(command, known=known)
    if media is None:
        return MediumRequest(None, towards.address)
    return MediumRequest(media, towards.address, latch=True, fresh=known and command.options.new_port)


def _media_of(command: Update | Lookup, *, known: bool = True) -> Media | None:
    if not command.port:
        return None
    address, port = (command.address, command.port) if known else ("0.0.0.0", 0)
    return interned(Media(address, port, 2, "RTP/AVP", handshakes=_ANY_HANDSHAKE))


def _with(party: Party | None, medium: int, request: MediumRequest) -> list[MediumRequest]:
    """The requests for all media of a party: `request` for one of them, the others as they are."""
    groups = party.groups if party is not None else []
    requests = [_as_it_is(party, index, group) for index, group in enumerate(groups)]
    requests += [MediumRequest(None, request.address)] * (medium + 1 - len(requests))
    requests[medium] = request
    return requests


def _as_it_is(party: Party | None, index: int, group: SocketGroup | None) -> MediumRequest:
    if party is None or group is None:
        return MediumRequest(None, "")
    return MediumRequest(party.pending.get(index, group.medium), group.address, latch=True)


def _policy(options: SessionOptions) -> SourcePolicy | None:
    return SourcePolicy.ASYMMETRIC if options.asymmetric else None


def _port(group: SocketGroup | None, towards: Interface) -> RelayPort:
    if group is None:
        return RelayPort(DISCARD_PORT, towards.advertised)
    group.advertise(towards.advertised)
    return RelayPort(group.sockets[0].port, towards.advertised)


# --- what a call knows ----------------------------------------------------------------------------


def _ends(
    offers: Offers | None, from_tag: bytes, to_tag: bytes, media: Sequence[Media | None] = ()
) -> tuple[Party | None, Party | None]:
    """The parties of two tags, as far as the call knows them; `media` are those that the first one offers."""
    if offers is None:
        return None, None
    return find_ends(offers.participants, from_tag, to_tag, b"", media)


def _is_answer(offers: Offers, command: Update) -> bool:
    """Whether U answers an offer: some clients have U for both ends, and no L.

    That is an end that is not known yet, and names one that has offered.
    """
    known = offers.participants.with_tag(command.from_tag)
    return not known and any(party.tag == command.to_tag for party in _offerers(offers))


def _as_lookup(command: Update) -> Lookup:
    """The same as L, whose tags are those of the request."""
    return Lookup(
        call_id=command.call_id,
        from_tag=command.to_tag,
        to_tag=command.from_tag,
        medium=command.medium,
        address=command.address,
        port=command.port,
        options=command.options,
    )


def _find_with_medium(offers: Offers, command: QuerySession) -> Party:
    """The party of a query; without the tag of the other end, the one that was made last."""
    party, _ = _ends(offers, command.from_tag, command.to_tag)
    own = [party] if party is not None else offers.participants.with_tag(command.from_tag)
    for each in reversed(own):
        if each.find_group(command.medium) is not None:
            return each
    raise UnknownCall("the call has no such medium of this end")


def _offerers(offers: Offers) -> list[Party]:
    """The parties whose first SDP was an offer."""
    return [party for party in offers.parties if party.side is Side.FROM]


def _refer(offers: Offers, party: Party, options: SessionOptions, *, near_port: bool) -> None:
    """Note what the media are for, at the party that offered them first.

    Args:
        party: the end that offered now.
        near_port: whether the command is U: it is about the port towards the other end.
    """
    first = party
    for dialog in offers.participants.dialogs_of(party):
        first = dialog.caller
    if options.weak:
        at_first = near_port is (first is party)
        first.references |= {Reference.WEAK_NEAR if at_first else Reference.WEAK_FAR}
    elif near_port:
        first.references |= {Reference.STRONG}
