"""The secrets of a call: the keys of its media, and where each of them is (nh.calls.media_security), and the
credentials of ICE (nh.calls.snapshots.ice).

They are apart from the rest of a snapshot, as bytes of their own, so that a store can treat them otherwise.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Self

import msgspec

from nh.calls.media_security import MediaSecurity, OfferedKey, new_receiver, new_sender
from nh.calls.offer_answer.party import Party
from nh.calls.snapshots.ice import IceSecrets
from nh.calls.snapshots.values import Index, require, require_index
from nh.calls.socket_group import SocketGroup
from nh.errors import SnapshotUnreadable, Unsupported
from nh.srtp.keys import MasterKey
from nh.srtp.state import DirectionState
from nh.srtp.suites import find_suite

if TYPE_CHECKING:
    from nh.srtp.receiver import SrtpReceiver
    from nh.srtp.sender import SrtpSender

Tag = Annotated[int, msgspec.Meta(ge=0, lt=10**9)]


class KeySnapshot(msgspec.Struct, array_like=True, frozen=True):
    """A master key and where it is; its text form tells nothing of it.

    Attributes:
        state: None: nothing has been sent or received with it.
    """

    suite: str
    key: bytes
    salt: bytes
    mki: bytes
    state: DirectionState | None = None

    def __repr__(self) -> str:
        return f"KeySnapshot({self.suite})"

    @classmethod
    def take(cls, master: MasterKey, direction: "SrtpReceiver | SrtpSender | None") -> Self:
        """The snapshot of a key, and of what has been done with it."""
        state = None if direction is None else direction.to_state()
        return cls(master.suite.name, master.key, master.salt, master.mki, state)

    def rebuild(self) -> MasterKey:
        """The key.

        Raises:
            SnapshotUnreadable: it is none of its suite.
        """
        suite = find_suite(self.suite)
        require(suite is not None, "a key of an unknown suite")
        assert suite is not None
        try:
            return MasterKey(suite, self.key, self.salt, self.mki)
        except ValueError as exc:
            raise SnapshotUnreadable(str(exc)) from exc


class SecuritySnapshot(msgspec.Struct, array_like=True, frozen=True):
    """A MediaSecurity; `sender` is the index of a key."""

    tag: Tag
    receiver: KeySnapshot | None
    sender: Index | None


class PartyKeys(msgspec.Struct, array_like=True, frozen=True):
    """The keys of a party.

    Attributes:
        security: for each medium, the index of a SecuritySnapshot.
        offered: for each medium, (tag, index of a key) of what the relay offered in its place.
    """

    party: Index
    security: list[Index | None]
    offered: list[list[tuple[Tag, Index]]]


class Secrets(msgspec.Struct, array_like=True, frozen=True):
    """All of a call.

    Attributes:
        senders: keys that the relay sends with, each once.
        security: what ends share with the relay, each once.
        groups: (index of a group, index in `security`).
    """

    senders: list[KeySnapshot]
    security: list[SecuritySnapshot]
    groups: list[tuple[Index, Index]]
    parties: list[PartyKeys]
    ice: IceSecrets | None = None


class _Taker:
    """Gives each key and each security an index."""

    def __init__(self) -> None:
        self.senders: list[KeySnapshot] = []
        self.security: list[SecuritySnapshot] = []
        self._senders: dict[int, int] = {}
        self._security: dict[int, int] = {}

    def index_of(self, security: MediaSecurity | None) -> int | None:
        if security is None:
            return None
        if id(security) not in self._security:
            receiver, sender = security.receiver, security.sender
            taken = SecuritySnapshot(
                security.tag,
                None if receiver is None else KeySnapshot.take(receiver.master, receiver),
                None if sender is None else self.index_of_key(sender.master, sender),
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
                for offered in party.offered_keys
            ],
        )
        for index, party in enumerate(parties)
        if any(party.security) or any(party.offered_keys)
    ]
    ice = IceSecrets.take(groups, parties)
    if not secured and not keys and ice is None:
        return b""
    return msgspec.msgpack.encode(Secrets(taker.senders, taker.security, secured, keys, ice))


class SecretsRestorer:
    """Gives the groups and parties of a restored call the keys that they had.

    Args:
        data: of take_secrets().

    Raises:
        SnapshotUnreadable: the data are damaged, or `cryptography` is not installed.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._secrets = msgspec.msgpack.decode(data, type=Secrets)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise SnapshotUnreadable(f"snapshot: secrets: {exc}") from exc
        self._keys = [each.rebuild() for each in self._secrets.senders]
        self._senders: dict[int, SrtpSender] = {}
        try:
            self._security = [self._rebuild(each) for each in self._secrets.security]
        except Unsupported as exc:
            raise SnapshotUnreadable(str(exc)) from exc
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
            party.security = [None if number is None else self._security[number] for number in keys.security]
            party.offered_keys = [
                tuple([self._rebuild_offered(tag, index) for tag, index in offered])
                for offered in keys.offered
            ]
        if self._secrets.ice is not None:
            self._secrets.ice.apply_to_parties(parties, self._agents)

    def _rebuild(self, security: SecuritySnapshot) -> MediaSecurity:
        receiver = security.receiver
        return MediaSecurity(
            security.tag,
            None if receiver is None else new_receiver(receiver.rebuild(), receiver.state),
            None if security.sender is None else self._sender(security.sender),
        )

    def _rebuild_offered(self, tag: int, index: int) -> OfferedKey:
        require_index(index, self._keys, "key")
        used = self._secrets.senders[index].state is not None
        return OfferedKey(tag, self._keys[index], self._sender(index) if used else None)

    def _sender(self, index: int) -> "SrtpSender":
        require_index(index, self._keys, "key")
        if index not in self._senders:
            self._senders[index] = new_sender(self._keys[index], self._secrets.senders[index].state)
        return self._senders[index]
