"""The secrets of a call: keys of media and where each of them is, and credentials of ICE.

See nh.calls.protocols.media_security and nh.calls.snapshots.ice.

They are apart from the rest of a snapshot, as bytes of their own, so that a store can treat them otherwise.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from nh.calls.offer_answer.offered import NO_RELAY_OFFER, of_media
from nh.calls.offer_answer.party import Party
from nh.calls.protocols.dtls_security import DtlsSecurity, OfferedDtls, require_certificate
from nh.calls.protocols.media_security import MediaSecurity, OfferedKey, OptionalKey, new_receiver, new_sender
from nh.calls.snapshots.ice import IceSecrets
from nh.calls.snapshots.security import DtlsSnapshot, KeySnapshot, SecuritySnapshot, Tag, Text
from nh.calls.snapshots.values import Index, require, require_index
from nh.calls.sockets.group import SocketGroup
from nh.dtls.certificate import Certificate
from nh.errors import SnapshotUnreadable, Unsupported
from nh.srtp.keys import MasterKey

if TYPE_CHECKING:
    from nh.srtp.sender import SrtpSender


class PartyKeys(msgspec.Struct, array_like=True, frozen=True):
    """The keys of a party.

    Attributes:
        security: for each medium, the index of a SecuritySnapshot.
        offered: for each medium, (tag, index of a key) of what the relay offered in its place.
        offered_dtls: for each medium, (index of a certificate, tls-id) of the same.
        optional: for each medium, (tag, key) of what the party offered, where SRTP is optional.
    """

    party: Index
    security: list[Index | None]
    offered: list[list[tuple[Tag, Index]]]
    offered_dtls: list[tuple[Index, Text] | None] = []
    optional: list[tuple[Tag, KeySnapshot] | None] = []


class Secrets(msgspec.Struct, array_like=True, frozen=True):
    """All of a call.

    Attributes:
        senders: keys that the relay sends with, each once.
        security: what ends share with the relay, each once.
        groups: (index of a group, index in `security`).
        certificates: of the relay.
    """

    senders: list[KeySnapshot]
    security: list[SecuritySnapshot]
    groups: list[tuple[Index, Index]]
    parties: list[PartyKeys]
    ice: IceSecrets | None = None
    certificates: list[Certificate] = []


class _Taker:
    """Gives each key, each security and each certificate an index."""

    def __init__(self) -> None:
        self.senders: list[KeySnapshot] = []
        self.security: list[SecuritySnapshot] = []
        self.certificates: list[Certificate] = []
        self._senders: dict[int, int] = {}
        self._security: dict[int, int] = {}

    def index_of_certificate(self, certificate: Certificate) -> int:
        if certificate not in self.certificates:
            self.certificates.append(certificate)
        return self.certificates.index(certificate)

    def index_of(self, security: MediaSecurity | None) -> int | None:
        if security is None:
            return None
        if id(security) not in self._security:
            receiver, sender = security.receiver, security.sender
            dtls = None
            if isinstance(security, DtlsSecurity):
                rtcp = self.index_of(security.rtcp)
                certificate = self.index_of_certificate(security.parameters.certificate)
                dtls = DtlsSnapshot.take(security, certificate, rtcp)
            taken = SecuritySnapshot(
                security.tag,
                None if receiver is None else KeySnapshot.take(receiver.master, receiver),
                None if sender is None else self.index_of_key(sender.master, sender),
                dtls,
            )
            self._security[id(security)] = len(self.security)
            self.security.append(taken)
        return self._security[id(security)]

    def index_of_key(self, master: MasterKey, sender: "SrtpSender | None") -> int:
        if id(master) not in self._senders:
            self._senders[id(master)] = len(self.senders)
            self.senders.append(KeySnapshot.take(master, sender))
        return self._senders[id(master)]


def take_secrets(groups: Sequence[SocketGroup], parties: Sequence[Party]) -> bytes:
    """The secrets of a call, b"" if it has none.

    Args:
        groups: all of the call.
        parties: all of the call; indexes are those of a snapshot.
    """
    if not any(each.security or each.ice for each in groups) and not any(map(_has_secrets, parties)):
        return b""  # as most calls
    taker = _Taker()
    secured = [
        (index, number)
        for index, group in enumerate(groups)
        if (number := taker.index_of(group.security)) is not None
    ]
    keys = [
        PartyKeys(
            index,
            [taker.index_of(each) for each in party.security],
            [
                [(key.tag, taker.index_of_key(key.master, key.sender)) for key in offered]
                for offered in party.relay_offer.keys
            ],
            [
                None if each is None else (taker.index_of_certificate(each.certificate), each.tls_id)
                for each in party.relay_offer.dtls
            ],
            [
                None if each is None else (each.tag, KeySnapshot.take(each.master, None))
                for each in party.relay_offer.optional_keys
            ],
        )
        for index, party in enumerate(parties)
        if _has_keys(party)
    ]
    ice = IceSecrets.take(groups, parties)
    return msgspec.msgpack.encode(
        Secrets(taker.senders, taker.security, secured, keys, ice, taker.certificates)
    )


def _has_keys(party: Party) -> bool:
    return any(party.security) or party.relay_offer.has_secrets


def _has_secrets(party: Party) -> bool:
    offer = party.relay_offer
    if offer is NO_RELAY_OFFER and not (party.security or party.ice):
        return False  # as of most parties
    return any(party.ice) or any(offer.ice) or _has_keys(party)


class SecretsRestorer:
    """Gives the groups and parties of a restored call the keys that they had.

    Args:
        data: of take_secrets().

    Raises:
        SnapshotUnreadable: the data are damaged, or what the keys need is not installed.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._secrets = msgspec.msgpack.decode(data, type=Secrets)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise SnapshotUnreadable(f"snapshot: secrets: {exc}") from exc
        self._keys = [each.rebuild() for each in self._secrets.senders]
        self._senders: dict[int, SrtpSender] = {}
        try:
            for certificate in self._secrets.certificates:
                require_certificate(certificate)  # else the first packet of a handshake would fail
            self._security: list[MediaSecurity] = []
            for each in self._secrets.security:
                self._security.append(self._rebuild(each))
        except Unsupported as exc:
            raise SnapshotUnreadable(str(exc)) from exc
        except ValueError as exc:
            raise SnapshotUnreadable(f"snapshot: secrets: {exc}") from exc
        self._agents = [] if self._secrets.ice is None else self._secrets.ice.rebuild()

    def apply_to_groups(self, groups: Sequence[SocketGroup]) -> None:
        """Give groups their security and their ICE; before sessions are made of them.

        Raises:
            SnapshotUnreadable: there is no such group.
        """
        for index, number in self._secrets.groups:
            require_index(index, groups, "group")
            require_index(number, self._security, "security")
            groups[index].security = self._security[number]
        if self._secrets.ice is not None:
            self._secrets.ice.apply_to_groups(groups, self._agents)

    def apply_to_parties(self, parties: Sequence[Party]) -> None:
        """Give parties what they offered and were offered.

        Raises:
            SnapshotUnreadable: there is no such party.
        """
        for keys in self._secrets.parties:
            require_index(keys.party, parties, "party")
            for number in keys.security:
                require(number is None or number < len(self._security), "no such security")
            party = parties[keys.party]
            party.security = of_media(
                [None if number is None else self._security[number] for number in keys.security]
            )
            party.relay_offer = party.relay_offer._replace(
                keys=of_media(
                    tuple([self._rebuild_offered(tag, index) for tag, index in offered])
                    for offered in keys.offered
                ),
                dtls=of_media(
                    None if each is None else self._rebuild_offered_dtls(*each) for each in keys.offered_dtls
                ),
                optional_keys=of_media(
                    None if each is None else OptionalKey(each[0], each[1].rebuild())
                    for each in keys.optional
                ),
            )
        if self._secrets.ice is not None:
            self._secrets.ice.apply_to_parties(parties, self._agents)

    def _rebuild(self, security: SecuritySnapshot) -> MediaSecurity:
        known = security.receiver
        receiver = None if known is None else new_receiver(known.rebuild(), known.state)
        sender = None if security.sender is None else self._sender(security.sender)
        dtls = security.dtls
        if dtls is None:
            return MediaSecurity(security.tag, receiver, sender)
        rtcp = None
        if dtls.rtcp is not None:
            require_index(dtls.rtcp, self._security, "security")
            rtcp = self._security[dtls.rtcp]
            require(isinstance(rtcp, DtlsSecurity), "the security of RTCP is not that of DTLS")
        return DtlsSecurity(
            dtls.rebuild(self._secrets.certificates),
            receiver,
            sender,
            last_flight=tuple(dtls.last_flight),
            agreed_source=dtls.agreed_source,
            rtcp=rtcp if isinstance(rtcp, DtlsSecurity) else None,
            open_role=dtls.open_role,
        )

    def _rebuild_offered_dtls(self, certificate: int, tls_id: str) -> OfferedDtls:
        require_index(certificate, self._secrets.certificates, "certificate")
        return OfferedDtls(self._secrets.certificates[certificate], tls_id)

    def _rebuild_offered(self, tag: int, index: int) -> OfferedKey:
        require_index(index, self._keys, "key")
        used = self._secrets.senders[index].state is not None
        return OfferedKey(tag, self._keys[index], self._sender(index) if used else None)

    def _sender(self, index: int) -> "SrtpSender":
        require_index(index, self._keys, "key")
        if index not in self._senders:
            self._senders[index] = new_sender(self._keys[index], self._secrets.senders[index].state)
        return self._senders[index]
